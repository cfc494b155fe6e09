# Two commands: `make demo` shows what this does, `make test` checks that it does it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SITE := docs/_build/html

.PHONY: help demo quick test check docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   enlarge a photograph, prove the collapse, print the cost"
	@echo "make quick  run the tests that take a minute together"
	@echo "make test   run all tests; PYTEST_ARGS='-k name' and the like are passed on"
	@echo "make check  ruff, the files, mypy --strict, import-linter, the documentation"
	@echo "make docs   build the documentation, examples included, to $(SITE)"
	@echo "make clean  remove $(VENV) and everything that the others write"
	@echo "All but clean set up $(VENV) first; .ci/run is what a change must pass."

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "sesr-ref needs Python 3.10 or newer; try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "setting up $(VENV): about 950 MB, takes a minute or more"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --prefer-binary --editable ".[all]" --group dev
	touch $@

demo: $(VENV)/.ready
	$(BIN)/sesr-ref demo --out demo-output --overwrite

quick: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/check_files.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs

docs: $(VENV)/.ready
	$(BIN)/sphinx-build -W --keep-going -q -b html docs $(SITE)
	$(BIN)/python docs/_ext/check_links.py $(SITE)

clean:
	rm -rf $(VENV) demo-output dist docs/_build docs/api docs/gallery
