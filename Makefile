# The entry for people and CI. `make bench` and `make test` set up all they need.
.PHONY: help bench test setup setup-dev packages-test lint unit molecule end-to-end clean
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
# Own Ansible home: a stale copy of the collection in ~/.ansible would win over this checkout.
export ANSIBLE_HOME := $(CURDIR)/.ansible
# molecule and ansible-lint call each other by name.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

INVENTORY ?= inventories/lab
EXPERIMENT ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

bench: setup ## Set up, then measure this machine: guest, targets, fio, report.html
	$(BIN)/nvmelab run -i $(INVENTORY) $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) --report report.html

test: setup-dev packages-test ## Set up, then run every test
	$(PYTEST) tests/unit tests/lint tests/molecule tests/end-to-end

setup: $(VENV)/.runtime ## Install what `nvmelab` needs into .venv

setup-dev: $(VENV)/.dev ## Install what the tests need into .venv

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "found $$($(PYTHON) --version), wanted Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml hatch_build.py | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml hatch_build.py | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

packages-test: ## Install the Debian packages that the tests need, where one is missing
	@missing=$$(for p in $$(grep -hv '^#' tests/packages.txt); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends $$missing; \
	fi

lint: setup-dev ## ansible-lint, yamllint, ruff, mypy, packaging, and our own checks
	$(PYTEST) tests/lint

unit: setup-dev ## Unit tests, no Ansible process
	$(PYTEST) tests/unit

molecule: setup-dev packages-test ## Role and collect tests on nspawn hosts over SSH
	$(PYTEST) tests/molecule

end-to-end: setup-dev packages-test ## The real full-bench.yml, then the report in a browser
	$(PYTEST) tests/end-to-end

clean: ## Remove what the targets made in this checkout
	rm -rf $(VENV) .ansible .cache .collections .mypy_cache .pytest_cache .ruff_cache
