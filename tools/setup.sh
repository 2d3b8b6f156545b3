#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes sure that what a make target needs is on this machine.
#
#   tools/setup.sh [--optional] GROUP...     groups: build test clang arm64 browser oracle
#
# One table says what each group needs and how to tell that it is there; what is missing is installed with apt-get
# (as root, or through sudo), nothing else is touched. With everything present this takes a few hundredths of a
# second, so the Makefile calls it every time. Without apt-get, or the right to install, it lists what is missing.
# With --optional a group that cannot be had is reported but is no error: the tests that need it then skip (the live
# oracle fails).
# Deliberately not here: anything that changes the system beyond installing packages.
set -eu
cd "$(dirname "$0")/.."

optional=0
if [ "${1:-}" = --optional ]; then optional=1; shift; fi
groups=" $* "
log=build/setup.log
mkdir -p build

# group|Debian package|command that succeeds when it is usable
needs() {
    cat <<'TABLE'
build|gcc|command -v cc || command -v gcc
build|libc6-dev|test -e /usr/include/stdio.h
build|cmake|command -v cmake
build|ninja-build|command -v ninja
build|pkg-config|command -v pkg-config
build|libpcre2-dev|pkg-config --exists libpcre2-8
build|libutf8proc-dev|pkg-config --exists libutf8proc
build|libjansson-dev|pkg-config --exists jansson
build|libedit-dev|pkg-config --exists libedit
build|libuv1-dev|pkg-config --exists libuv
build|node-llhttp|pkg-config --exists libllhttp || test -e /usr/share/llhttp/llhttp.c
test|libcmocka-dev|pkg-config --exists cmocka
test|python3|command -v python3
test|g++|command -v g++
clang|clang-19|command -v clang-19
clang|libclang-rt-19-dev|ls /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-*.a
clang|llvm-19|command -v llvm-symbolizer-19
arm64|gcc-aarch64-linux-gnu|command -v aarch64-linux-gnu-gcc
arm64|libc6-dev-arm64-cross|test -e /usr/aarch64-linux-gnu/include/stdio.h
arm64|qemu-user|command -v qemu-aarch64
browser|chromium|command -v chromium || command -v chromium-browser || command -v google-chrome
TABLE
    # The Python packages of the end-to-end tests live in .venv; only making that needs the venv module.
    if ! venv_is_current; then echo "test|python3-venv|python3 -c 'import ensurepip, venv'"; fi
    if ! oracle_is_current; then echo "oracle|python3-venv|python3 -c 'import ensurepip, venv'"; fi
}

venv_is_current() { cmp -s tests/requirements.txt .venv/installed-requirements.txt; }
oracle_is_current() { cmp -s tests/oracle/requirements.txt build/oracle-venv/installed-requirements.txt; }
wanted() { case "$groups" in *" $1 "*) return 0 ;; *) return 1 ;; esac }

missing_packages() {
    needs | while IFS='|' read -r group package probe; do
        wanted "$group" || continue
        sh -c "$probe" </dev/null >/dev/null 2>&1 || printf '%s ' "$package"
    done
}

give_up() {
    echo "setup: $1" >&2
    if [ "$optional" = 1 ]; then
        echo "setup: going on without; the tests that need it will say so" >&2
        exit 0
    fi
    exit 1
}

install_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        give_up "these are missing (named as on Debian 12): $*. Install your system's equivalents and run make again."
    fi
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null 2>&1; then as_root="sudo"
        else give_up "this user cannot install what is missing; as root run: apt-get install $*"; fi
    fi
    echo "setup: installing $* (log: $log)"
    # The package lists of a fresh machine are empty or old; --no-install-recommends keeps the download small.
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
    if ! { $apt update && $apt install -y --no-install-recommends "$@"; } </dev/null >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        give_up "apt-get could not install: $*"
    fi
}

# make_venv FOLDER REQUIREMENTS [PIP OPTIONS]
# Built anew each time: a half-made or outdated environment is never repaired in place. The stamp comes last.
make_venv() {
    venv=$1 requirements=$2
    shift 2
    echo "setup: making $venv with the packages of $requirements (log: $log)"
    rm -rf "$venv"
    pip_install="$venv/bin/pip install $* -r $requirements"
    # A second try, because a download of gigabytes may break off; what came through is cached.
    if ! python3 -m venv "$venv" >>"$log" 2>&1 ||
        ! { $pip_install || $pip_install; } </dev/null >>"$log" 2>&1; then
        rm -rf "$venv"
        tail -n 20 "$log" >&2
        give_up "the Python packages of $requirements could not be installed"
    fi
    cp "$requirements" "$venv/installed-requirements.txt"
}

packages=$(missing_packages)
# shellcheck disable=SC2086 -- the list is meant to be split
if [ -n "$packages" ]; then install_packages $packages; fi
if wanted test && ! venv_is_current; then make_venv .venv tests/requirements.txt --no-deps; fi
if wanted oracle && ! oracle_is_current; then make_venv build/oracle-venv tests/oracle/requirements.txt; fi
if wanted arm64; then
    sh tools/arm64-sysroot.sh build/arm64-sysroot || give_up "the arm64 libraries could not be fetched"
fi
