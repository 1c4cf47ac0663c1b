# make run: build and start with a demo list. make test: set up what tests need, then run all of them.
# make bench: measure beside the reference programs (benches/README.md); make bench ROW=smtp: one row of it.

# Counts of randomised and long tests: small here, middle in .ci/run, full in make test-full.
export PATCHPOST_TEST_SIZE ?= small
export PATCHPOST_TOOLS ?= $(CURDIR)/target/tools
# Where tests write the figures that are shown at the end, as cargo keeps back what passing tests print.
export PATCHPOST_TEST_SCORES ?= $(CURDIR)/target/scores
# Tests wait for servers half of the time.
export RUST_TEST_THREADS ?= $(shell expr $$(nproc) + 1)

.PHONY: run test test-full setup bench deb lint fmt

run:
	cargo run --release -- serve --demo

setup:
	tests/install

test: setup
	@: >"$(PATCHPOST_TEST_SCORES)"
	@cargo test --locked; status=$$?; echo; echo "Figures of this run:"; sort "$(PATCHPOST_TEST_SCORES)"; exit $$status
	@echo "test size: $(PATCHPOST_TEST_SIZE)"

# Its figures are kept, if all tests passed.
FIGURES := docs/$(strip figures.md)
test-full:
	$(MAKE) test PATCHPOST_TEST_SIZE=full
	{ echo "# Figures of the tests at full size"; echo; \
	  echo "As \`make test-full\` wrote them on $$(date -u +%F), at commit $$(git rev-parse --short HEAD)."; echo; \
	  sort "$(PATCHPOST_TEST_SCORES)" | sed 's/^/- /'; } >$(FIGURES)

bench:
	benches/install
	cargo build --release --locked
	benches/run $(ROW)

# The Debian package, into target/package; needs `cargo install cargo-deb`.
deb:
	deploy/package

fmt:
	cargo fmt

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
