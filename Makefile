# make solve: install, and run the shipped example.   make test: install, and run everything that checks the project.
.DEFAULT_GOAL := help
.PHONY: help solve test serial mpi lint format benchmark clean

VENV := .venv
BIN := $(VENV)/bin
NP ?= 2
CONFIG ?= examples/staircase.toml
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

help:
	@echo "make solve      run $(CONFIG) on NP=$(NP) ranks (CONFIG=..., NP=...)"
	@echo "make test       lint, types, tests on one rank and on 2, 3, 8"
	@echo "make benchmark  speed of the kernels, as ratios and shares"
	@echo "make format     format the sources;  make clean: remove the environment"

# Candidates are run, not looked up: a version manager's shim may exist for a Python that does not start.
$(VENV)/.installed: pyproject.toml
	@python=""; shims=$$(dirname "$$(dirname "$$(command -v pyenv || command -v python3 || echo /usr/bin/python3)")"); \
	for candidate in "$$PYTHON" python3.12 python3.13 python3.14 python3 "$$HOME"/.pyenv/versions/3.1[2-9]*/bin/python3 \
	    "$$shims"/versions/3.1[2-9]*/bin/python3; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; \
	    then python="$$candidate"; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "mfpde needs Python 3.12 or newer (with venv): install it, or say PYTHON=/its/path make ..." >&2; exit 1; }; \
	command -v "$${CC:-cc}" >/dev/null || { echo "mfpde needs a C compiler (Debian: apt-get install gcc libc6-dev)" >&2; exit 1; }; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

solve: $(VENV)/.installed
	$(BIN)/mpirun -n $(NP) $(BIN)/python -m mfpde.solve $(CONFIG)

test: lint serial mpi

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Those of tests/mpi as well, on one rank.  Commands that tests start need not compile the package anew.
serial: $(VENV)/.installed
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -n auto --dist worksteal

# Every rank collects the tests, with the bytecode that the first ranks leave, and without what one rank alone has use for.
mpi: $(VENV)/.installed
	for n in 2 3 8; do \
	    env -u PYTHONDONTWRITEBYTECODE $(BIN)/mpirun -n $$n $(BIN)/python -m pytest -q \
	        -p no:hypothesispytest -p no:xdist -p no:cacheprovider tests/mpi || exit 1; \
	done

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.installed
	$(BIN)/python tests/benchmarks/kernels.py

clean:
	rm -rf $(VENV)
