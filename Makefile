# All commands of the project, for people and CI alike.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo run build check test fuzz bench bench-quick bench-documents docs setup

TOOLS := tests/neighbours/.tools/bin

help: ## prints this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: ## runs gate, provider and sample apps on this machine; open the address that it prints
	cargo run --locked -- demo

run: ## runs the gate with ./doorward.toml
	cargo run --locked -- serve

build: ## builds the release binary, target/release/doorward
	cargo build --release --locked

check: setup ## checks format, lints, dependencies, documentation, architecture
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
# The fuzz targets are a workspace of their own: their lock file follows ours.
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	cargo clippy --quiet --locked --all-targets -- --deny warnings
	cargo clippy --quiet --locked --all-targets --no-default-features -- --deny warnings
	$(TOOLS)/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources
# These pages are for developers: they include private items, and may link to them.
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private_intra_doc_links" \
		cargo doc --quiet --locked --no-deps --document-private-items
	cargo test --quiet --locked --test architecture

test: setup ## runs all tests: unit tests, and the gate with real edges, real providers and a browser
	cargo test --locked --no-fail-fast

fuzz: setup ## runs every fuzz target for a minute: SECONDS=600 for longer, ONLY="paths rows" for fewer
	fuzz/run $(or $(SECONDS),60) $(ONLY)

bench: setup ## runs all benches in half an hour; ONLY="edge tls" for fewer. Writes target/bench/report.html
	cargo bench --quiet --locked --bench check
	cargo bench --quiet --locked --bench check -- --allocations
# Thousands of connections of server and generator are open files of one process.
	ulimit -n "$$(ulimit -H -n)" && cargo bench --quiet --locked --bench limits -- $(ONLY)

bench-quick: setup ## measures the cost of a check in a minute; ends with one line of ratios
	cargo bench --quiet --locked --bench check -- --allocations
	ulimit -n "$$(ulimit -H -n)" && cargo bench --quiet --locked --bench limits -- quick

bench-documents: ## writes the figures of the last report into README.md, benches/README.md and docs/scaling.md
	cargo bench --quiet --locked --bench limits -- documents

docs: ## generates docs/configuration.md from the schema
	DOORWARD_WRITE_DOCS=1 cargo test --quiet --locked --lib reference

setup: ## installs pinned programs for the tests, only those that are missing
	@tests/setup
