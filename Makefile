# `make help` lists the targets. PYTHON=/path/to/python picks the interpreter that the environment is made with.

VENV := .venv
BIN := $(VENV)/bin
LOWEST := build/lowest

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
UNSUITABLE := This needs Python 3.11 or newer with venv: install it (Debian: python3 and python3-venv) or say where it is with PYTHON=/path/to/python

# Errors only: what pip warns of is seldom what the reader can change.
QUIETLY := --quiet --quiet

HTTP_PORT =
UDP_PORT =
OPTIONS =

# Tests that run at the same time.
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)

CRASH_ROUNDS = $(if $(CLIENTS),3,300)
CRASH_SEED = 1
FUZZ_SECONDS = 600
ATTACK_SECONDS = 10
# Names of attacks, or quick for those that CI runs; all of them if it is empty.
ATTACKS =
# Patterns of names of cells, or quick for those that CI runs; all of them if it is empty.
CELLS =
RUNS = 20
OTHERS = 5
# Files of tests of pages, without .test.js; all of them if it is empty.
PAGES =

# Tests of real processes, and those that wait for real time, are in modules whose names end in _process.
QUICK_TESTS = $(filter-out %_process.py,$(wildcard tests/test_*.py))
TESTS = $(if $(FAST),$(QUICK_TESTS),tests)

# What an installation depends on. The project is installed editable, so a change to its code asks for no new one.
METADATA := setup.cfg pyproject.toml rendezvous/_version.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test coverage lint format types docs changes package release image debian lowest newcomer schemathesis bench fuzz crash attack natlab browser clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/.installed-fast  ## run the server in the foreground: on other ports with HTTP_PORT=, UDP_PORT=; more with OPTIONS=
	@exec $(BIN)/twistd --nodaemon --pidfile= rendezvous $(if $(HTTP_PORT),--http-port $(HTTP_PORT)) $(if $(UDP_PORT),--udp-port $(UDP_PORT)) $(OPTIONS)

test: $(VENV)/.installed-test  ## run the tests, JOBS= at a time, measuring coverage; with FAST=1 without those of real processes and real time
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m twisted.trial -j$(JOBS) $(TESTS); status=$$?; $(BIN)/coverage combine --quiet; exit $$status

coverage: .coverage  ## report the coverage of the last test run
	@$(BIN)/coverage report

.coverage:
	@$(MAKE) --no-print-directory test

lint: $(VENV)/.installed-dev  ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## format the code, and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.installed-dev  ## check the types
	@$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## build the documentation, warnings being errors
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

changes: $(VENV)/.installed-dev  ## show the notes of the next release
	@$(BIN)/towncrier build --draft

package: $(VENV)/.installed-dev  ## build the wheel and the sdist, and run the wheel in an empty environment
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist . > build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	@rm -f build.log
	@$(BIN)/python .ci/check_package.py dist

release: $(VENV)/.installed-dev $(VENV)/.installed-docs  ## set VERSION=, write its changes, and build wheel, sdist and documentation into dist
	@$(BIN)/python .ci/release.py '$(VERSION)'

image: $(VENV)/.made  ## do what deploy/Dockerfile says in a bare Debian, and run the image. It needs root, buildah and debootstrap
	@$(BIN)/python .ci/image.py

debian: $(VENV)/.installed-test  ## do what docs/howto/debian.rst says in an empty Debian. It needs root and debootstrap
	@$(BIN)/python .ci/debian.py

lowest: $(LOWEST)/.installed  ## run the tests with the oldest dependencies we allow, but for those of real processes and real time
	@$(LOWEST)/bin/python -m twisted.trial -j2 --temp-directory=$(LOWEST)/trial $(QUICK_TESTS)

newcomer: $(VENV)/.installed-test  ## do what the README and the tutorials tell to do, on a clean copy
	@$(BIN)/python .ci/newcomer.py

schemathesis: $(VENV)/.installed-dev  ## try a running server by its description; by chance and for longer with SECONDS=
	@$(BIN)/python .ci/schemathesis_run.py $(SECONDS)

bench: $(VENV)/.installed-test  ## run the benchmarks, some with BENCH=; compare with another revision in the same run with BASE=
	@$(BIN)/python -m benchmarks $(if $(BASE),--against $(BASE)) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(BENCH)

fuzz: $(VENV)/.installed-fuzz  ## fuzz the UDP port, the relay's client, and a path, each for FUZZ_SECONDS, 600 unless said otherwise
	@$(BIN)/python -m fuzz -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1
	@$(BIN)/python -m fuzz.relay -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1
	@$(BIN)/python -m fuzz.peer -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

crash: $(VENV)/.installed-test  ## kill the server under load, restart it and compare, CRASH_ROUNDS= times; with CLIENTS= under pulses of so many
	@$(BIN)/python -m tests.crash $(CRASH_ROUNDS) $(CRASH_SEED) $(CLIENTS)

attack: $(VENV)/.installed-test  ## attack servers beside an innocent client, each attack for ATTACK_SECONDS; some with ATTACKS=
	@$(BIN)/python -m tests.attack --seconds $(ATTACK_SECONDS) $(ATTACKS)

natlab: $(VENV)/.installed-test  ## connect two hosts through every pair of NATs, RUNS= times and OTHERS= with loss and skew; some with CELLS=
	@$(BIN)/python -m tests.natlab --jobs $(JOBS) --runs $(RUNS) --others $(OTHERS) $(if $(CELLS),--cells $(patsubst %,'%',$(CELLS))) $(if $(SAVE),--save $(SAVE))

browser: $(VENV)/.installed-test $(VENV)/.installed-docs  ## try pages of PeerJS, y-webrtc, trystero, our own and the documentation in chromium; some with PAGES=
	@$(BIN)/python -m tests.browser $(PAGES)

clean:  ## remove everything that can be made again
	rm -rf $(VENV) build dist docs/_build tests/browser/node_modules benchmarks/node/node_modules *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .hypothesis _trial_temp*
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name dropin.cache -exec rm -f {} +

# Each stamp marks a finished installation, so that the next run starts at once.

$(VENV)/.made:
	@$(if $(PYTHON),"$(PYTHON)",false) -c '$(SUITABLE)' 2>/dev/null || { echo "$(UNSUITABLE)" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(METADATA)
	@echo "Installing the server into $(VENV)"
	@$(BIN)/python -m pip install $(QUIETLY) --editable .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	@echo "Installing what '$*' needs into $(VENV)"
	@$(BIN)/python -m pip install $(QUIETLY) --editable '.[$*]'
	@touch $@

# The type checker reads the tests, and so what they import.
$(VENV)/.installed-dev: $(VENV)/.installed-test

$(LOWEST)/.installed: $(VENV)/.installed $(METADATA) .ci/lowest.py
	@echo "Installing the oldest dependencies into $(LOWEST)"
	@rm -rf $(LOWEST)
	@$(BIN)/python -m venv $(LOWEST)
	@$(BIN)/python .ci/lowest.py setup.cfg > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip install $(QUIETLY) --constraint $(LOWEST)/constraints.txt --editable '.[test]'
	@touch $@
