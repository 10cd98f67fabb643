# `make` lists the targets. Each of them works on every module of go.work.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
BIN := $(CURDIR)/.bin
COVER := $(CURDIR)/.cover

TIMEOUT ?= 20m
SOAK_TIMEOUT ?= 6h
FUZZTIME ?= 10s
BENCH ?= .
BENCHTIME ?= 1s
BENCHCOUNT ?= 1
TURNS ?= 51
DEMO_DB ?=

# Of the servers named here, no test is skipped: without one, its tests fail.
REQUIRE ?= postgres,pgbouncer
test soak: export ANNALS_REQUIRE := $(REQUIRE)

# $(call each,COMMAND) runs COMMAND in the folder of every module. A module that fails does not hide the
# others: all of them run, a summary on standard error has a line for each, and the exit code tells of the failure.
# In COMMAND, $$name is the folder of the module as seen from here.
define each
	modules=$$($(GO) list -m -f '{{.Dir}}'); failed=0; summary=''; \
	while IFS= read -r dir; do \
		name=$${dir#"$(CURDIR)"}; name=$${name#/}; name=$${name:-.}; started=$$SECONDS; result=ok; \
		(cd "$$dir" && $(1)) </dev/null || { result=FAIL; failed=1; }; \
		summary+=$$(printf '%-4s  %-12s %5ds' "$$result" "$$name" $$((SECONDS - started)))$$'\n'; \
	done <<<"$$modules"; \
	printf '\n$@:\n%s' "$$summary" >&2; exit $$failed
endef

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: ## formatting, vet, linters, the floors, tidy go.mod files: all that needs no test run
	@$(MAKE) --keep-going check-fmt check-vet check-lint check-arch check-tidy check-tidy-tools

.PHONY: check-fmt check-vet check-lint check-arch check-tidy check-tidy-tools
check-fmt: $(BIN)/built
	@$(call each,$(BIN)/golangci-lint fmt --diff)

check-vet:
	@$(call each,$(GO) vet ./... && GOOS=windows $(GO) vet ./...)

check-lint: $(BIN)/built
	@$(call each,$(BIN)/golangci-lint run ./...)

check-arch:
	$(GO) test -count=1 ./internal/archtest

check-tidy:
	@$(call each,$(GO) mod tidy -diff)

check-tidy-tools:
	cd internal/tools && GOWORK=off $(GO) mod tidy -diff

.PHONY: fmt
fmt: $(BIN)/built ## rewrite all Go files in the house's format
	@$(call each,$(BIN)/golangci-lint fmt)

# What `go test -json` says of all modules becomes one report, with a table of the recorders at its end.
report := $(GO) run ./internal/testreport

.PHONY: test
test: deps ## all tests of all modules, with the race detector, in random order; each benchmark once (REQUIRE=servers)
	@($(call each,CGO_ENABLED=1 $(GO) test -json -race -shuffle=on -timeout $(TIMEOUT) ./... && \
		$(GO) test -run='^$$' -bench=. -benchtime=1x -timeout $(TIMEOUT) ./...)) | $(report)

.PHONY: soak
soak: deps ## the same tests with ANNALS_SOAK=1: longer runs, more rounds (SOAK_TIMEOUT=6h)
	@($(call each,ANNALS_SOAK=1 CGO_ENABLED=1 $(GO) test -json -race -shuffle=on -timeout $(SOAK_TIMEOUT) ./...)) | $(report)

.PHONY: bench
bench: ## all benchmarks once (BENCH=regexp BENCHTIME=1s BENCHCOUNT=1); compare two runs with .bin/benchstat
	@$(call each,$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -benchtime=$(BENCHTIME) -count=$(BENCHCOUNT) \
		-timeout $(SOAK_TIMEOUT) ./...)

.PHONY: bench-peers
bench-peers: ## the same work by Annals and by other libraries, in turns: a table of rates and ratios (TURNS=51)
	@printf 'commit %s, ' "$$(git describe --always --dirty)"; $(GO) run ./benchmarks -turns $(TURNS)

.PHONY: fuzz
fuzz: ## each fuzz test for FUZZTIME=10s
	@$(call each,$(fuzz-module))

# `go test -list` prints the names of a package's fuzz tests, then a line with the package. One of them runs at a
# time: that is all that `go test -fuzz` takes.
define fuzz-module
list=$$($(GO) test -list='^Fuzz' ./...) || exit 1; status=0; \
	while read -r pkg fuzz; do \
		[ -z "$$fuzz" ] || $(GO) test -run='^$$' -fuzz="^$$fuzz\$$" -fuzztime=$(FUZZTIME) "$$pkg" </dev/null || status=1; \
	done < <(awk '/^Fuzz/ { names[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, names[i]; n = 0 }' <<<"$$list"); \
	exit $$status
endef

.PHONY: cover
cover: ## statements that the tests of each module reach; .cover/*.html shows the lines
	@mkdir -p $(COVER)
	@$(call each,profile=$${name/#./root} && profile=$(COVER)/$${profile//\//-} && \
		$(GO) test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile="$$profile.out" ./... && \
		$(GO) tool cover -html="$$profile.out" -o "$$profile.html" && \
		$(GO) tool cover -func="$$profile.out" | tail -n 1)

.PHONY: tidy
tidy: ## go mod tidy in every module
	@$(call each,$(GO) mod tidy)
	cd internal/tools && GOWORK=off $(GO) mod tidy

.PHONY: docs
docs: ## the reference of every public package, as text: make docs | less
	@$(call each,packages=$$($(GO) list -f '{{if ne .Name "main"}}{{.ImportPath}}{{end}}' ./... | grep -v /internal/ || true); \
		for package in $$packages; do printf '# %s\n\n' "$$package"; $(GO) doc -all "$$package" || exit 1; printf '\n'; done)

.PHONY: demo
demo: ## import this repository's history into an event store, then verify it (DEMO_DB=file)
	@db='$(DEMO_DB)'; db=$${db:-$$(mktemp -d)/githistory.db}; printf 'database: %s\n' "$$db"; set -x; \
	$(GO) run ./examples/githistory import --repo . --db "$$db"; \
	$(GO) run ./examples/githistory verify --repo . --db "$$db" --samples 20

.PHONY: deps
deps: ## install what the tests need: git, a C compiler for the race detector, and what REQUIRE names
	@GO='$(GO)' sh internal/tools/deps.sh '$(REQUIRE)'

.PHONY: tools
tools: $(BIN)/built ## build the pinned tools into .bin: golangci-lint, benchstat

# The tools are no part of the workspace: see docs/decisions/0001-modules-and-tools.md.
$(BIN)/built: internal/tools/go.mod
	cd internal/tools && GOWORK=off CGO_ENABLED=0 $(GO) build -o $(BIN)/ tool
	@touch $@
