#!/usr/bin/env bash
# Writes what the library offers into docs/public-api.txt: each public item on a line, first of the library alone, then what the
# feature `facts` adds. What changes there is a change for users. The feature `lab` is for the programs here, and promises nothing.
# cargo-public-api reads what rustdoc says in JSON, whose form changes with Rust: version 0.52 is for Rust 1.91 and later.
# Usage: scripts/public-api.sh; .ci/nightly runs it and looks at the difference
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cargo public-api --version >/dev/null 2>&1 || cargo install --quiet --debug --locked --root "$scratch/tools" cargo-public-api@0.52.0

api() { # its features; without what derives and blanket implementations add, which says nothing
  RUSTC_BOOTSTRAP=1 PATH=$PATH:$scratch/tools/bin cargo public-api --omit blanket-impls,auto-trait-impls,auto-derived-impls \
    --no-default-features --features "$1" --color never
}
api '' >"$scratch/alone"
api facts >"$scratch/facts"
{
  echo "# The library alone. Written by scripts/public-api.sh."
  cat "$scratch/alone"
  echo
  echo "# What the feature facts adds."
  grep --invert-match --line-regexp --fixed-strings --file "$scratch/alone" "$scratch/facts"
} >docs/public-api.txt
