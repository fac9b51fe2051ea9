# `make` lists what there is. Needed beforehand: Python 3.11 (or 3.12, 3.13), git and make; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTHON := $(PYTHON)
BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(BIN):$(PATH)

.PHONY: help repro test slow lint format ui lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

repro: $(READY) ## Run what changed, of every stage and experiment, and print the results table
	@git rev-parse --git-dir >/dev/null 2>&1 || dvc config --quiet --local core.no_scm true
	@cnnkeras repro $(if $(JOBS),--jobs $(JOBS))
	@cnnkeras report

test: lint ## Run the linters and all tests
	@pytest

slow: $(READY) ## Run the tests that take minutes or gigabytes: each paper's net at its full size
	@pytest -m slow

lint: $(READY) ## Check form, names, docstrings and import rules
	@ruff check
	@ruff format --check
	@lint-imports

format: $(READY) ## Put every file into ruff's form
	@ruff check --fix
	@ruff format

ui: $(READY) ## Open the MLflow UI on this project's runs, for this machine only
	@cnnkeras ui

lock: ## Resolve pyproject.toml into requirements.lock, with hashes (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv, a resolver: pip install uv" >&2; exit 1; }
	@uv pip compile pyproject.toml --extra dev --python-version 3.11 --universal --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean: ## Remove .venv and the tools' caches; data, results and runs stay
	@rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	@find cnnkeras pipeline tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything from the lock, each file checked against its hash, then this project itself in place.
$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "expected Python 3.11, 3.12 or 3.13; received: $$("$(PYTHON)" --version 2>&1). " \
			"Install one and say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing the locked dependencies into .venv: about 2 minutes and 3.5 GB, once."
	@test -x .venv/bin/pip || "$(PYTHON)" -m venv .venv
	@.venv/bin/python -m pip install -qq --no-deps --require-hashes --use-pep517 -r requirements.lock
	@.venv/bin/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $(READY)
