# make help   lists what there is. `make demo` and `make test` each work as the first command after `git clone`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# any Python from 3.11 on; say PYTHON=... for another
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Orthanc listens on every address, so what starts it runs in a network that has loopback only
INSIDE := $(BIN)/python -m dicom_node.demo.loopback
# Debian packages of the peers and validators that tests/acceptance talks to
PEERS := dcmtk orthanc orthanc-dicomweb default-jre-headless libpixelmed-java pixelmed-apps nginx-light chromium
# the viewer that tests/acceptance/viewers looks through, built, as its makers publish it with npm
OHIF := 3.13.2
# extra arguments for pytest, for instance PYTEST="-k wire -x"
PYTEST ?=
STUDY ?=
OUT ?= demo-out

.PHONY: help setup setup-test demo test viewers lint check bench-kills bench-power bench-hostile bench-reception bench-delivery bench-journey bench-volumes bench-results bench-rules bench-pages clean

help:  ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1 - /p' Makefile

setup: .venv/.complete  ## Make .venv with dicom-node in its bin; quick when nothing changed.

# torch comes from constraints.txt: a range may fetch gigabytes of CUDA libraries. deepbet goes in without its
# dependencies: its wheel carries the weights, and the rest of it is a window program that nothing here uses.
.venv/.complete: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dicom_node needs Python 3.11 or newer; say which: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@started=$$SECONDS; \
	"$(PYTHON)" -m venv .venv || { echo "no virtual environment (Debian: apt-get install python3-venv)" >&2; exit 1; }; \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[pipelines,dev]"; \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps deepbet; \
	echo "set up .venv in $$((SECONDS - started)) s"
	@touch $@

# policy-rc.d (Debian's own switch) keeps the installed Orthanc from starting as a service that anyone can reach
setup-test: setup .cache/ohif/$(OHIF)/.complete  ## Install the peers that the acceptance tests need (Debian, as root); elsewhere say what is missing.
	@missing=(); \
	for package in $(PEERS); do \
		[[ "$$(dpkg-query -W -f='$${Status}' $$package 2>/dev/null || true)" == *" installed" ]] || missing+=($$package); \
	done; \
	if (( $${#missing[@]} == 0 )); then exit 0; fi; \
	if ! command -v apt-get >/dev/null || (( EUID != 0 )); then \
		echo "not installed, so tests that need them are skipped: $${missing[*]} (Debian's package names; only root installs them)"; \
		exit 0; \
	fi; \
	started=$$SECONDS; \
	policy=/usr/sbin/policy-rc.d; \
	if [[ ! -e $$policy ]]; then \
		trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq; \
	apt-get install -y -qq --no-install-recommends "$${missing[@]}" </dev/null >/dev/null; \
	echo "installed $${missing[*]} in $$((SECONDS - started)) s"

.cache/ohif/$(OHIF)/.complete:
	@if ! command -v npm >/dev/null; then \
		echo "no npm here, so tests that look through the viewer OHIF are skipped (Debian: apt-get install npm)"; \
	elif mkdir -p $(@D) && cd $(@D) && npm pack --silent @ohif/app@$(OHIF) >/dev/null; then \
		tar xzf ohif-app-$(OHIF).tgz --strip-components=1; rm ohif-app-$(OHIF).tgz; touch $(@F); \
		echo "unpacked the viewer OHIF $(OHIF) into $(@D)"; \
	else \
		echo "npm did not give @ohif/app@$(OHIF), so tests that look through the viewer OHIF are skipped"; \
	fi

demo: setup  ## Push a head through a node into a test PACS: make demo [STUDY=folder] [OUT=folder].
	@$(BIN)/dicom-node demo $(if $(STUDY),--study "$(STUDY)") --out "$(OUT)"

test: setup-test lint  ## Everything: linters, types, and all tests, with real peers where they are installed.
	@$(INSIDE) --if-possible $(BIN)/pytest $(PYTEST)

lint: setup  ## ruff and mypy.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy

check: lint  ## The quick part of `make test`: linters, types, and the tests that need no peer.
	@$(BIN)/pytest --quiet --ignore tests/acceptance $(PYTEST)

viewers: setup-test  ## Show results in OHIF, in a headless browser; screenshots and figures in viewers-out.
	@$(BIN)/python -m tests.acceptance.viewers

bench-kills: setup-test  ## Kill the node 60 times; prints lost, duplicated, not settled.
	@$(INSIDE) $(BIN)/python -m bench.kills --kills 60

bench-power: setup  ## Kill the receivers 200 times while four senders work; prints acknowledged and lost.
	@$(BIN)/python -m bench.power --kills 200

bench-hostile: setup-test  ## Five minutes of malformed, slow and hostile peers; prints crashes, leaks, wrong answers.
	@$(BIN)/python -m bench.hostile --seconds 300

bench-reception: setup-test  ## How fast it receives, beside storescp, Orthanc and pynetdicom; under 20 minutes.
	@$(INSIDE) $(BIN)/python -m bench.reception

bench-delivery: setup-test  ## How fast it sends, beside storescu (C-STORE) and curl (STOW-RS); about ten minutes.
	@$(INSIDE) $(BIN)/python -m bench.delivery

bench-journey: setup-test  ## Time from the last C-STORE to the result in the PACS, stage by stage.
	@$(INSIDE) $(BIN)/python -m bench.journey

bench-volumes: setup-test  ## Brain volumes against deepbet's own command.
	@$(INSIDE) $(BIN)/python -m bench.volumes

bench-rules: setup  ## Edited rules tried on 100,000 studies, and one decision with 200 rules; about three minutes.
	@$(BIN)/python -m bench.rules

bench-results: setup  ## What a Segmentation of 104 organs costs, beside highdicom and dcmqi: seconds, memory, bytes.
	@$(BIN)/python -m bench.results

bench-pages: setup-test  ## How quick the pages are with 100,000 studies: queries, and first paint in Chromium.
	@$(BIN)/python -m bench.pages

clean:  ## Remove what was made here, .venv too.
	rm -rf .venv .cache build dist demo-out bench-out viewers-out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
