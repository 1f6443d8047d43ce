# Everything a stranger needs: `make demo` and `make test`. SERVER=mariadb|mysql names the server of the tests.

SHELL := /bin/bash
BIN := .venv/bin
RESULTS := .inceptionloop/test
# three: many tests wait for other processes
PYTEST := $(BIN)/pytest -n 3 --dist loadgroup --no-loadscope-reorder
SERVER ?= auto
export SERVER

.PHONY: install install-allen demo notebooks lint test test-all clean

install:
	@scripts/bootstrap.sh

install-allen:
	@scripts/install-allen.sh

demo: install
	@$(BIN)/inceptionloop demo

# Of the project that `make demo` fills, executed, in .inceptionloop/notebooks.
notebooks: export INCEPTIONLOOP_HOME ?= $(CURDIR)/.inceptionloop
notebooks: install
	@$(BIN)/pip install --quiet --editable '.[notebooks]' && mkdir -p .inceptionloop/notebooks
	@for n in notebooks/0*.py; do $(BIN)/jupytext --to ipynb --execute --set-kernel python3 --output .inceptionloop/notebooks/$$(basename $$n .py).ipynb $$n || exit 1; done

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

test: lint
	@mkdir -p $(RESULTS)
	$(PYTEST) -m 'not slow' --junitxml=$(RESULTS)/$(SERVER).xml
	@echo "Results: $(RESULTS)/$(SERVER).xml"

test-all: lint install-allen
	@mkdir -p $(RESULTS)
	SERVER=mariadb $(PYTEST) --junitxml=$(RESULTS)/all-mariadb.xml
	SERVER=mysql $(PYTEST) --junitxml=$(RESULTS)/all-mysql.xml
	@$(MAKE) demo
	@echo "Results: $(RESULTS)/all-mariadb.xml and $(RESULTS)/all-mysql.xml"

# The project's data in .inceptionloop stay; only what can be made again goes.
clean:
	rm -rf .venv .venv-allen .pytest_cache .ruff_cache .import_linter_cache .hypothesis $(RESULTS)
	find science schemas pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +
