# The one front door. `make help` lists what there is.

SHELL := /bin/bash
CARGO ?= cargo
FILE ?=

.DEFAULT_GOAL := help
.PHONY: help deps build demo demo-servers test soak lint bench servers-up servers-down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

deps: ## install what is missing (apt): protoc, libssl-dev, etcd, kcat, a JDK, Maven, chromium, python3-venv
	@tests/backends/deps.sh

build: deps ## the shipped program: target/release/logweir
	$(CARGO) build --release --locked

demo: deps ## logweir standalone over live logs and /var/log, on a page; FILE=/path adds one of yours
	@FILE="$(FILE)" demo/demo.sh

demo-servers: deps ## real servers, agent and transfer over a live log; FILE=/path adds one of yours
	@FILE="$(FILE)" tests/backends/demo-servers.sh

test: deps ## every test, with real etcd, Kafka and Elasticsearch
	$(CARGO) test --locked --no-fail-fast

soak: deps ## the central pipeline proof with 1,000,000 lines, 50 kills of standalone, and a long fuzzing of the API
	LOGWEIR_TEST_LINES=1000000 LOGWEIR_TEST_KILLS=50 $(CARGO) test --locked --test pipeline
	LOGWEIR_TEST_FUZZ=500 $(CARGO) test --locked --test console -- fuzz

lint: deps ## formatting and clippy, warnings are errors
	@$(CARGO) fmt --version >/dev/null 2>&1 || { echo "lint: rustfmt is missing: rustup component add rustfmt" >&2; exit 1; }
	@$(CARGO) clippy --version >/dev/null 2>&1 || { echo "lint: clippy is missing: rustup component add clippy" >&2; exit 1; }
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench: deps ## the figures of benches/RESULTS.md, measured with the release build
	$(CARGO) build --release --locked --example bulk_stub
	$(CARGO) bench --locked --bench figures

servers-up: deps ## etcd, Kafka and Elasticsearch for trying things out; prints the addresses
	@tests/backends/servers.sh up

servers-down: ## stop every server that was started from this checkout
	@tests/backends/servers.sh down
