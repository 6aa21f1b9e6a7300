# One word for everything:  make run · make test · make check · make docs · make bench · make fault · make clean
# With CUDA's packages:     make test-cuda-api · make test-gpu
# The lowest dependencies:  make test-lowest
# Another interpreter:      make run PYTHON=python3.12  (in an environment of its own, .venv-python3.12)

PYTHON ?= python3
VENV := .venv$(patsubst %,-%,$(filter-out python3,$(notdir $(PYTHON))))
BIN := $(VENV)/bin

# Bytecode is kept, as it is of whatever pip installs: without it each process compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-lowest check docs bench fault test-cuda-api test-gpu clean

# Label the photos in data/photos: out/labels.parquet, out/labels.png.
run: $(VENV)/.models
	$(BIN)/python -m hpcflow run flows/image.yaml

# Two files at a time, ten minutes on two cores; a test says by its thread's own clock what it takes.
test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# What runs without a network, on the lowest versions that pyproject.toml admits. Those warn of
# what packages they themselves need have deprecated since.
test-lowest: $(VENV)-lowest/.test
	$(VENV)-lowest/bin/python -m pytest --numprocesses 2 --dist loadfile -W ignore::DeprecationWarning \
	tests/sources tests/sinks tests/ops tests/kernels tests/spec tests/execute/test_resume.py \
	tests/test_api.py tests/test_cli.py tests/test_flows.py tests/test_init.py tests/test_ops_*.py

# The faults of docs/reliability.md, as often as it says; about an hour. Then servers that
# misbehave, connections that break, long lists. Another share of the first:
# make fault HPCFLOW_FAULT_SHARE=0.1, and the same faults again: HPCFLOW_SEED=…
fault: $(VENV)/.test
	HPCFLOW_FAULT=full $(BIN)/python -m pytest tests/fault -s
	$(BIN)/python -m benchmarks.ingest faults cuts cap many

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m hpcflow check $(wildcard flows/*.yaml)

# The documentation, with a picture of what each op does: .site/html/index.html.
docs: $(VENV)/.docs
	$(BIN)/python docs/site/build.py

# Beside the peers, and beside what the machine can do: docs/benchmarks.md. Half an hour or so.
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --docs docs

# The ops' calls against CuPy's own signatures, their kernels through NVRTC; needs no GPU. In an
# environment of its own: dask-cuda pins an older Dask.
test-cuda-api: $(VENV)-cuda/.cuda
	$(VENV)-cuda/bin/python -m pytest tests/device/test_cuda_api.py tests/clusters/test_local_cuda.py

# On a machine with an NVIDIA driver, which is all it needs.
test-gpu: $(VENV)-cuda/.gpu
	$(VENV)-cuda/bin/python -m pytest tests/gpu -s
	$(VENV)-cuda/bin/python -m benchmarks.device

clean:
	rm -rf .venv .venv-* .bench .site out runs dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# The stamps hold what was installed: again only when pyproject.toml has changed.
$(VENV)/.models: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[models]'
	@touch $@

# The test extra holds all that `models` does.
$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.models

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.models

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.models

$(VENV)-lowest/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest --resolution lowest-direct --editable '.[xarray,slurm,ssh]'
	$(VENV)-lowest/bin/python -m pip install --quiet hypothesis jsonschema pytest pytest-timeout pytest-xdist tifffile
	@touch $@

$(VENV)-cuda/.cuda: pyproject.toml
	$(PYTHON) -m venv $(VENV)-cuda
	$(VENV)-cuda/bin/python -m pip install --quiet --editable '.[cuda,torch]' hypothesis pytest pytest-timeout
	@touch $@

$(VENV)-cuda/.gpu: $(VENV)-cuda/.cuda
	$(VENV)-cuda/bin/python -m pip install --quiet --editable '.[cuda,models]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'error: expected Python 3.11 or newer as `$(PYTHON)`, found' \
	"$$($(PYTHON) --version 2>&1 || true)" '(choose one: make PYTHON=python3.12)' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
