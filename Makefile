# Everything there is to do here. `make demo` and `make test` install what is missing themselves;
# what is installed once is found again by its time stamp, so the next run starts at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# One environment, in .venv, whatever is active outside.
unexport VIRTUAL_ENV
unexport PYTHONHOME
unexport PYTHONPATH
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Node knows its own list of authorities only; a company's stands in the system's.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif
# Without a home that can be written, caches live here.
ifneq ($(shell [[ -w $${HOME:-} ]] && echo yes),yes)
export HOME := $(CURDIR)/.make/home
endif

UV := .venv/bin/uv
# Compiled at once: applications see the packages read-only and would compile them at every start.
SYNC := $(UV) sync --locked --inexact --compile-bytecode --extra demo
STATIC := src/downstage/gateway/static/index.html
SOURCES := $(shell find src/downstage -name '*.py' 2>/dev/null)
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' \
  -not -path '*/e2e/*' -not -path '*/test/*' -not -name '*.md' 2>/dev/null)

.PHONY: help setup setup-dev demo test unit real contract browser chaos lint bench bench-services \
  bench-content bench-loss bench-sessions bench-streams docs services full pull system-demo system-test

help:
	@printf '%s\n' \
	  'make demo     set up what is missing, start Downstage with a demo stage, print its URL' \
	  'make setup    only the set-up of make demo' \
	  'make test     all tests (make unit, real, contract, browser, chaos: one tier of them)' \
	  'make lint     format, style, types, layers, web sources' \
	  'make docs     the documentation, into docs/_build/html' \
	  'make services the data server: API on 7890, HLS on 8089, RTMP on 1935' \
	  'make full     the same behind https, with Prometheus and Grafana' \
	  'make pull     bring this checkout up to date' \
	  'make bench    what a viewer gets, measured (ARGS="…" is passed on)' \
	  'make bench-services  what calls between services cost, measured beside other clients' \
	  'make bench-content   what files cost, measured beside nginx and plain files' \
	  'make bench-streams   what streams cost, measured beside their engine and a plain server' \
	  'Add VERBOSE=1 to see the output of every step.'

# --- set-up ---------------------------------------------------------------------------------

setup: system-demo .make/python .make/bytecode $(STATIC)
	@printf '✓ Ready: make demo\n'

setup-dev: system-demo system-test .make/python-dev .make/bytecode $(STATIC)

system-demo system-test: system-%:
	@tools/system-packages $*

$(UV): tools/uv.txt tools/environment | system-demo
	@HINT='Is python3-venv there, and does a Python from 3.11 on stand first in the PATH?' \
	  tools/step environment "Making the environment .venv" tools/environment
	@touch $@

.make/python: $(UV) pyproject.toml uv.lock
	@mkdir -p .make
	@tools/step python "Installing the Python packages" $(SYNC) --no-default-groups
	@touch $@

.make/python-dev: $(UV) pyproject.toml uv.lock
	@mkdir -p .make
	@tools/step python-dev "Installing the Python packages, with those for tests" $(SYNC)
	@touch $@ .make/python

.make/python-docs: $(UV) pyproject.toml uv.lock
	@mkdir -p .make
	@tools/step python-docs "Installing the Python packages for the documentation" $(SYNC) --group docs
	@touch $@

.make/python-bench: $(UV) pyproject.toml uv.lock
	@mkdir -p .make
	@tools/step python-bench "Installing the Python packages that are measured against" $(SYNC) --group bench
	@touch $@

.make/bytecode: $(SOURCES) | $(UV)
	@mkdir -p .make
	@.venv/bin/python -m compileall -q src/downstage
	@touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json web/sdk/package.json | $(UV)
	@HINT='Remove web/node_modules and try again, if a file in it is at fault.' \
	  tools/step web-packages "Installing what the viewer is built with" tools/npm ci
	@touch $@

$(STATIC): web/node_modules/.package-lock.json $(WEB_SOURCES)
	@tools/step web-build "Building the viewer" tools/npm run build
	@touch $@

# --- run ------------------------------------------------------------------------------------

demo: system-demo .make/python .make/bytecode $(STATIC)
	@exec .venv/bin/downstage up --demo $(ARGS)

pull:
	@tools/pull

services: system-demo .make/python .make/bytecode $(STATIC)
	@exec .venv/bin/downstage services $(ARGS)

full: system-demo .make/python .make/bytecode $(STATIC)
	@exec .venv/bin/downstage services --full $(ARGS)

bench: setup-dev
	@exec .venv/bin/python bench/glass.py $(ARGS)

bench-services: setup-dev .make/python-bench
	@exec .venv/bin/python bench/services.py $(ARGS)

bench-streams: setup-dev
	@exec .venv/bin/python bench/streams.py $(ARGS)

bench-sessions: setup-dev
	@exec .venv/bin/python bench/sessions.py $(ARGS)

bench-loss: setup-dev
	@exec .venv/bin/python bench/loss.py $(ARGS)

bench-content: setup-dev
	@exec .venv/bin/python bench/content.py $(ARGS)

# --- checks ---------------------------------------------------------------------------------

test: setup-dev
	@exec .venv/bin/python tools/run_tests.py

unit real contract browser chaos: setup-dev
	@exec .venv/bin/python tools/run_tests.py $@ -- $(ARGS)

lint: export LINES_SHOWN := 80
lint: .make/python-dev web/node_modules/.package-lock.json
	@HINT='Mend it: .venv/bin/ruff check --fix' \
	  tools/step lint-ruff "Style (ruff check)" .venv/bin/ruff check
	@HINT='Mend it: .venv/bin/ruff format' \
	  tools/step lint-format "Format (ruff format)" .venv/bin/ruff format --check
	@tools/step lint-types "Types (pyright strict)" .venv/bin/pyright
	@tools/step lint-layers "Layers (import-linter)" .venv/bin/lint-imports --no-cache
	@tools/step lint-web "Web sources (tsc, eslint)" tools/npm run check
	@printf '✓ Nothing to complain about\n'

docs: .make/python-docs
	@tools/step docs "Building the documentation" \
	  .venv/bin/sphinx-build -q -W --keep-going -b html -d .make/doctrees docs docs/_build/html
	@printf '✓ docs/_build/html/index.html\n'
