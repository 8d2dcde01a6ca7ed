# faultline: `make help` lists what there is.

GO      ?= go
PACKAGE := github.com/faultline-sh/faultline
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

# Tools are built from source at these versions into $(TOOLS); they are no part of our module.
GOLANGCI_LINT  := v2.15.0
GOVULNCHECK    := v1.8.0
TOOLS          ?= $(CURDIR)/.tools

# RACE=auto uses the race detector where a C compiler works, RACE=yes insists, RACE=no leaves it out.
RACE      ?= auto
TESTFLAGS ?=
PACKAGES  ?= ./...
VULNFLAGS ?=

.DEFAULT_GOAL := build

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## a static bin/faultline for this machine, its version stamped
	$(BUILD) -o bin/ ./cmd/faultline

.PHONY: demo
demo: build ## break a small service of our own, heal it and report; no root, no Docker
	./bin/faultline demo

.PHONY: test
test: ## all tests, with -race where a C compiler works
	@# One package at a time: they measure time, and would measure each other.
	@race=`./.ci/race "$(RACE)"` && set -x && $(GO) build $$race $(PACKAGES) && $(GO) test $$race -p 1 -timeout 30m $(TESTFLAGS) $(PACKAGES)
	$(GO) -C tools test $(TESTFLAGS) ./...

.PHONY: cross
cross: ## does it build for every platform, and vet for those without Linux's files?
	@for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do \
		echo "building for $$platform"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) build -trimpath ./... || exit 1; done
	@for os in darwin windows; do echo "vetting for $$os"; GOOS=$$os $(GO) vet ./... || exit 1; done

.PHONY: bench
bench: build ## ratios against peers, measured in one run; exits 1 when one is missed
	$(GO) run ./internal/bench

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## golangci-lint, with the committed configuration
	$(TOOLS)/golangci-lint-$(GOLANGCI_LINT) run ./...

.PHONY: vuln
vuln: $(TOOLS)/govulncheck-$(GOVULNCHECK) ## known vulnerabilities, less those listed with a reason in tools/vuln/known.txt
	$(GO) -C tools run ./vuln $(VULNFLAGS) $(TOOLS)/govulncheck-$(GOVULNCHECK) $(CURDIR)

.PHONY: release
release: ## dist/: archives for all platforms, checksums, SBOM, third-party licences, man pages, completions
	$(GO) -C tools run ./release -version '$(VERSION)' -tree $(CURDIR) -out $(CURDIR)/dist

.PHONY: screenshots
screenshots: build ## run the demo and render its report with headless Chromium into docs/img
	$(GO) run ./internal/screenshots -demo bin/faultline

.PHONY: clean
clean: ## remove what make made
	rm -rf bin dist .tools

# Each tool carries its version in its file name, so a changed version is a missing file.
$(TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	@./.ci/tool $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)

$(TOOLS)/govulncheck-$(GOVULNCHECK):
	@./.ci/tool $@ golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)
