# Every job by one name. `make demo` and `make test` on a bare Debian 12 machine set it up first.
PRESET ?= release
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
BUILD := build/$(PRESET)
# Objects are shared between presets and clones where they are the same.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
# How long `make soak` keeps a server busy.
SOAK_MINUTES ?= 30

.PHONY: help setup build test test-peers compatibility demo bench soak lint format manual package clean

help:
	@sed -n 's/^## //p' Makefile

## make demo        install what is missing, build, and run the demonstration (ARGS="--once" for a quick one)
demo: build
	@$(BUILD)/bin/millrace demo $(ARGS)

## make build       the program: build/release/bin/millrace
build: setup $(BUILD)/build.ninja
	@cmake --build --preset $(PRESET)

# A preset's flags come into a folder only when it is configured; CMake alone would keep the old ones.
build/%/build.ninja: CMakePresets.json | setup
	@cmake --preset $* >/dev/null

## make test        build, and run every test but those against peers
test: build
	@ctest --preset $(PRESET) -LE peers

## make test-peers  the tests that need Java, Go or Apache Kafka itself
test-peers: build
	@ctest --preset $(PRESET) -L peers

## make compatibility  the test suites of other projects' clients, an hour; writes docs/compatibility.md
compatibility: build
	@python3 -B tests/compatibility/suites.py $(BUILD)/bin/millrace --out $(BUILD)/compatibility $(ARGS)

## make bench       measurements, beside the peers where they are present
bench: build
	@bench/run.sh $(BUILD) $(ARGS)

## make soak        simulators, sanitizers, fuzzers and long loops: an hour or more
soak: build
	@MILLRACE_SEEDS=10000 $(BUILD)/bin/coord_test --gtest_brief --gtest_filter='Simulator.*'
	@MILLRACE_SEEDS=20000 $(BUILD)/bin/broker_test --gtest_brief --gtest_filter='Simulator.*'
	@$(MAKE) test PRESET=asan-ubsan
	@$(MAKE) test PRESET=tsan
	@$(MAKE) build && tests/clients/venv.sh $(BUILD)/clients-venv
	@MILLRACE_KILLS=200 MILLRACE_BINARY=$(CURDIR)/$(BUILD)/bin/millrace $(BUILD)/clients-venv/bin/python -B -m pytest -s -o faulthandler_timeout=0 tests/clients/test_kill_9.py
	@$(BUILD)/clients-venv/bin/python -B tests/soak/soak.py $(BUILD)/bin/millrace --out $(BUILD)/soak --minutes $(SOAK_MINUTES)

## make lint        clang-format and clang-tidy over the whole tree
lint: build
	@tests/structure/format.sh .
	@git ls-files 'src/*.cc' 'tests/*.cc' | xargs -P$$(nproc) -n1 clang-tidy-19 -p $(BUILD) --quiet

## make format      rewrite the C++ files as clang-format would
format:
	@git ls-files '*.h' '*.cc' | xargs clang-format-19 -i

## make manual      rewrite the pages of docs/manual that the program prints
manual: build
	@for page in command-line configuration; do $(BUILD)/bin/millrace help $$page > docs/manual/$$page.md; done

## make package     a Debian package in build/package
package: build
	@cpack --config $(BUILD)/CPackConfig.cmake -B build/package

clean:
	@rm -rf build

setup: .setup-stamp
	@third_party/fetch.sh

# apt runs again only when the list of packages changes.
.setup-stamp: apt-packages.txt
	@missing=$$(for p in $$(grep -v '^#' $<) $(if $(shell command -v npm),,nodejs npm); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update -q && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	fi
	@touch $@
