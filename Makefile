# Everything runs in a virtual environment that make sets up; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO ?= flowexpr-demo
BENCH ?=
# A process a core, each with one thread: small tensors gain nothing from more.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test lint types doctest check format docs bench clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.plot  ## draw faces, train, print accuracies, leave pictures and a model in ./flowexpr-demo
	$(BIN)/flowexpr demo -o $(DEMO)

test: $(VENV)/.test  ## run the tests
	$(TEST)

lint: $(VENV)/.dev  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## check types
	$(BIN)/mypy

doctest: $(VENV)/.test  ## run the examples in docstrings
	$(TEST) --doctest-modules src/flowexpr

check: test lint types doctest  ## all of the above but the demo

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## build the site in docs/_build/html
	$(BIN)/python -m sphinx -b html docs docs/_build/html

bench: $(VENV)/.test  ## run the benchmarks that need no other data; more: make bench BENCH='--list'
	$(BIN)/python benchmarks $(BENCH)

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build dist docs/_build docs/auto_examples .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "flowexpr needs Python 3.11 or newer, but $(PYTHON) is older or missing; run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp an extra: installed again only when what it is made from has changed.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[$*]'
	@touch $@
