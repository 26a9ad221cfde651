# The commands of daily work; CONTRIBUTING.md explains them. `.ci/run` checks everything from nothing.
VENV ?= .venv
PYTHON ?= python3
TEST ?= tests
RUN = PYTHONPATH=$(CURDIR)/src $(VENV)/bin/python -m

.PHONY: setup test one check format docs site

setup:  ## a virtual environment with the package (editable) and everything that the tests need
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --editable '.[test]'

test:  ## all tests but the slow ones
	$(RUN) pytest -q

one:  ## one file or one test: make one TEST=tests/scores/test_metrics.py::test_name
	$(RUN) pytest -q -x $(TEST)

check:  ## style, lints and types
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) mypy --platform win32
	$(RUN) mypy --platform darwin

format:  ## fixes style, and the lints that can be fixed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

docs:  ## writes the help texts into the docs again
	PYTHONPATH=$(CURDIR)/src $(VENV)/bin/python docs/update.py

site:  ## the documentation as a site, in site/; every link must lead somewhere
	$(VENV)/bin/python -m pip install --quiet --editable '.[docs]'
	$(VENV)/bin/mkdocs build --strict
