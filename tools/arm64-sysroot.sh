#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Unpacks the arm64 libraries of the cross-build into a folder of their own:  tools/arm64-sysroot.sh DIR
#
# apt keeps a private set of package lists below DIR, so the machine's own packages, lists and architectures stay as
# they are and no root is needed. The C library comes with the cross-compiler; only what slm links is fetched here.
set -eu

packages="libpcre2-8-0 libpcre2-dev libutf8proc2 libutf8proc-dev libjansson4 libjansson-dev libcmocka0 libcmocka-dev
 libuv1 libuv1-dev"
root=$1
stamp=$root/complete
if [ "$(cat "$stamp" 2>/dev/null)" = "$packages" ]; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "arm64-sysroot: this needs apt-get; unpack these arm64 packages into $root yourself: $packages" >&2
    exit 1
fi

rm -rf "$root"
mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial" "$root/debs"
root=$(cd "$root" && pwd)
: >"$root/apt/status"
apt="apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=
     -o Dir::State=$root/apt -o Dir::State::lists=$root/apt/lists -o Dir::State::status=$root/apt/status
     -o Dir::Cache=$root/apt/cache"
echo "setup: fetching the arm64 libraries into $1"
$apt update >&2 || true # an extra source without arm64 packages is no reason to stop; the download below decides
(cd "$root/debs" && $apt download $packages >&2)
for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
rm -rf "$root/apt" "$root/debs"
printf '%s\n' "$packages" >"$stamp"
