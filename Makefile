# One word for everything:  make run · make test · make check · make bench · make fault · make clean
# Another interpreter:      make run PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench fault clean

# Label the photos in data/photos: out/labels.parquet, out/labels.png.
run: $(VENV)/.models
	$(BIN)/python -m hpcflow run flows/image.yaml

test: $(VENV)/.test
	$(BIN)/python -m pytest

# The faults of docs/reliability.md, as often as it says; about an hour. Then servers that
# misbehave, connections that break, long lists. Another share of the first:
# make fault HPCFLOW_FAULT_SHARE=0.1, and the same faults again: HPCFLOW_SEED=…
fault: $(VENV)/.test
	HPCFLOW_FAULT=full $(BIN)/python -m pytest tests/fault -s
	$(BIN)/python tests/benchmarks/ingest.py faults cuts cap many

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m hpcflow check $(wildcard flows/*.yaml)

# Beside the peers, and beside what the machine can do: docs/benchmarks.md. Half an hour or so.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks --docs docs

clean:
	rm -rf $(VENV) .bench out runs dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# The stamps hold what was installed: again only when pyproject.toml has changed.
$(VENV)/.models: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[models]'
	@touch $@

# The test extra holds all that `models` does.
$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.models

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.models

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'error: expected Python 3.11 or newer as `$(PYTHON)`, found' \
	"$$($(PYTHON) --version 2>&1 || true)" '(choose one: make PYTHON=python3.12)' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
