# Two commands do everything on a fresh machine: `make demo` and `make test`.
# A virtual environment in .venv is made at first use and follows pyproject.toml.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.12 2>/dev/null && python3.12 -c '' 2>/dev/null || command -v python3.11 2>/dev/null || command -v python3)
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
STAMP := $(VENV)/.installed-dev
PYTEST_WORKERS ?= auto

.PHONY: help setup demo devnet test test-all test-gpu lint bench clean

help:
	@echo "make demo      post a batch, certify it, sample it, settle it; then an attack (real processes)"
	@echo "make test      lint, types, import contracts and all tests but the slow ones"
	@echo "make test-all  the slow ones too"
	@echo "make test-gpu  the tests that need a CUDA device, and compute-sanitizer over each kernel"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make bench     one table of figures, with the peer in the same run"
	@echo "make devnet    a committee of 6 nodes that keeps running"

setup: $(STAMP)

SOURCES := pyproject.toml CMakeLists.txt gpu/constants.py $(wildcard gpu/host/*.?pp) $(wildcard gpu/kernels/*.cuh)

# What the programs and the demonstration need; `make test` adds the tools of development.
$(RUN_STAMP): $(SOURCES)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else "Cellar needs Python 3.11 or 3.12 (blspy has no wheels for others); found %d.%d. Try: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[settlement]'
	@touch $(RUN_STAMP)

$(STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
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

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
