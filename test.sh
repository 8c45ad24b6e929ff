#!/usr/bin/env bash
# Says whether this checkout is sound: format, lints, all tests, documents, system tests.
# Installs nothing outside the checkout, unless asked to with --install-system-packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage='Usage: ./test.sh [--install-system-packages] | --audit

  --audit                     check licences, sources and known faults of all crates with cargo-deny, which
                              fetches its database from the network, and do nothing else
  --install-system-packages   install what some tests need (sshd, ssh, ss, chromium) with apt-get,
                              as root or by sudo, and let a skipped test count as a failure'

install=no
audit=no
for word in "$@"; do
    case $word in
        --install-system-packages) install=yes ;;
        --audit) audit=yes ;;
        -h | --help) echo "$usage" && exit 0 ;;
        *) printf 'test.sh: unknown argument %s\n%s\n' "$word" "$usage" >&2 && exit 2 ;;
    esac
done

# install_package COMMAND PACKAGE: installs the package where the command is missing.
install_package() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null && return
    local as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$2"
}

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# Known faults come from a database on the network; all else is checked without it.
audit() {
    if ! command -v cargo-deny >/dev/null; then
        echo 'test.sh: cargo-deny is missing: cargo install cargo-deny --locked' >&2
        exit 1
    fi
    step cargo deny check licenses bans sources
    step cargo deny check advisories
}

if [ "$audit" = yes ]; then
    audit
    exit
fi

pytest_flags=()
if [ "$install" = yes ]; then
    install_package sshd openssh-server
    install_package ssh openssh-client
    install_package ss iproute2
    install_package chromium chromium
    install_package chromedriver chromium-driver
    # sshd run as root wants this directory, which a boot would make.
    if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi
    pytest_flags=(-p tests.no_skips)
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "test.sh: python3 3.10 or newer is missing: sudo apt-get install python3 python3-venv" >&2
    exit 1
fi

# The same cases for every change; PROPTEST_RNG_SEED=$RANDOM searches for others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-42}

step python3 -m launcher.tools plots/requirements.txt tests/requirements.txt
step cargo fmt --check
step cargo clippy --workspace --all-targets -- -D warnings
step cargo test --workspace
loom=(env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom)
step "${loom[@]}" cargo clippy -p batchkv-store --all-targets -- -D warnings
step "${loom[@]}" cargo test -p batchkv-store --test loom
step env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
step cargo build --release --workspace
# Each skipped test is named, with its reason, just above the last line.
step .venv/bin/python -m pytest -rs --no-fold-skipped "${pytest_flags[@]}" \
    plots/tests launcher/tests tests
