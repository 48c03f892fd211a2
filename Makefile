# `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
STACK := deploy/dev/stack
# The settings of the running stack, for the commands of one recipe.
WITH_STACK := eval "$$($(STACK) env)";

.DEFAULT_GOAL := help
.PHONY: help demo test bench chaos fuzz up down serve cleanup check

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: up ## back up, restore, damage, restore in place and undo a realistic auction system (SCALE=1 is about 200 MB)
	@$(WITH_STACK) tests/demo/run

test: up ## every test, on the real servers of the stack
	@cargo build --workspace --bins
	@$(WITH_STACK) cargo test --workspace

bench: up ## measure against PostgreSQL's own tools and write docs/performance.md (SCALE=5 is about 1 GB; bench/README.md)
	@cargo build --release --workspace --bins
	@$(WITH_STACK) HOLDFAST_BIN="$${HOLDFAST_BIN:-$${CARGO_TARGET_DIR:-target}/release}" bench/run

chaos: up ## 15 to 60 minutes of kills, freezes, outages and damage; writes docs/reliability.md (HOLDFAST_CHAOS_SEED, _PERCENT, _LANES)
	@cargo build --workspace --bins
	@$(WITH_STACK) cargo test --workspace --test it -- --ignored --exact chaos::campaign::campaign --nocapture

fuzz: ## damage MongoDB archives for MINUTES=10 and read them (HOLDFAST_FUZZ_SEED begins elsewhere; a short run is in `test`)
	@HOLDFAST_FUZZ_SECONDS=$$(( $${MINUTES:-10} * 60 )) HOLDFAST_FUZZ_SEED="$${HOLDFAST_FUZZ_SEED:-$$(date +%s)}" \
		cargo test --workspace --lib -- --nocapture damaged_archives_are_refused

up: ## start the development stack; installs what is missing
	@$(STACK) up

down: ## end the servers that `up` started; the data stay
	@$(STACK) down

serve: up ## the API and two workers on the stack, in the foreground
	@$(WITH_STACK) deploy/dev/serve

cleanup: ## down, then remove the stack's data
	@$(STACK) purge

check: ## exactly what CI runs
	@.ci/run
