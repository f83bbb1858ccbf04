#!/usr/bin/env bash
# Judges the peers, and writes the tables of docs/check.md: the checks, and the verdicts. A minute or two.
# Usage: scripts/check.sh
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 0 ] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }

cargo build --quiet --release --locked --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models

# The list has a blank line between groups, and two blanks at least between an id and what must be so.
{
  printf '| check | what must be so |\n|---|---|\n'
  # The words in quotes are for sed, and Markdown's.
  # shellcheck disable=SC2016
  "$program" check --list --lang en | sed -nE 's/^([a-z]+\/[^ ]+)  +([cf]  )?(.+)$/| `\1` | \3 |/p'
} | scripts/put.sh checks docs/check.md

servers=()
while read -r name command; do servers+=(--server "$name=$command"); done < <(benches/peers/build.sh)
# Exit code 3: a server failed a check, which the table tells.
verdicts=$("$program" check --faults --quiet --seed 1 --markdown "${servers[@]}") || [ $? -eq 3 ]
printf '%s\n' "$verdicts" | scripts/put.sh peers docs/check.md
