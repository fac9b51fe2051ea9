# `make` lists what there is. Needed beforehand: Python 3.11 (or 3.12, 3.13), git and make; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTHON := $(PYTHON)
BIN := $(CURDIR)/.venv/bin
# Stamps: what running needs is installed, and what developing needs besides.
RUNS := .venv/.runs
DEVELOPS := .venv/.develops
# Measured on Linux with an x86-64 processor and Python 3.11; tests/test_structure.py compares MB_ON_DISK with what is there.
MB_TO_DOWNLOAD := 890
MB_ON_DISK := 3200
MB_TO_DEVELOP := 103

RESOLVE = uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --quiet
INSTALL = .venv/bin/python -m pip install -qq --no-deps

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(BIN):$(PATH)

.PHONY: help repro test slow torture lint format ui lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

repro: $(RUNS) ## Run what changed, of every stage and experiment, and print the results table
	@git rev-parse --git-dir >/dev/null 2>&1 || dvc config --quiet --local core.no_scm true
	@cnnkeras repro --keep-going $(if $(JOBS),--jobs $(JOBS)); ended=$$?; \
		cnnkeras log && cnnkeras report && exit $$ended

test: lint ## Run the linters and all tests
	@pytest

slow: $(DEVELOPS) ## Run the tests that take minutes or gigabytes: each paper's net at its full size
	@pytest -m slow

torture: $(DEVELOPS) ## Kill and disturb a small project at random moments: make torture KILLS=50 SEED=0
	@python -m tests.torture --kills $(or $(KILLS),50) --seed $(or $(SEED),0) $(if $(filter no,$(FAULTS)),--without-faults)

lint: $(DEVELOPS) ## Check form, names, docstrings and import rules
	@ruff check
	@ruff format --check
	@lint-imports

format: $(DEVELOPS) ## Put every file into ruff's form
	@ruff check --fix
	@ruff format

ui: $(RUNS) ## Open the MLflow UI on this project's runs, for this machine only
	@cnnkeras ui

# What is locked already keeps its version, unless pyproject.toml excludes it. The second lock has what the extra `dev` adds; what
# both have is the same in both.
lock: ## Resolve pyproject.toml into the two locks, for users and for developers (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv, a resolver: pip install uv" >&2; exit 1; }
	@$(RESOLVE) pyproject.toml --output-file requirements.lock
	@"$(PYTHON)" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")' \
		| $(RESOLVE) - --constraints requirements.lock --output-file requirements-dev.lock

clean: ## Remove .venv and the tools' caches; data, results and runs stay
	@rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	@find cnnkeras pipeline tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything from the lock, each file checked against its hash, then this project itself in place.
$(RUNS): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "expected Python 3.11, 3.12 or 3.13; received: $$("$(PYTHON)" --version 2>&1). " \
			"Install one and say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing what running needs into .venv, once: $(MB_TO_DOWNLOAD) MB to download, $(MB_ON_DISK) MB on the disk, about 2 minutes."
	@test -x .venv/bin/pip || "$(PYTHON)" -m venv .venv
	@$(INSTALL) --require-hashes --use-pep517 -r requirements.lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# Beside it: linters, pytest, and JAX as a second backend to test on.
$(DEVELOPS): requirements-dev.lock $(RUNS)
	@echo "Installing what tests and linters need into .venv, once: $(MB_TO_DEVELOP) MB to download."
	@$(INSTALL) --require-hashes --use-pep517 -r requirements-dev.lock
	@touch $@
