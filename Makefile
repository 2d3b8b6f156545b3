# SPDX-License-Identifier: MIT
# The front door: short names for what CMake, Ninja and tests/run.py do. Missing packages are installed first
# (tools/setup.sh). Every build tree is a preset of CMakePresets.json and lives below build/.

CMAKE  ?= cmake
PREFIX ?= /usr/local
PROMPT ?= Tell me a story about a brave little mouse.
S      ?= 60
export PROMPT
RUN     = python3 tests/run.py

.DEFAULT_GOAL := all
.PHONY: all oracle run check test soak tidy units e2e asan ubsan tsan clang arm64 fuzz bench install clean help \
        setup setup-test setup-all

all: setup ## build build/slm (the default)
	@test -e build/build.ninja || $(CMAKE) --preset default --log-level=NOTICE
	@$(CMAKE) --build build --target slm slm_core

run: all ## build, then let the built-in model tell a story (PROMPT="...")
	@printf '\n> %s\n\n' "$$PROMPT"
	@build/slm run -n 400 "$$PROMPT"

check: setup-test ## the daily loop, under a minute: units, style, quick end-to-end tests
	@$(RUN) check

test: setup-all ## everything: check, sanitizers, clang, arm64, fuzzers; WITH=oracle too
	@$(RUN) test $(WITH)

soak: setup-all ## long runs: fuzzers for ten minutes each, tests repeated (hours)
	@$(RUN) soak

units e2e: setup-test ## only the C tests / only the end-to-end tests
	@$(RUN) $@

tidy: setup-test ## layers, sizes, banned functions, comments, headers, links
	@$(RUN) tidy

asan ubsan tsan: setup-test ## C tests under that sanitizer (asan includes ubsan's checks)
	@$(RUN) $@

clang: setup-test ## build with clang, warnings are errors, and run the C tests
	@tools/setup.sh clang
	@$(RUN) clang

arm64: setup-test ## cross-build for aarch64 and run its tests under qemu
	@tools/setup.sh arm64
	@$(RUN) arm64

fuzz: setup-test ## fuzz one parser under ASan+UBSan: make fuzz T=gguf S=60 (all of them without T)
	@tools/setup.sh clang
	@$(RUN) fuzz $(if $(T),--only $(T)) --seconds $(S)

oracle: setup ## random models of every family against transformers (installs PyTorch; N=200, SEED=1 repeats a run)
	@tools/setup.sh oracle
	@$(RUN) oracle --models $(or $(N),200) $(if $(SEED),--seed $(SEED))

bench: all ## measure speed with the built-in model, or M=model.gguf
	@build/slm bench $(M)

install: all ## install command, library, header and slm.pc (PREFIX=/usr/local, DESTDIR=)
	@DESTDIR="$(DESTDIR)" $(CMAKE) --install build --prefix "$(PREFIX)"

clean: ## remove every build tree (keeps .venv and build/arm64-sysroot)
	@find build -mindepth 1 -maxdepth 1 ! -name arm64-sysroot -exec rm -rf {} + 2>/dev/null || true

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# One after the other also under -j: apt holds one lock.
setup:
	@tools/setup.sh build
setup-test:
	@tools/setup.sh build test
setup-all: setup-test
	@tools/setup.sh --optional clang
	@tools/setup.sh --optional arm64
	@tools/setup.sh --optional browser
