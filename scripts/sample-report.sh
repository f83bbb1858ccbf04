#!/usr/bin/env bash
# What it measures: one server under an open loop, and the same with gates and a baseline. It puts the reports into
# docs/load.md between the marks, so that no number there was written by hand.
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

# A missed rate or gate (3) would be a sample as well.
load() { "$program" load "$addr" --quiet "$@" || [ $? -eq 3 ]; }

put() { # between the marks of that name in docs/load.md
  { echo '```text'; sed "s/$addr/ADDR:PORT/; s|$folder/||"; echo '```'; } >"$folder/sample"
  awk -v name="$1" -v sample="$folder/sample" '
    index($0, "<!-- " name ": end -->") { inside = 0 }
    !inside
    index($0, "<!-- " name ": begin") {
      inside = 1
      print ""
      while ((getline line < sample) > 0) print line
      print ""
    }' docs/load.md >"$folder/load.md"
  cat "$folder/load.md" >docs/load.md
}

{ echo '$ io-models load ADDR:PORT -R 5k -d 5s'; load -R 5k -d 5s; } | put sample

load -R 5k -d 5s --wait sleep --pid "$server" --json --output "$folder/old.json"
{
  echo "\$ io-models load ADDR:PORT -R 5k -d 5s --wait sleep --pid PID --baseline old.json \\"
  echo "    --gate 'p99<=50ms' --gate 'achieved>=4.9k' --gate 'cpu<=1.50x'"
  echo …
  load -R 5k -d 5s --wait sleep --pid "$server" --baseline "$folder/old.json" \
    --gate 'p99<=50ms' --gate 'achieved>=4.9k' --gate 'cpu<=1.50x' | sed -n '/^  gates/,$p'
} | put gates
