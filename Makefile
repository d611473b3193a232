# `make help` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-nix test-arm64 test-sim test-vm test-gpu check-mac lint bench bench-store deps format clippy shellcheck licences

scripts = $$(find src scripts tests examples benches -name "*.sh"; echo .ci/run)

help: ## List the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: deps ## Bring up a real box on this machine, twice, and show that nothing differs
	cargo build --release --locked
	scripts/demo.sh

test: deps format clippy shellcheck ## Run every test: unit, property, snapshot, end to end (needs root)
	scripts/test.sh

lint: format clippy shellcheck licences ## Look at the code without running it

test-nix: deps ## The story with newer versions of Nix, and the same fingerprint (needs root; minutes)
	cargo build --release --locked
	scripts/test-nix-versions.sh

test-arm64: deps ## A box of another processor, which builds its dev shell itself (opt-in; needs root, x86_64; minutes)
	cargo build --release --locked
	scripts/test-arm64.sh

# Not part of `test`: it needs the API's document and a package of PyPI.
test-sim: ## Test the simulator of Lambda Cloud with schemathesis (opt-in; minutes)
	scripts/test-sim.sh

bench-store: ## Measure what the store image costs by loop and mount options (needs root)
	benches/store-options.sh

test-vm: deps ## Crashes of QEMU guests on a real NFS server (opt-in; needs root, x86_64; half an hour)
	scripts/test-vm.sh

test-gpu: ## A real CUDA call through the driver's libraries (opt-in; needs an NVIDIA GPU, no root; 77: there is none)
	scripts/test-gpu.sh

# Not part of `lint`: the standard libraries of two more targets have to be there.
check-mac: ## Types and lints of devbox and its tests as a Mac's compiler sees them (opt-in; no Mac needed)
	scripts/check-mac.sh

bench: deps ## Measure what the user waits for (needs root)
	cargo build --release --locked
	benches/up.sh

deps: ## Install what is missing (Debian and Ubuntu; elsewhere say what is missing)
	@scripts/install-deps.sh

format:
	cargo fmt --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

shellcheck:
	shellcheck $(scripts)

licences:
	@if command -v cargo-deny >/dev/null; then \
		cargo deny --log-level error check licenses bans sources; \
	else \
		echo "lint: cargo-deny is not installed, licences and sources were not checked (cargo install cargo-deny)"; \
	fi
