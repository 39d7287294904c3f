# Everything a developer does with this repository. `make help` lists it.
# Needs Go; `make test` adds a C compiler for the race detector where there is none.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
TOOL      := $(GO) tool -modfile=tools/go.mod
IN        ?= docs
OUT       ?= build/briefs
CONFIG    ?= examples/pipeline/embedded.yaml
FUZZTIME  ?= 10s
TIMEOUT   ?= 20m
PKG       ?= ./...
UPDATE    ?=
SECONDS_  := $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),60)
SEEDS     ?= 1
TRANSPORTS ?= redis,kafka,nats,embedded
BENCHARGS ?=
# What counts allocations cannot do so under the race detector, and Watermill's
# test of a restarted broker has a data race of its own.
ALLOCATIONS := . ./envelope ./transport/memory
RECONNECT   := ./integration
# franz-go 1.22.2 has a data race between the end of a client and its fetches
# (fetchSession.kill), which many members that come and go hit.
UNRACED     := ./integration
# The table of what transports can do, as the conformance suite found it.
MATRIX    := docs/transports.json
# Packages tested at a time; more only helps where there are more cores.
JOBS      ?= 2

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## the main job: one brief per document of IN (docs) into OUT (build/briefs), on CONFIG (embedded.yaml)
	$(GO) run ./examples/pipeline -c $(CONFIG) -in $(IN) -out $(OUT)

.PHONY: test
test: ccompiler ## lint, deps, and chaos, integration, and every other package's tests under the race detector
	@start=$$SECONDS; \
	$(MAKE) --no-print-directory lint; \
	$(MAKE) --no-print-directory deps; \
	$(GO) test -run Allocations $(ALLOCATIONS); \
	$(GO) test -run WatermillReconnect $(RECONNECT); \
	$(GO) test ./integration/chaos; \
	$(GO) run ./internal/testsum -- $(GO) test -json -timeout $(TIMEOUT) $(UNRACED); \
	$(GO) run ./internal/testsum -matrix $(MATRIX) -- $(GO) test -json -race -p $(JOBS) -timeout $(TIMEOUT) \
		$$($(GO) list $(PKG) | grep -v '/integration$$'); \
	echo "make test: lint, deps and tests are fine, $$((SECONDS - start)) s"

.PHONY: test-full
test-full: ccompiler ## every suite in every setting; run again, it goes on with the packages that have not passed
	$(MAKE) --no-print-directory lint deps
	ANYWIRE_TEST_FULL=1 $(GO) test -run WatermillReconnect $(RECONNECT)
	ANYWIRE_TEST_FULL=1 $(GO) run ./internal/testsum -matrix $(MATRIX) -- $(GO) test -json -race -p $(JOBS) -timeout 60m $(PKG)
	$(MAKE) --no-print-directory fuzz

.PHONY: matrix
matrix: ## write docs/transports.md anew: what the conformance suite finds out about each transport (PKG)
	$(GO) run ./internal/testsum -matrix $(MATRIX) -update -- \
		$(GO) test -json -p $(JOBS) -timeout $(TIMEOUT) -run 'TestContract|TestConformance|TestKilled' $(PKG)

.PHONY: lint
lint: ## formatting, go vet, golangci-lint with the arrows between packages, a tidy go.mod
	$(GO) mod tidy -diff
	@unformatted=$$($(TOOL) gofumpt -l .); \
	if [ -n "$$unformatted" ]; then \
		echo "not formatted; run: $(TOOL) gofumpt -w ."; echo "$$unformatted"; exit 1; \
	fi
	$(GO) vet ./...
	$(TOOL) golangci-lint run --allow-parallel-runners ./...

.PHONY: bench
bench: ## measure side by side with the peers, in one run (BENCHARGS go to ./bench)
	$(GO) run ./bench $(BENCHARGS)

.PHONY: chaos
chaos: ## break brokers and workers for SECONDS (60) per run, of SEEDS (1) and TRANSPORTS (all); histories and timelines in build/chaos
	$(GO) test -count=1 -v -timeout 24h -run '^TestChaos$$' ./integration/chaos \
		-chaos.seconds=$(SECONDS_) -chaos.seeds=$(SEEDS) -chaos.transports=$(TRANSPORTS) -chaos.history=$(CURDIR)/build/chaos

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10s)
	@$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ { names[++n] = $$1 } \
		/^ok/ { for (i = 1; i <= n; i++) print $$2, names[i]; n = 0 } \
		!/^(Fuzz|ok|\?)/ { print > "/dev/stderr" }' | \
	while read -r package target; do \
		echo "$$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$package"; \
	done

.PHONY: deps
deps: ## what each package links against deps.txt; UPDATE=1 writes it anew
	$(GO) run ./internal/depscheck $(if $(UPDATE),-update)

.PHONY: brokers-up
brokers-up: ## start the brokers that the tests use and print their addresses
	$(GO) run ./internal/brokertest/cmd/brokers up

.PHONY: brokers-down
brokers-down: ## stop what brokers-up started
	$(GO) run ./internal/brokertest/cmd/brokers down

.PHONY: clean
clean: ## remove what was built and what the example left in build/ and data/
	rm -rf build data examples/pipeline/data

# The race detector needs cgo, so a C compiler.
.PHONY: ccompiler
ccompiler:
	@if command -v "$${CC:-cc}" >/dev/null || command -v gcc >/dev/null; then exit 0; fi; \
	echo "make test: no C compiler for the race detector, installing gcc"; \
	if ! command -v apt-get >/dev/null; then \
		echo "make test: there is no apt-get here: install a C compiler and run again" >&2; exit 1; \
	fi; \
	sudo=""; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends gcc libc6-dev
