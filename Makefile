# AmateRS on Kubernetes: every command a person needs, from a fresh clone.
#
#   make demo        three local nodes, a killed leader, a backup there and back
#   make test        all checks and all tests that need no Kubernetes
#   make test-fast   the tests that take no longer than half a second each
#   make e2e         the same promises on a real three-node Kubernetes
#   make help        the rest
#
# Everything is installed below this checkout (.venv, .cache); nothing outside it is touched,
# but for Debian packages that `make e2e` needs and finds missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Of the Kubernetes that cluster-up starts.
IP_FAMILY ?= ipv4
# cargo finds the protobuf compiler of the virtual environment through these.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)
NATIVE := $(VENV)/.native
# Runs a command with its output in .cache/log, and shows one line of it.
STAGE  := tools/stage.sh

NATIVE_SOURCES := $(shell find server/native -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.lock' -o -name '*.py' -o -name '*.pyi' \) -not -path '*/target/*')
PACKAGES := client/amaters server/amaters_server operator/amaters_operator operator/amaters_kubectl
# Tests that wait for no clock: they run beside the others.
VIRTUAL_TIME := tests/operator tests/kubectl tests/properties tests/simulation tests/repo
CHECKED  := $(PACKAGES) tests tools demo bench

.PHONY: help setup demo test test-fast check fix faults e2e e2e-full e2e-ipv6 e2e-from demo-k8s plugin bench soak fuzz fuzz-guided proto crds docs images picture \
        cluster-up cluster-down cluster-status clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) $(NATIVE) ## Install everything into .venv (the other targets do it by themselves)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "First run: setting up takes 2 to 5 minutes, nearly all of it the native code. Later runs skip it."
	@$(STAGE) "Python environment" venv bash -c '$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --upgrade "pip>=25.1"'
	@touch $@

$(NATIVE): $(VENV)/.made $(NATIVE_SOURCES)
	@command -v cargo >/dev/null || { echo "cargo is needed to build server/native: install Rust 1.85 or newer, then run this again"; exit 1; }
	@$(STAGE) "build tools" tools $(BIN)/python -m pip install --group native
	@$(STAGE) "native code" native $(BIN)/maturin build --release --locked --manifest-path server/native/Cargo.toml --interpreter $(BIN)/python --out .cache/wheels
	@$(STAGE) "native module" wheel $(BIN)/python -m pip install --force-reinstall --no-deps "$$(ls -t .cache/wheels/amaters_native-*.whl 2>/dev/null | head -n 1)"
	@touch $@

$(READY): $(VENV)/.made $(NATIVE) pyproject.toml
	@$(STAGE) "Python packages" packages $(BIN)/python -m pip install --editable '.[server,operator,otel]' --group test --group lint
	@touch $@

demo: setup ## Three local nodes: write, read, kill the leader, back up and restore
	@$(BIN)/python -m demo.local

test: $(if $(K),setup,check) ## All checks and all tests that need no Kubernetes (K=expression: only those tests)
ifdef K
	$(BIN)/pytest tests -k '$(K)'
else
	@$(STAGE) "Rust tests" cargo-test cargo test --release --locked --manifest-path server/native/Cargo.toml
	@tools/two_lanes.sh "$(BIN)/pytest" $(VIRTUAL_TIME)
endif

test-fast: setup ## The tests without the slow ones, within two minutes (K=expression picks some)
	$(BIN)/pytest tests -m 'not slow' --durations=10 --durations-min=0.5 $(if $(K),-k '$(K)')

check: setup ## Formatting, lint, types, import contracts
	@$(STAGE) "format" format $(BIN)/ruff format --check $(CHECKED)
	@$(STAGE) "lint" lint $(BIN)/ruff check $(CHECKED)
	@$(STAGE) "types" types $(BIN)/mypy $(PACKAGES) demo bench tools
	@MYPYPATH=tests $(STAGE) "types of the test beds" testbed-types $(BIN)/mypy tests/testbed tests/faultbed
	@$(STAGE) "import contracts" contracts $(BIN)/lint-imports --no-cache
	@$(STAGE) "Rust format" cargo-fmt cargo fmt --manifest-path server/native/Cargo.toml --check
	@$(STAGE) "Rust lint" clippy cargo clippy --release --locked --all-targets --manifest-path server/native/Cargo.toml -- -D warnings

fix: setup ## Repair what `make check` can repair
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)
	cargo fmt --manifest-path server/native/Cargo.toml

faults: setup ## Partitions, bad disks, power cuts on real processes (K=name picks some; as root)
	$(BIN)/pytest tests/faults -s $(if $(K),-k '$(K)')

e2e: setup cluster-up images ## End-to-end tests on a real Kubernetes, then clean up
	$(BIN)/pytest tests/e2e -m 'e2e and not nightly' --timeout 900 -s; status=$$?; \
	[ -n "$${KEEP_CLUSTER:-}" ] || $(BIN)/python tests/testbed/cluster.py down; exit $$status

e2e-full: setup cluster-up images ## All of e2e: bad luck, lost nodes, full disks, repeated drains (K=name picks some)
	$(BIN)/pytest tests/e2e -m e2e --timeout 1800 -s $(if $(K),-k '$(K)'); status=$$?; \
	[ -n "$${KEEP_CLUSTER:-}" ] || $(BIN)/python tests/testbed/cluster.py down; exit $$status

e2e-ipv6: IP_FAMILY = ipv6
e2e-ipv6: setup cluster-up images ## Main e2e tests on a Kubernetes of IPv6 alone (K=name picks some)
	$(BIN)/pytest tests/e2e -m 'e2e and ipv6' --timeout 900 -s $(if $(K),-k '$(K)'); status=$$?; \
	[ -n "$${KEEP_CLUSTER:-}" ] || $(BIN)/python tests/testbed/cluster.py down; exit $$status

e2e-from: setup cluster-up images ## A roll under load from an older commit's image to this one (FROM=commit)
	@test -n "$(FROM)" || { echo "name the commit: make e2e-from FROM=HEAD~1"; exit 2; }
	@rm -rf .cache/from && mkdir -p .cache/from && git archive "$(FROM)" | tar -x -C .cache/from
	@env -u VIRTUAL_ENV $(MAKE) --no-print-directory -C .cache/from setup
	AMATERS_TESTBED_CACHE="$${AMATERS_TESTBED_CACHE:-$(CURDIR)/.cache/testbed}" \
	  .cache/from/$(BIN)/python .cache/from/tests/testbed/cluster.py images --tag from
	AMATERS_ROLL_FROM=amaters-server:from $(BIN)/pytest tests/e2e/test_upgrade.py -m e2e -k moves_leadership_once \
	  --timeout 900 -s; status=$$?; \
	[ -n "$${KEEP_CLUSTER:-}" ] || $(BIN)/python tests/testbed/cluster.py down; exit $$status

demo-k8s: setup cluster-up images ## The demo on Kubernetes: create, write, upgrade, scale, back up, restore
	@$(BIN)/python -m demo.kubernetes

bench: setup ## Measure speed next to etcd and a bare grpcio server
	$(BIN)/python -m bench $(BENCH)

soak: setup ## Simulate thousands of seeds (SEEDS=5000), and an operator's bad luck (LUCK=500)
	AMATERS_SIM_SEEDS=$${SEEDS:-5000} $(BIN)/pytest tests/simulation --timeout 0
	AMATERS_BAD_LUCK_SEEDS=$${LUCK:-500} $(BIN)/pytest tests/operator/test_bad_luck.py --timeout 0

cluster-up: setup ## A real three-node Kubernetes, or the one in KUBECONFIG (IP_FAMILY=ipv4|ipv6|dual)
	$(BIN)/python tests/testbed/cluster.py up --ip-family $(IP_FAMILY)

cluster-down: setup ## Remove that cluster
	$(BIN)/python tests/testbed/cluster.py down

cluster-status: setup ## Show what runs in that cluster
	$(BIN)/python tests/testbed/cluster.py status

images: setup ## Build both images and load them into the cluster
	$(BIN)/python tests/testbed/cluster.py images

plugin: setup ## kubectl amaters as one file, its archive and krew's manifest, in .cache/plugin
	@$(BIN)/python tools/plugin.py

fuzz: setup ## Random input for the native code (INPUTS=5000000 for each target)
	AMATERS_FUZZ_INPUTS=$${INPUTS:-5000000} cargo test --release --locked --manifest-path server/native/Cargo.toml fuzzing

fuzz-guided: setup ## The same under libFuzzer (TARGET=raft_messages FUZZ_SECONDS=60); needs cargo-fuzz and a nightly toolchain
	cd server/native/fuzz && cargo +nightly fuzz run $${TARGET:-raft_messages} -- -max_total_time=$${FUZZ_SECONDS:-60}

proto: setup ## Regenerate the protobuf stubs
	$(BIN)/python tools/protobuf.py

crds: setup ## Regenerate crds/ and the chart's copy
	$(BIN)/python -m tools.generate

picture: setup ## Regenerate the picture of `make demo` that the README shows
	@$(BIN)/python -m demo.local --picture docs/images/demo.svg

docs: setup ## Regenerate the reference pages
	$(BIN)/python tools/configuration_reference.py
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python -m tools.generate

clean: ## Remove everything that was built
	rm -rf $(VENV) .cache .demo server/native/target .mypy_cache .ruff_cache .pytest_cache .hypothesis
