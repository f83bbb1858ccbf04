#!/usr/bin/env bash
# What it measures: whether the kernel facts ever change their mind. Runs all of them again and again, on an
# idle machine and then beside two busy loops a processor, and compares each run with the first.
# Usage: scripts/facts-soak.sh [IDLE-RUNS [LOADED-RUNS]]       (50 and 10)
# Output: a line a run, then the sum; exit code 1 if one outcome of one run was another.
set -euo pipefail
cd "$(dirname "$0")/.."

idle=${1:-50} loaded=${2:-10}
for runs in "$idle" "$loaded"; do
  [[ $runs =~ ^[0-9]+$ ]] || { echo "how often? $runs is no number" >&2; exit 2; }
done
cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models
scratch=$(mktemp -d)
busy=()
quieten() {
  [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null || true
  busy=()
}
trap 'quieten; rm -rf "$scratch"' EXIT

# A fact that differs is found in the first run and stays so: this script is about what changes.
"$program" facts --quiet --json --output "$scratch/first.json" || [ $? -eq 3 ]
flaky=0
soak() {
  local how=$1 runs=$2 n code
  for ((n = 1; n <= runs; n++)); do
    code=0
    "$program" facts --quiet --baseline "$scratch/first.json" >"$scratch/page" || code=$?
    echo "$how $n of $runs: $(tail -n 1 "$scratch/page")"
    tail -n 1 "$scratch/page" | sed -E 's/.* in ([0-9.]+) s:.*/\1/' >>"$scratch/$how"
    [ "$code" -eq 0 ] || { flaky=$((flaky + 1)); grep '^[-+] ' "$scratch/page" || cat "$scratch/page"; }
  done
}
summary() {
  [ -s "$scratch/$1" ] || return 0
  sort -n "$scratch/$1" | awk -v how="$1" '{ t[NR] = $1 }
    END { printf "%s: %d runs, %s s the shortest, %s s the median, %s s the longest\n", how, NR, t[1], t[int((NR + 1) / 2)], t[NR] }'
}
soak idle "$idle"
for ((i = 0; i < 2 * $(nproc); i++)); do
  while :; do :; done &
  busy+=($!)
done
soak loaded "$loaded"
quieten
summary idle
summary loaded
echo "$flaky of $((idle + loaded)) runs had an outcome that was another than in the first run"
[ "$flaky" -eq 0 ]
