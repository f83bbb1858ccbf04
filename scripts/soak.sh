#!/usr/bin/env bash
# What it shows: whether every model survives hours of clients of every kind. One model after another has clients that wait, burst,
# drip, never read, break off and reset; then 100,000 clients come and leave (`fork`: 10,000). After each round of clients the server must
# have no more descriptors, threads, children and memory than before, and rest. With the default it takes more than four hours.
# Usage: scripts/soak.sh [SECONDS]       (600 for each model)
# Output: a few lines for each model; what failed, with the seed that repeats it; exit code 1 if something did.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "SECONDS is a number from 1, not '$seconds'" >&2; exit 2; }
run() { cargo test --release --locked --quiet --test it "$@" -- --nocapture; }
failed=0
IO_MODELS_SOAK=$seconds run chaos || failed=1
IO_MODELS_CHURN=100000 run nothing_is_left_of_thousands_of_clients || failed=1
exit "$failed"
