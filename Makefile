# Every recipe is a line; what there is to know is in scripts/.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## build, bring the servers, the API, the worker and demo data
	@scripts/up

down: ## stop everything, keep the data
	@scripts/down

reset: ## stop everything and throw the data away
	@scripts/down --reset

status: ## what runs, and where
	@scripts/status

logs: ## follow the logs of the API and the worker
	@tail -F logs/*.log

build: ## build everything
	@scripts/require build
	cargo build --workspace --bins --locked

test: ## everything that CI checks: lint, test-unit, test-integration, test-contract
	@scripts/test

test-unit: ## the tests that need no server
	@scripts/require build
	cargo test --workspace --lib --bins --locked --no-fail-fast

test-integration: ## the tests on real servers, an instance of their own
	@scripts/test-integration

test-contract: ## a generated client, and fuzzing, against the published document
	@scripts/test-contract

lint: ## formatting, clippy, licences and sources of dependencies, shellcheck
	@scripts/lint

fmt: ## format the code
	cargo fmt

shell: ## a shell with the clients (kafka-console-consumer, mysql, ...) and the addresses of the servers
	@scripts/shell

openapi: ## write docs/openapi.json
	cargo run --quiet --locked --package sluice-api -- openapi >docs/openapi.json.new
	mv docs/openapi.json.new docs/openapi.json

bench-latency: ## how long after its commit a change is on Kafka
	@scripts/test-integration --example latency

bench-relay: ## what the relay does on this machine, and what the machine can do at all
	@scripts/bench-relay relay

bench-relay-flat: ## whether an event costs the same whatever the backlog, and with an old read view
	@scripts/bench-relay flat

faults-relay: ## three workers, 500 changes/s, ten seeds of everything that can happen to a worker
	@scripts/test-integration --example faults_relay

faults-brokers: ## the leader of three brokers killed, all restarted; one broker away for three minutes
	@scripts/test-integration --example faults_brokers

faults-transactional: ## workers that publish in transactions, killed ten times: each event is seen once
	@scripts/test-integration --example faults_transactional

.PHONY: help up down reset status logs build test test-unit test-integration test-contract lint fmt shell openapi bench-latency bench-relay bench-relay-flat faults-relay faults-brokers faults-transactional
