#!/usr/bin/env bash
# What it measures: the comparison with its defaults, whose output it puts into README.md between the
# two marks, so that no number there was written by hand.
# Usage: scripts/readme-table.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models
result=$(mktemp)
trap 'rm -f "$result"' EXIT
"$program" compare --output "$result"
awk -v result="$result" '
  /<!-- compare: end -->/ { inside = 0 }
  !inside
  /<!-- compare: begin/ {
    inside = 1
    print ""
    while ((getline line < result) > 0) print line
    print ""
  }' README.md >README.md.new
mv README.md.new README.md
