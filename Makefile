# Two commands: `make demo` shows what this does, `make test` checks that it does it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   enlarge a photograph, prove the collapse, print the cost (sets up .venv first)"
	@echo "make test   run all tests (sets up .venv first)"
	@echo "make check  ruff, mypy --strict and import-linter"

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "sesr-ref needs Python 3.10 or newer; try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "setting up $(VENV): about 850 MB, takes a minute or more"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --prefer-binary --editable ".[all]" --group dev
	touch $@

demo: $(VENV)/.ready
	$(BIN)/sesr-ref demo --out demo-output --overwrite

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-output dist
