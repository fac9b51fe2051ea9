# `make` lists what there is. Needed beforehand: Python 3.11 (or 3.12, 3.13), git and make; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTHON := $(PYTHON)
BIN := $(CURDIR)/.venv/bin
# What TensorFlow is installed for: what .venv is for already, else `cuda` where an NVIDIA driver is, else `cpu`. `make DEVICE=cpu` decides.
DEVICES := cpu $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),cuda)
ifneq ($(origin DEVICE),command line)
DEVICE := $(patsubst .venv/.runs-%,%,$(firstword $(wildcard .venv/.runs-*)))
DEVICE := $(or $(DEVICE),$(filter $(DEVICES),$(shell \
	{ test -e /proc/driver/nvidia/version -a -e /dev/nvidiactl || nvidia-smi -L; } >/dev/null 2>&1 && echo cuda)),cpu)
endif
ifneq ($(words $(DEVICE)) $(filter $(DEVICES),$(DEVICE)),1 $(DEVICE))
$(error expected DEVICE to be one of $(DEVICES); received: $(DEVICE). CUDA is for Linux on x86-64)
endif
# Stamps: what running needs is installed, and what developing needs besides.
RUNS := .venv/.runs-$(DEVICE)
DEVELOPS := .venv/.develops
# Measured on Linux with an x86-64 processor and Python 3.11; tests/test_structure.py compares MB_ON_DISK with what is there.
MB_TO_DOWNLOAD_cpu := 600
MB_ON_DISK_cpu := 2670
MB_TO_DOWNLOAD_cuda := 3710
MB_ON_DISK_cuda := 7670
MB_TO_DEVELOP := 159
# The TensorFlows of the two locks are one folder of Python's: the other one goes before this one comes.
OTHER_cpu := $(if $(filter cuda,$(DEVICES)),tensorflow)
OTHER_cuda := tensorflow-cpu
FOR_cpu := the processor alone (with an NVIDIA GPU: make DEVICE=cuda install)
FOR_cuda := an NVIDIA GPU, CUDA included (without: make DEVICE=cpu install)

RESOLVE = uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --quiet
INSTALL = .venv/bin/python -m pip install -qq --no-deps

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(BIN):$(PATH)

.PHONY: help install repro test slow torture lint format docs ui lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

install: $(RUNS) ## Install what running needs, and run nothing

repro: $(RUNS) ## Run what changed, of every stage and experiment, print the results table and write results/report.html
	@git rev-parse --git-dir >/dev/null 2>&1 || dvc config --quiet --local core.no_scm true
	@cnnkeras repro --keep-going $(if $(JOBS),--jobs $(JOBS)); ended=$$?; \
		cnnkeras log & cnnkeras report --html && wait $$! && exit $$ended

test: lint ## Run the linters and all tests, two files of tests at a time
	@pytest --numprocesses 2 --dist loadfile

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

docs: $(DEVELOPS) ## Build the site of docs/, docs/_build/html/index.html, and check its links
	@python -m sphinx -q -W --keep-going -b html docs docs/_build/html

ui: $(RUNS) ## Open the MLflow UI on this project's runs, for this machine only
	@cnnkeras ui

# What is locked already keeps its version, unless pyproject.toml excludes it. The third lock has what the extra `dev` adds.
# What several have is the same in all.
lock: ## Resolve pyproject.toml into the locks, for the CPU, for CUDA and for developers (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv, a resolver: pip install uv" >&2; exit 1; }
	@$(RESOLVE) pyproject.toml --extra cpu --output-file requirements-cpu.lock
	@$(RESOLVE) pyproject.toml --extra cuda --constraints requirements-cpu.lock --output-file requirements-cuda.lock
	@"$(PYTHON)" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")' \
		| $(RESOLVE) - --constraints requirements-cpu.lock --output-file requirements-dev.lock

clean: ## Remove .venv and the tools' caches; data, results and runs stay
	@rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache build docs/_build *.egg-info
	@find cnnkeras packaging_backend pages_of_code pipeline tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything from the lock, each file checked against its hash, then this project itself in place.
$(RUNS): requirements-$(DEVICE).lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "expected Python 3.11, 3.12 or 3.13; received: $$("$(PYTHON)" --version 2>&1). " \
			"Install one and say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing what running needs into .venv, once, for $(FOR_$(DEVICE)):" \
		"$(MB_TO_DOWNLOAD_$(DEVICE)) MB to download, $(MB_ON_DISK_$(DEVICE)) MB on the disk, about 2 minutes."
	@test -x .venv/bin/pip || "$(PYTHON)" -m venv .venv
	@rm -f .venv/.runs*
	@$(if $(OTHER_$(DEVICE)),.venv/bin/python -m pip uninstall -qq --yes $(OTHER_$(DEVICE)))
	@$(INSTALL) --require-hashes --use-pep517 -r requirements-$(DEVICE).lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# Beside it: linters, pytest, and JAX as a second backend to test on.
$(DEVELOPS): requirements-dev.lock $(RUNS)
	@echo "Installing what tests and linters need into .venv, once: $(MB_TO_DEVELOP) MB to download."
	@$(INSTALL) --require-hashes --use-pep517 -r requirements-dev.lock
	@touch $@
