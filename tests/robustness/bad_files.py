"""Files as they shouldn't be, made by chance from a seed: the same in each run."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests import files

GOOD = """# Volcanoes

## What is magma?

Magma is molten rock. “Lava” is magma – at the surface [1]. It has 3.5 % water, e.g. in 1980.

1. **Kinds of volcano:**
   - shield volcano, which is flat
   - *stratovolcano*, which is steep

| Name | Height |
|------|-------:|
| Etna | 3357 m |

```python
height = {"Etna": 3357}
```

$$
p = \\rho g h
$$

> A quotation of `somebody` with a [link](https://example.com/a_(b)) and $x_1$.
"""
# What Markdown, our own patterns and terminals take for something.
SIGNS = [
    *"# ## ####### [ ] ![ ]( [a]( [a]: [1] [[1]1] * ** *** _ __ | || |-|-| :-: - -- ---".split(),
    *"= === ` `` ``` ~~~ $ $$ $$a $$$ > >> < <div> <!-- </p> & &amp; \\ \\\\ ( ) { } !".split(),
    *"? . ... .) ?* : ; 1. 1) 999. - + • a b A e.g. i.e. No. Answer:".split(),
    *"Definition: 1980 3,000 ½ x² ١٢ 二 ß İ ǆ ﬁ é e\u0301 𝔘 🎓 👩\u200d🎓 漢字 العربية".split(),
    *"\n\n\n\n   \t\r\f\v\x01\x07\x1b\x1c\x7f\x85\xa0\xad\u200b\u200d\u200e\u202e\u2028\u2029",
    *"\u2066\u2060\ufeff\ufffe\ue000\ue001\U000e0001",
]
REPEATED = [
    *"# [ * | ` $ > _ < ![ & - = ( [a]( ~ \\ . ? .) ?* ![]( [1 [1[ $$ a|b e.g. â€™ Ã 1. **".split(),
    *"*a **a ]( a, :- |- <a> &amp; a\u0301 🎓 漢 ا \u200b \u202ea".split(),
    *[" ", "\t", "\n", " \n", "\r", "\f", "\u2028", "- ", "> ", ". ", "a ", "A. ", "1. "],
    *["* a\n", "1. a\n", "> a\n", "# a\n", "## a?\n\n", "|a|b|\n|-|-|\n", "a|b\n-|-\n"],
    *["```a\n", "~~~\na\n\n", "$$a\n", "$$a\n\n", "$$\n\n", "[a]:\n", "[a]: b\n", "<div>\n"],
    *["<!-- \n\n", "a\n===\n", "a\n---\n", "a\n\n", "**a**\n\n", "1. **a?**\n\n", "  - a\n"],
    *["- - - a\n", "Title\n\n", "Title\n\ntext.\n\n", "\"'. ", "A is 5 km. ", "What is a? "],
    *["**a:** b. ", " " * 500 + "x\n", "-" * 500 + "x\n", "# " + " " * 500 + "x\n"],
]
KINDS = (".pdf", ".docx", ".pptx", ".html", ".epub", ".ipynb")


def bad_note(chance: random.Random) -> bytes:
    """The bytes of a note that nobody would write on purpose."""
    return chance.choice((_soup, _repeated, _broken, _foreign, _noise, _nested))(chance)


def repeated(part: str, size: int) -> str:
    """A text of some size that is always the same."""
    return (part * (size // len(part) + 1))[:size]


def _soup(chance: random.Random) -> bytes:
    text = "".join(chance.choices(SIGNS, k=chance.choice([10, 100, 1_000, 3_000])))
    return (GOOD * chance.randint(0, 2) + text).encode()


def _repeated(chance: random.Random) -> bytes:
    size = chance.choice([100, 5_000, 15_000])
    return "".join(repeated(chance.choice(REPEATED), size) for _ in range(2)).encode()


def _broken(chance: random.Random) -> bytes:
    return damaged(GOOD.encode(), chance)


def _foreign(chance: random.Random) -> bytes:
    encoding = chance.choice(
        ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-7", "shift-jis"]
    )
    content = GOOD.encode(encoding, errors="replace")
    return content[: chance.choice([len(content), len(content) - 1, 11])]


def _noise(chance: random.Random) -> bytes:
    content = chance.randbytes(chance.choice([1, 100, 5_000]))
    return chance.choice([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"text "]) + content


def _nested(chance: random.Random) -> bytes:
    depth, mark = chance.choice([30, 300]), chance.choice(["- ", "> ", "1. ", "  ", "> - ", "\t"])
    stairs = "".join(f"{mark * level}level {level}\n" for level in range(depth))
    return stairs[:40_000].encode()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, removed, doubled or cut off."""
    for _ in range(chance.choice([1, 5, 50])):
        at, length = chance.randrange(len(content) + 1), chance.choice([1, 4, 200])
        new = chance.choice(
            [b"", chance.randbytes(length), b"\0" * length, content[at:][:length] * 2]
        )
        content = content[:at] + new + content[at + length :]
    return content[: chance.randrange(len(content) + 1)] if chance.random() < 0.2 else content


def write_bad_file(path: Path, chance: random.Random) -> None:
    """A file of a kind that is converted, damaged or with something bad inside it."""
    text = chance.choice(["An enzyme &amp; more.", "&#0; &#xd800;", "x" * 50_000, "\u202e\u200b"])
    _WRITERS[path.suffix](path, "Enzymes", text)
    if path.suffix in (".docx", ".pptx", ".epub") and chance.random() < 0.6:
        _damage_part(path, chance)
    elif path.suffix == ".html" and chance.random() < 0.5:
        tag = chance.choice(["div", "ul><li", "table><tr><td", "b", "blockquote", "svg"])
        path.write_text(f"<{tag}>" * chance.choice([300, 5_000]) + "text", encoding="utf-8")
    elif path.suffix == ".ipynb" and chance.random() < 0.5:
        cells = chance.choice(
            [None, {}, [None], [{"cell_type": "markdown"}], [{"source": 5}], "[[" * 99]
        )
        path.write_text(json.dumps({"cells": cells, "metadata": chance.choice([{}, None])}))
    else:
        path.write_bytes(damaged(path.read_bytes(), chance))


def _write_pdf(path: Path, heading: str, text: str) -> None:
    files.write_pdf(path, [[heading, text[:80].encode("latin-1", "replace").decode("latin-1")]])


def _damage_part(path: Path, chance: random.Random) -> None:
    """Damage one file of an archive, or nest it deep."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(parts))
    deep = b"<a>" * 20_000
    parts[name] = chance.choice(
        [b"", deep, damaged(parts[name], chance), b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"]
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    path.write_bytes(packed.getvalue())


_WRITERS: dict[str, Callable[[Path, str, str], None]] = {
    ".pdf": _write_pdf,
    ".docx": files.write_docx,
    ".pptx": files.write_pptx,
    ".html": files.write_html,
    ".epub": files.write_epub,
    ".ipynb": files.write_notebook,
}
