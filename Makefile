# One word for everything. `make help` lists the words.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check
JOBS   ?= 2
# Most tests of `make test` wait for processes they started: more of them than cores keep the cores busy.
WORKERS ?= 3

# Tests start evac hundreds of times: each start would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

# Both at once, each on a core.
TYPES = ( $(BIN)/mypy & mypy=$$!; $(BIN)/pyright; pyright=$$?; wait $$mypy && exit $$pyright )

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types unit test-real fuzz bench screenshots lab-up lab-down clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "evac needs Python 3.11 or later: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml constraints.txt Makefile | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[openstack,ceph,proxmox,vsphere]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## the console on a simulated fleet; nothing real is touched
	@$(BIN)/evac demo

check: lint types  ## format, lint, import contracts, types

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev
	@$(TYPES)

unit: $(VENV)/.dev  ## the unit tests alone, in seconds
	$(BIN)/pytest tests/unit -q -n $(JOBS)

test: lint  ## everything that needs no real cluster
	@# The types are judged beside the tests, and what came of it is told after them.
	@$(TYPES) >$(VENV)/types.txt 2>&1 & types=$$!; \
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal; tests=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/types.txt; exit $$((tests || typed))

test-real: $(VENV)/.dev  ## boots a real OpenStack, Ceph and KVM hosts here and proves evac on them (root, Debian)
	$(BIN)/pytest tests/real -q -p no:cacheprovider -n $(JOBS) --dist loadgroup

LAB ?= openstack

lab-up: $(VENV)/.dev  ## boots one of them and leaves it running: LAB=openstack (as given), ceph or libvirt
	$(BIN)/python -m tests.real.$(LAB) up

lab-down: $(VENV)/.dev  ## stops it
	$(BIN)/python -m tests.real.$(LAB) down

fuzz: $(VENV)/.dev  ## a million broken PG dumps: none may crash the decoder
	$(BIN)/python -m tests.fuzz_dumps --count 1000000

bench: $(VENV)/.dev  ## the figures, each beside a floor or a peer
	$(BIN)/python -m tests.bench

screenshots: $(VENV)/.dev  ## redraws the pictures of the README from the demo
	$(BIN)/python screenshots/make.py

clean:  ## removes the virtual environment and caches, never the lab or any state
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
