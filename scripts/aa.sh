#!/usr/bin/env bash
# Whether the verdicts of `io-models compare` can be trusted. It runs comparisons of which the right verdict is known: the baseline
# against itself, a server that is the baseline without being counted, and servers that waste a known time on each request, 2 % and
# 5 % of the CPU time that one costs. Then it says how often the verdict was right.
# Usage: scripts/aa.sh [RUNS]    default: 10
# Environment: WORKLOADS (default ping,single), PRECISION (such as 1%: go on until the intervals are that narrow)
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-10}
[[ $# -le 1 && $runs =~ ^[1-9][0-9]{0,3}$ ]] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
command -v jq >/dev/null || { echo "scripts/aa.sh: jq is missing: install the package jq" >&2; exit 2; }
cargo build --release --quiet --locked --bin io-models --example slowed_echo
target=${CARGO_TARGET_DIR:-target}/release
program=$target/io-models slowed=$(realpath "$target/examples/slowed_echo")
workloads=${WORKLOADS:-ping,single}
precise=()
[ -z "${PRECISION:-}" ] || precise=(--precision "$PRECISION")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
scripts/env.sh
echo "# $runs runs of $workloads${PRECISION:+, with --precision $PRECISION}"

failed=0
for workload in ${workloads//,/ }; do
  results=()
  # What a request costs here, in nanoseconds.
  cost=$("$program" compare --quiet --json --models epoll-level --workloads "$workload" |
    jq '[.groups[].rows[] | select(.baseline) | .figures.cpu_us_per_request.median * 1000] | first')
  two=$(jq -n "$cost * 0.02 | round") five=$(jq -n "$cost * 0.05 | round")
  echo "$workload: a request costs $(jq -n "$cost | round") ns; wasted: $two and $five ns"
  for ((run = 1; run <= runs; run++)); do
    status=0
    "$program" compare --quiet --json --models epoll-level --workloads "$workload" --seed "$run" "${precise[@]}" \
      --server "same=exec '$slowed' {port} 0" --server "two=exec '$slowed' {port} $two" \
      --server "five=exec '$slowed' {port} $five" >"$scratch/$workload-$run.json" || status=$?
    # Ctrl-C, or another signal.
    [ $status -lt 128 ] || exit $status
    if [ $status -eq 0 ]; then
      results+=("$scratch/$workload-$run.json")
    else
      echo "$workload: run $run failed (exit code $status)" >&2
      failed=$((failed + 1))
    fi
  done
  [ ${#results[@]} -gt 0 ] || continue
  jq -rs --arg workload "$workload" '
    def rows(name): [.[].groups[].rows[] | select(if name == "A/A" then .control else .entrant == name end) | .figures];
    def times(name; figure; verdict): [rows(name)[] | .[figure] | select(.verdict == verdict)] | length;
    # The rate is not judged where the generator was the limit.
    def middle(name; figure): [rows(name)[] | .[figure].ratio | values] | sort
      | if length == 0 then "not judged" else .[length / 2 | floor] * 1000 | round / 1000 end;
    def judged(name): [rows(name)[] | .rate | values] | length;
    def covers(name): [rows(name)[] | .cpu | select(.low <= 1 and .high >= 1)] | length;
    def width: [rows("two")[] | .cpu | (.high / .ratio - 1) * 100] | sort | .[length / 2 | floor] * 100 | round / 100;
    def starts: [rows("two")[] | .starts] | sort | .[length / 2 | floor];
    length as $n |
    "\($workload): A/A: no difference shown in rate \(times("A/A"; "rate"; "no_difference_shown")) of \(judged("A/A")), in CPU \(times("A/A"; "cpu"; "no_difference_shown")) of \($n), where the interval covers 1 in \(covers("A/A")); median CPU ratio \(middle("A/A"; "cpu")), of the rate \(middle("A/A"; "rate"))",
    "\($workload): without being counted: median CPU ratio \(middle("same"; "cpu")), of the rate \(middle("same"; "rate"))",
    "\($workload): wastes 2 %: more CPU in \(times("two"; "cpu"; "worse")) of \($n), slower in \(times("two"; "rate"; "worse")) of \(judged("two")); median CPU ratio \(middle("two"; "cpu"))",
    "\($workload): wastes 5 %: more CPU in \(times("five"; "cpu"; "worse")) of \($n), slower in \(times("five"; "rate"; "worse")) of \(judged("five")); median CPU ratio \(middle("five"; "cpu"))",
    "\($workload): the intervals of CPU are \(width) % wide on either side, after \(starts) starts (medians)"
  ' "${results[@]}"
done
[ $failed -eq 0 ] || { echo "scripts/aa.sh: $failed of the runs failed; the lines above do not count them" >&2; exit 1; }
