#!/usr/bin/env bash
# `make deps`: installs, by apt, what building and testing need and this machine lacks. Does nothing where all is there.
set -euo pipefail

# What is looked for (a program, or a library by pkg-config) and the Debian package that brings it.
missing=()
program() { command -v "$1" > /dev/null || missing+=("$2"); }
program cc build-essential
program make make
program git git
program curl curl
program unzip unzip
program openssl openssl
program flock util-linux
program pkg-config pkg-config
program protoc protobuf-compiler
program etcd etcd-server
program etcdctl etcd-client
program kcat kcat
program mvn maven
# The page is tested in a real browser.
program chromium chromium
program chromedriver chromium-driver
# The API is fuzzed by a tool of PyPI, in an environment of its own.
python3 -c 'import venv, ensurepip' 2> /dev/null || missing+=(python3-venv)
library() { { command -v pkg-config > /dev/null && pkg-config --exists "$1"; } || missing+=("$2"); }
library openssl libssl-dev
library zlib zlib1g-dev
# protoc without its well-known types can't build etcd's client.
[ -f /usr/include/google/protobuf/empty.proto ] || [ -f /usr/local/include/google/protobuf/empty.proto ] || missing+=(libprotobuf-dev)
java=${JAVA_HOME:+$JAVA_HOME/bin/}
java_version=$( ("${java}javac" -version 2>&1 || true) | sed -n 's/^javac \([0-9]*\).*/\1/p')
[ "${java_version:-0}" -ge 17 ] || missing+=(default-jdk-headless)

if ! command -v cargo > /dev/null; then
  echo "deps: cargo is not installed; logweir needs Rust 1.95 or newer: https://rustup.rs" >&2
  exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get > /dev/null; then
  echo "deps: this machine lacks (Debian's names) ${missing[*]}." >&2
  echo "deps: automatic installation knows apt only; please install them with this system's own package manager." >&2
  exit 1
fi
root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo > /dev/null || { echo "deps: please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
  root=(sudo)
fi

echo "deps: installing ${missing[*]}"
# etcd-server would start a service on port 2379, which the tests neither need nor want: while these packages are
# installed, services are told not to start (a policy that somebody else has put there is left alone).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy > /dev/null
  "${root[@]}" chmod +x $policy
  trap '"${root[@]}" rm -f $policy' EXIT
fi
"${root[@]}" apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
