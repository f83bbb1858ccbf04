#!/usr/bin/env bash
# What it shows: whether the tests pass on a busy machine. Runs the whole `cargo test` again and again beside four
# busy loops, which it starts and ends itself.
# Usage: scripts/test-soak.sh [RUNS]       (20)
# Output: a line a run with its seconds, the tests that failed, and the counts; exit code 1 if a run failed.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-20}
[[ $runs =~ ^[1-9][0-9]*$ ]] || { echo "RUNS is a number from 1, not '$runs'" >&2; exit 2; }
scratch=$(mktemp -d)
busy=()
finish() {
  [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cargo test --locked --no-run --quiet
for _ in 1 2 3 4; do
  while :; do :; done &
  busy+=($!)
done
passed=0
for ((run = 1; run <= runs; run++)); do
  began=$SECONDS code=0
  # Without --no-fail-fast, cargo ends at the first test binary that fails, and the others are not tried.
  cargo test --locked --no-fail-fast >"$scratch/log" 2>&1 || code=$?
  echo $((SECONDS - began)) >>"$scratch/seconds"
  if [ "$code" -eq 0 ]; then
    passed=$((passed + 1))
    echo "run $run of $runs: passed, $((SECONDS - began)) s"
    continue
  fi
  echo "run $run of $runs: failed with exit code $code, $((SECONDS - began)) s"
  # The names, as libtest and libtest-mimic print them, and what each said.
  sed -nE 's/^test (\[[a-z ]+\] +)?(.*[^ ]) +\.\.\. FAILED$/\2/p' "$scratch/log" | sort -u | tee -a "$scratch/failed" | sed 's/^/  /'
  sed -n '/^failures:$/,/^test result:/p' "$scratch/log" | sed 's/^/    /'
  [ -s "$scratch/failed" ] || tail -n 20 "$scratch/log"
done
sort -n "$scratch/seconds" | awk '{ t[NR] = $1 }
  END { printf "%s s the shortest, %s s the median, %s s the longest\n", t[1], t[int((NR + 1) / 2)], t[NR] }'
[ ! -s "$scratch/failed" ] || { echo "failures, by test:"; sort "$scratch/failed" | uniq -c | sort -nr; }
echo "$passed of $runs runs passed"
[ "$passed" -eq "$runs" ]
