#!/usr/bin/env bash
# Checks every dependency against deny.toml: licences, bans, sources, and known advisories where their database can be
# fetched. Installs cargo-deny with cargo where it is missing, which takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked
cargo deny check licenses bans sources
if ! cargo deny fetch db >/dev/null 2>&1; then
    echo "the advisory database cannot be fetched from https://github.com/RustSec/advisory-db: advisories are not checked" >&2
    exit 0
fi
cargo deny --offline check advisories
