# Targets for people and for continuous integration; "make" alone lists them.
# Everything needs Go; what else is needed, "make deps" installs (Debian).

.POSIX:

VERSION   = $$(packaging/version)
PREFIX    = /usr
DIST      = dist
ARCHES    = amd64 arm64 armhf
FUZZTIME  ?= 10s
BENCHTIME = 1s
CHAOS     = 500
SEEDS     = 1000
FIRST     =
KILLS     = 200
RUN       = .*
BASE      = HEAD~1
# The packages whose mutants are tried: CORE=hooks is one of them.
CORE      = access helper state hooks rewrite servers edit config sources

# Run as root what a go command built: by sudo, unless we are root.
EXEC_ROOT = -exec "$$(test "$$(id -u)" = 0 || echo sudo env PATH=$$PATH)"
# The tests that have the tag lab: unit has run the others already.
OF_LAB    = $$(grep -l '^//go:build lab' *_test.go */*_test.go | xargs \
	sed -n 's/^func \(Test[A-Z][A-Za-z0-9]*\)(.*/\1/p' | paste -sd'|')
PROGRESS  = CGO_ENABLED=1 go run ./tools/progress -race
TOOL      = go tool -modfile=tools/tools.mod
SHEBANG   = FNR == 1 && /^\#!.*[\/ ](ba|da)?sh( |$$)/ { print FILENAME } { nextfile }

.NOTPARALLEL:
.PHONY: help build unit lint fmt lab worlds releases chaos simulate mutate lab-demo demo test deps go bench bench-micro
.PHONY: bench-compare pages fuzz vuln deb tarball dist release yunohost yunohost-try install uninstall clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

build: go ## build bin/netwatch, static and small
	VERSION="$(VERSION)" packaging/compile bin/netwatch

test: deps unit lint lab ## everything: packages, unit tests, lint, lab tests
	@[ -n "$$(git status --porcelain 2>&1)" ] || git rev-parse HEAD >bin/tested # for "make release"

unit: go ## go vet and the tests that need neither root nor a network
	go vet ./...
	$(PROGRESS) -shuffle=on ./...

lint: go ## everything that reads the sources: Go, go.mod, shell, manual pages
	go mod tidy -diff
	go vet -tags lab,debian ./...
	$(TOOL) golangci-lint run
	dead=$$($(TOOL) deadcode -tags lab,debian -test ./... && $(TOOL) deadcode ./cmd/netwatch) && test -z "$$dead" || \
		{ echo "$$dead" >&2; exit 1; }
	find . \( -path ./.git -o -path ./bin -o -name testdata \) -prune -o -type f \
		-exec awk '$(SHEBANG)' {} + | xargs -r shellcheck
	find . -path './docs/*.[1-8]' -exec mandoc -Tlint -Wwarning {} +

fmt: go ## format the Go sources
	$(TOOL) gofumpt -w .

lab: build ## tests on real systemd, coturn, OpenVPN and networks, some on newer Debians too (root); RUN=TestX: that one
	$(PROGRESS) -at-once 3 -count=1 -timeout 40m -tags lab $(EXEC_ROOT) -run "^($${RUN:-$(OF_LAB)})\$$" \
		. ./lab/... ./access/... ./actions/... ./helper/... ./rewrite/... ./sources/... ./state/...

worlds: build ## what callers get in every world that the lab knows, as a table (root; about half an hour)
	go test -count=1 -timeout 1h -v -tags lab $(EXEC_ROOT) -run 'TestWorlds/$(RUN)' ./lab -worlds

releases: build ## the tests that go through releases of Debian, on sid too, and Debian 12 becoming 13 (root; about 15 minutes)
	go test -count=1 -timeout 1h -v -tags lab,debian $(EXEC_ROOT) -run "^($$(grep -B3 'onReleases(t' lab/*_test.go | \
		sed -n 's/.*func \(Test[A-Za-z]*\)(.*/\1/p' | paste -sd'|')|TestDebianUpgraded)$$" ./lab -worlds

chaos: build ## netwatch killed CHAOS=500 times while it works, and flooded; 500 renewals; KILLS=200 of several machines (root; 50 minutes)
	CGO_ENABLED=1 go test -race -count=1 -timeout 2h -v -tags lab $(EXEC_ROOT) \
		-run 'TestKilledAtAnyMoment|TestFlood|TestEveryRenewalIsOneEvent' ./lab -rounds $(CHAOS)
	CGO_ENABLED=1 go test -race -count=1 -timeout 1h -v -tags lab $(EXEC_ROOT) -run TestMachinesKilled ./lab -rounds $(KILLS)

simulate: go ## the whole daemon through SEEDS=1000 new worlds, some days each; FIRST=N: those seeds again
	tools/simulate $(SEEDS) $(FIRST)

mutate: go ## slips of the pen in the core, one after the other, and whether a test or a simulated world sees each (root)
	go run $(EXEC_ROOT) ./tools/mutate -tags lab $(CORE)

demo: build ## what netwatch does, shown on loopback in a scratch directory
	go run ./demo bin/netwatch

lab-demo: deps ## the same on real systemd, coturn and a router (root)
	go run $(EXEC_ROOT) ./demo/lab

deps: go ## install the Debian packages that are missing
	tools/deps

go:
	@tools/need-go

bench: deb bench-micro ## tables beside what one would have instead: docs/performance.md (root; about 40 minutes)
	tools/deps bench
	go run $(EXEC_ROOT) ./bench

bench-micro: go ## benchmarks of what is done for each event (BENCHTIME=1s)
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

bench-compare: go ## the same at another commit and here, by benchstat (BASE=HEAD~1; some minutes)
	tools/bench-compare $(BASE)

pages: ## pictures of the report's pages in dist/pages, and whether they are valid and accessible (Chromium; asks npm)
	tools/deps pages
	tools/pages

fuzz: go ## every fuzz target for a short while (FUZZTIME=10s)
	tools/fuzz $(FUZZTIME)

vuln: go ## known vulnerabilities; asks a database on the internet
	$(TOOL) govulncheck ./...

deb: build ## Debian packages in dist/ (VERSION=, ARCHES=, MAINTAINER=)
	VERSION="$(VERSION)" DIST="$(DIST)" packaging/deb/build $(ARCHES)

tarball: go ## archives with an install script, for machines without dpkg, in dist/ (VERSION=, ARCHES=)
	VERSION="$(VERSION)" DIST="$(DIST)" packaging/tarball $(ARCHES)

dist: build ## all that a release hands out, with sums and what is in it, in dist/VERSION; of one commit always the same
	VERSION="$(VERSION)" DIST="$(DIST)/$(VERSION)" packaging/dist $(ARCHES)

release: build ## the same of the version of CHANGELOG.md, built twice and compared, if it can be released
	DIST="$(DIST)" packaging/release $(ARCHES)

yunohost: build ## the app for YunoHost in dist/netwatch_ynh, with the packages in it (VERSION=, ARCHES=, MAINTAINER=)
	debs=$$(VERSION="$(VERSION)" DIST="$(DIST)" packaging/deb/build $(ARCHES)) && \
		echo "$$debs" | DIST="$(DIST)" xargs -d '\n' packaging/yunohost/build

yunohost-try: yunohost ## the app installed, upgraded, set, backed up, restored and removed on this machine, a YunoHost (root)
	packaging/yunohost-try "$(DIST)/netwatch_ynh" $(OLDER)

install: ## put what "make build" made into place (PREFIX=/usr, DESTDIR=)
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install

uninstall: ## remove what "make install", "netwatch grant" and "netwatch init" put into place, less the configuration
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/uninstall

clean: ## remove what was built
	rm -rf bin dist
