#!/usr/bin/env bash
# What it draws: the recorded profiles of the kernel facts side by side, and the map that the program carries for --first-kernel
# and --differs.
# Usage: scripts/facts-map.sh       after scripts/kernels.sh, or whenever a profile in docs/facts/ has changed
# Output: docs/facts/map.html, docs/facts/map.md, and src/lab/facts/map/recorded.json
set -euo pipefail
cd "$(dirname "$0")/.."

code=0
cargo run --quiet --bin io-models -- facts map docs/facts/*.json --known docs/facts/known.toml \
  --html docs/facts/map.html --markdown docs/facts/map.md --json src/lab/facts/map/recorded.json || code=$?
# 3: something differs somewhere.
[ "$code" -eq 0 ] || [ "$code" -eq 3 ]
