"""The doorway: `python app.py` is `python -m rag_tutor serve`, and takes the same options."""

import sys

from rag_tutor.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
