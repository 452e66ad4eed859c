# The front door. CI calls these and nothing else.

SHELL := /bin/bash
DENY_VERSION := 0.20.2
DENY := target/tools/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.1
CARGO_FUZZ := target/tools/bin/cargo-fuzz
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(sort $(wildcard fuzz/fuzz_targets/*.rs)))
# Unsafe code is denied here: what is to be found are panics, hangs and readers that differ. `address` finds the rest.
FUZZ_SANITIZER ?= none
FUZZ_FLAGS := --fuzz-dir fuzz --target-dir target/fuzz --sanitizer $(FUZZ_SANITIZER)
FUZZ := PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo +nightly fuzz
# The bundled sources, whatever the machine has installed: the same crypto library everywhere.
export AWS_LC_SYS_USE_SYSTEM ?= 0

.PHONY: list test check lint deny advisories fmt demo versus fuzz fuzz-corpus

list: ## Lists these recipes (the default)
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || grep '##' Makefile

# Real servers, not stand-ins: what is missing is fetched first (as root; else it says what to install).
# Four tests at a time, also on two cores: most of what they do is to wait for a server to notice something.
test: ## Gets the servers the tests need, then runs every test
	tests/servers/get
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --locked

# Everything CI holds the code to besides the tests.
check: lint deny fuzz-corpus ## Format, lints, docs, dependencies, scripts, known fuzz inputs: what CI runs besides the tests

lint: ## Format, clippy, docs and the scripts' own tests; warnings are errors
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items
	for script in .ci/run $$(find tests/servers -maxdepth 1 -type f ! -name '*.*'); do bash -n $$script || exit 1; done
	cd benches/versus && python3 -W error -m unittest -q

# Pinned, so that a new release of the tool never turns a green commit red. Fuzzing's compiler alone is not: cargo-fuzz needs
# some nightly, a dated one could be had only where toolchains can be fetched, and none of our code is of the nightly kind.
$(DENY):
	cargo install --quiet --locked --version $(DENY_VERSION) --root target/tools cargo-deny

deny: $(DENY) ## Bans, licences and sources of the dependencies; needs no network
	$(DENY) --locked check --hide-inclusion-graph bans licenses sources

# Apart from `check`: it fetches the advisory database.
advisories: $(DENY) ## Known vulnerabilities in the dependencies
	$(DENY) --locked check advisories

fmt: ## Formats the code
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml

$(CARGO_FUZZ):
	cargo install --quiet --locked --version $(CARGO_FUZZ_VERSION) --root target/tools cargo-fuzz

.PHONY: fuzz-build
fuzz-build: $(CARGO_FUZZ)
	@rustc +nightly --version >/dev/null 2>&1 || \
		{ echo "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal" >&2; exit 1; }
	$(FUZZ) build $(FUZZ_FLAGS)

# What is found on the way is kept in target/fuzz/found, beside the committed corpus.
# Options: make fuzz FUZZ_SECONDS=600 FUZZ_TARGETS='head chunked' FUZZ_SANITIZER=address
fuzz: fuzz-build ## Looks for inputs that break a rule, 60 s per target
	@$(call each-fuzz-target,-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1)

# Every known input and the same few thousand new ones each time: a green commit stays green.
fuzz-corpus: fuzz-build ## Runs every fuzz target over its committed corpus and a little beyond
	@$(call each-fuzz-target,-runs=10000 -seed=1 -verbosity=0)

# Inputs that reach something new go to the first folder, never into the committed corpus by themselves.
define each-fuzz-target
for target in $(FUZZ_TARGETS); do \
	echo "== $$target" && mkdir -p target/fuzz/found/$$target && \
	$(FUZZ) run $(FUZZ_FLAGS) $$target target/fuzz/found/$$target fuzz/corpus/$$target -- \
		-dict=fuzz/dictionaries/$$target -timeout=20 -rss_limit_mb=2048 $(1) || \
	{ echo "a finding: the input is in fuzz/artifacts/$$target; make it a unit test named after what broke" >&2; exit 1; }; \
done
endef

# Nothing else is needed on the machine.
demo: ## Serves the gateway with sample backends on port 8080
	cargo run --locked --release -- demo

# Options: make versus ARGS='--only nginx,frontgate --scenarios small --rounds 3'; there are also rate, idle and instructions
versus: ## CPU per request beside nginx, HAProxy and others
	cargo build --locked --release
	python3 benches/versus/run.py $(ARGS)
