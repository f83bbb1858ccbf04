#!/usr/bin/env bash
# What it measures: one server under an open loop, whose report it puts into docs/load.md between the two marks, so that
# no number there was written by hand.
# Usage: scripts/sample-report.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models
folder=$(mktemp -d)
"$program" serve epoll-level >"$folder/server" &
server=$!
# shellcheck disable=SC2317 # The trap runs it.
clean_up() {
  if kill "$server" 2>/dev/null; then wait "$server" || true; fi
  rm -rf "$folder"
}
trap clean_up EXIT
until addr=$(sed -n 's/^listening on //p' "$folder/server") && [ -n "$addr" ]; do kill -0 "$server"; sleep 0.05; done

# A missed rate (3) would be a sample as well.
"$program" load "$addr" -R 5k -d 5s --quiet --output "$folder/report" || [ $? -eq 3 ]
{ echo '```text'; echo '$ io-models load ADDR:PORT -R 5k -d 5s'; sed "s/$addr/ADDR:PORT/" "$folder/report"; echo '```'; } >"$folder/sample"
awk -v sample="$folder/sample" '
  /<!-- sample: end -->/ { inside = 0 }
  !inside
  /<!-- sample: begin/ {
    inside = 1
    print ""
    while ((getline line < sample) > 0) print line
    print ""
  }' docs/load.md >"$folder/load.md"
cat "$folder/load.md" >docs/load.md
