# `make demo` and `make test` do all of their own set-up. Everything they install lies in .venv (and, for the tests
# that drive Node's client, in tests/clients/node/node_modules).

VENV := .venv
PY := $(VENV)/bin/python
CONSTRAINTS := requirements/constraints.txt
HASH := $(shell (pwd; cat setup.py $(CONSTRAINTS)) | cksum | cut -d' ' -f1)
RUN := $(VENV)/.run-$(HASH)
TEST := $(VENV)/.test-$(HASH)
NODE := tests/clients/node
PORT ?= 8787
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: help demo test check bench soak format docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    a GCE endpoint on this machine, with a simulated cloud behind it (PORT=$(PORT))"
	@echo "make test    everything that must pass: format, lint, types, imports, tests"
	@echo "make bench   measure the server beside libcloud alone (BENCH_ARGS=--quick)"
	@echo "make soak    ten minutes of mixed load, does the server grow or fail (BENCH_ARGS=\"--minutes 3\")"
	@echo "make format  put the code into the one format"
	@echo "make docs    write the generated pages and samples anew"
	@echo "make clean   remove the virtual environment and caches"

demo: $(RUN)
	@exec $(PY) -m gceshim demo --port $(PORT)

test: check

check: $(TEST)
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-cache > $(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }
	@if [ -f $(NODE)/package-lock.json ] && command -v npm > /dev/null; then \
	    cmp -s $(NODE)/package-lock.json $(NODE)/node_modules/.made-from || { \
	        (cd $(NODE) && npm ci --silent --no-audit --no-fund) && \
	        cp $(NODE)/package-lock.json $(NODE)/node_modules/.made-from; }; \
	fi
	@$(PY) -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

bench: $(RUN)
	@$(PY) -m benchmarks $(BENCH_ARGS)

soak: $(RUN)
	@$(PY) -m benchmarks soak $(BENCH_ARGS)

format: $(TEST)
	@$(PY) -m ruff format --quiet .
	@$(PY) -m ruff check --quiet --fix .

docs: $(TEST)
	@$(PY) tools/gen_docs.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build gceshim.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp's name holds what the environment was made from, so a change of any of it makes it anew.
$(RUN):
	@bash tools/make_venv.sh $(VENV) . $(CONSTRAINTS)
	@touch $@

$(TEST):
	@bash tools/make_venv.sh $(VENV) '.[test]' $(CONSTRAINTS)
	@touch $@ $(RUN)
