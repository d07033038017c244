# Two commands do everything on a fresh machine: `make demo` and `make test`.
# A virtual environment in .venv is made at first use and follows pyproject.toml. scripts/find_python.sh chooses its
# Python; `make PYTHON=PATH` names another.

VENV ?= .venv
PYTHON ?=
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
STAMP := $(VENV)/.installed-dev
PYTEST_WORKERS ?= auto

.PHONY: help setup demo devnet test test-all test-gpu conformance lint bench clean

help:
	@echo "make demo      post a batch, certify it, sample it, settle it; then an attack (real processes)"
	@echo "make test      lint, types, import contracts and all tests but the slow ones"
	@echo "make test-all  the slow ones too"
	@echo "make test-gpu  the tests that need a CUDA device, and compute-sanitizer over each kernel"
	@echo "make conformance  the product against figures in its docs and against others' programs (anvil needs Node and npm)"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make bench     one table of figures, with the peer in the same run"
	@echo "make devnet    a committee of 6 nodes that keeps running"

setup: $(STAMP)

SOURCES := pyproject.toml CMakeLists.txt gpu/constants.py $(wildcard gpu/host/*.?pp) $(wildcard gpu/kernels/*.cuh)

# pip shows its progress in a terminal; a log has one line for each step.
PIP_INSTALL = quiet=; [ -t 1 ] || quiet=--quiet; $(BIN)/python -m pip install --disable-pip-version-check $$quiet

# What the programs and the demonstration need; `make test` adds the tools of development.
$(RUN_STAMP): $(SOURCES)
	@python="$$(sh scripts/find_python.sh $(if $(PYTHON),'$(PYTHON)'))" && \
	  echo "== 1/2 Making the virtual environment $(VENV) with $$python (10 seconds)" && \
	  "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "== 2/2 Installing Cellar and its packages into $(VENV), and compiling its fast engine (1 to 3 minutes; downloads 50 MB)"
	@$(PIP_INSTALL) -e '.[settlement]' || { echo "If it was immutables that failed, Python 3.14 has no wheel of it: install gcc and Python's headers (Debian, Ubuntu: apt-get install gcc python3-dev), or name an older Python: make PYTHON=PATH"; exit 1; }
	@$(BIN)/python scripts/engine_note.py
	@touch $(RUN_STAMP)

$(STAMP): $(RUN_STAMP)
	@echo "== Installing the tools of development into $(VENV) (1 to 3 minutes; downloads 180 MB)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(STAMP)

demo: $(RUN_STAMP)
	$(BIN)/da demo

devnet: $(RUN_STAMP)
	$(BIN)/da devnet

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: lint
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m 'not slow and not gpu'

test-all: lint
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m 'not gpu'

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu
	PYTHON=$(BIN)/python scripts/compute_sanitizer.sh

# Tests whose programs are not installed are skipped, by name.
conformance: $(STAMP)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m 'not gpu' tests/conformance

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
