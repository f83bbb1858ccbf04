#!/usr/bin/env bash
# What it measures: the comparison and the designs of UNP chapter 30, each with its defaults. Their outputs go into README.md and
# docs/unp30.md between two marks, so that no number there was written by hand.
# Usage: scripts/readme-table.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models
result=$(mktemp)
trap 'rm -f "$result"' EXIT

# `put MARK FILE`: the result between the marks of that name.
put() {
  awk -v result="$result" -v mark="$1" '
    $0 == "<!-- " mark ": end -->" { inside = 0 }
    !inside
    index($0, "<!-- " mark ": begin") == 1 {
      inside = 1
      print ""
      while ((getline line < result) > 0) print line
      print ""
    }' "$2" >"$2.new"
  mv "$2.new" "$2"
}

"$program" compare --output "$result"
put compare README.md
"$program" unp30 --markdown --output "$result"
put unp30 docs/unp30.md
