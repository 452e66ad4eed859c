# The front door. CI calls these and nothing else.

SHELL := /bin/bash
DENY_VERSION := 0.20.2
DENY := target/tools/bin/cargo-deny
# The bundled sources, whatever the machine has installed: the same crypto library everywhere.
export AWS_LC_SYS_USE_SYSTEM ?= 0

.PHONY: list test check lint deny advisories fmt demo versus

list: ## Lists these recipes (the default)
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || grep '##' Makefile

# Real servers, not stand-ins: what is missing is fetched first (as root; else it says what to install).
test: ## Gets the servers the tests need, then runs every test
	tests/servers/get
	cargo test --locked

# Everything CI holds the code to besides the tests.
check: lint deny ## Format, lints, docs, dependencies, scripts: what CI runs besides the tests

lint: ## Format, clippy, docs and the scripts' own tests; warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items
	for script in .ci/run $$(find tests/servers -maxdepth 1 -type f ! -name '*.*'); do bash -n $$script || exit 1; done
	cd benches/versus && python3 -W error -m unittest -q

# Pinned, so that a new release of the tool never turns a green commit red.
$(DENY):
	cargo install --quiet --locked --version $(DENY_VERSION) --root target/tools cargo-deny

deny: $(DENY) ## Bans, licences and sources of the dependencies; needs no network
	$(DENY) --locked check --hide-inclusion-graph bans licenses sources

# Apart from `check`: it fetches the advisory database.
advisories: $(DENY) ## Known vulnerabilities in the dependencies
	$(DENY) --locked check advisories

fmt: ## Formats the code
	cargo fmt

# Nothing else is needed on the machine.
demo: ## Serves the gateway with sample backends on port 8080
	cargo run --locked --release -- demo

# Options: make versus ARGS='--only nginx,frontgate --scenarios small --rounds 3'; there are also rate, idle and instructions
versus: ## CPU per request beside nginx, HAProxy and others
	cargo build --locked --release
	python3 benches/versus/run.py $(ARGS)
