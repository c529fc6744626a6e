# The one door: what people call, and what CI calls.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo run build check test fuzz bench bench-quick bench-documents docs setup

TOOLS := tests/neighbours/.tools/bin

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: ## gate, provider and sample app on this machine: open the address it prints
	cargo run --locked -- demo

run: ## the gate with ./doorward.toml
	cargo run --locked -- serve

build: ## the release binary: target/release/doorward
	cargo build --release --locked

check: setup ## format, lints, dependencies, documentation, architecture
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --quiet --locked --all-targets -- --deny warnings
	cargo clippy --quiet --locked --all-targets --no-default-features -- --deny warnings
	$(TOOLS)/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources
# The readers of these pages are those who work on the code: private items are in them, and may be linked to.
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private_intra_doc_links" \
		cargo doc --quiet --locked --no-deps --document-private-items
	cargo test --quiet --locked --test architecture

test: setup ## everything: unit tests, and the gate between real edges, a real provider and a browser
	cargo test --locked --no-fail-fast

fuzz: setup ## arbitrary bytes for everything that reads some, a minute each: SECONDS=600 for longer, ONLY="paths rows" for fewer
	fuzz/run $(or $(SECONDS),60) $(ONLY)

bench: setup ## everything beside its limits, half an hour; ONLY="edge tls" for less. Writes target/bench/report.html
	cargo bench --quiet --locked --bench check
	cargo bench --quiet --locked --bench check -- --allocations
# Connections of server and generator, thousands of each, are files of one process.
	ulimit -n "$$(ulimit -H -n)" && cargo bench --quiet --locked --bench limits -- $(ONLY)

bench-quick: setup ## the cost of a check beside its limits, in a minute; ends with one line of ratios
	cargo bench --quiet --locked --bench check -- --allocations
	ulimit -n "$$(ulimit -H -n)" && cargo bench --quiet --locked --bench limits -- quick

bench-documents: ## puts the figures of the last report into README.md, benches/README.md and docs/scaling.md
	cargo bench --quiet --locked --bench limits -- documents

docs: ## writes docs/configuration.md anew from the schema
	DOORWARD_WRITE_DOCS=1 cargo test --quiet --locked --lib reference

setup: ## installs what the tests need: pinned, and only what is missing
	@tests/setup
