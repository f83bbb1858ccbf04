#!/usr/bin/env bash
# What it measures: what one recv and one send cost; and every model and peer (benches/peers) beside epoll-level, over
# clients, silent connections, sizes, depths, churn and workers. It keeps the figures in docs/results/performance.json, and writes the
# tables of docs/performance.md and docs/compare.md from them. Some 20 minutes, on a machine that does nothing else.
# Usage: scripts/performance.sh           measure, and draw
#        scripts/performance.sh --draw    draw again what was measured
# Environment: STARTS of each server (5), LOADS, such as "single ping": only these and the workers, printed and not kept
set -euo pipefail
cd "$(dirname "$0")/.."

measure=true
[ "${1:-}" != --draw ] || { measure=false; shift; }
keep=true
if $measure && [ -n "${LOADS:-}" ]; then keep=false; fi
starts=${STARTS:-5} result=docs/results/performance.json
[[ $# -eq 0 && $starts =~ ^[0-9]+$ && $starts -ge 2 ]] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
command -v jq >/dev/null || { echo "scripts/performance.sh: jq is missing: install the package jq" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
$keep || result=$scratch/kept

# Each is a group of its own in the result.
plan='
[[workload]]
name = "single"
connections = 1
[[workload]]
name = "ping"
connections = 64
[[workload]]
name = "idle"
connections = 64
idle = [100, 900]
[[workload]]
name = "many"
connections = 64
idle = 9000
[[workload]]
name = "size"
connections = 64
size = [4096, 65536]
[[workload]]
name = "depth"
connections = 64
depth = [4, 16]
[[workload]]
name = "churn"
connections = 64
requests_per_connection = [1, 100]
slice_ms = 100
'

# `run NAME ARGUMENTS...`: a comparison, and before it the floor, so that both met the same machine.
run() {
  local name=$1 status=0
  shift
  # What fails early would leave the result of the load before.
  rm -f "$scratch/raw"
  "${pinned[@]}" "$floor" >>"$scratch/floor"
  io-models compare --quiet --starts "$starts" --json --output "$scratch/raw" "$@" || status=$?
  if [ $status -gt 1 ] || [ ! -s "$scratch/raw" ] || ! jq -e '.partial | not' "$scratch/raw" >/dev/null; then
    echo "scripts/performance.sh: $name was not measured (exit code $status)" >&2
    exit 1
  fi
  jq -c -L scripts --arg name "$name" 'include "draw";
    { seconds, environment: (.environment | del(.command)), foreign: [.entrants[] | select(.foreign) | .name],
      groups: [.groups[] | select(.common | not)
        | { id: (if $name == "many" then "idle@\(.load.idle)" else [$name, (.point // empty)] | join("@") end),
            load, slice_ms, machine, rows: (.rows | map(short)) }] }' "$scratch/raw" >"$scratch/part"
  if [ "$name" = workers ]; then
    jq -c --argjson n "$workers" '.groups[] |= . + { id: "workers@\($n)", workers: $n }' "$scratch/part" >>"$scratch/parts"
  else
    cat "$scratch/part" >>"$scratch/parts"
  fi
  jq -r --arg name "$name" --arg minutes "$((SECONDS / 60))" \
    '"\($name): \(.groups | map(.rows | length) | add) rows, \([.groups[].rows[] | select(.cpu_us)] | length) measured (\(.seconds | round) s; minute \($minutes))"' \
    "$scratch/part"
}

if $measure; then
  cargo build --release --quiet --locked --bin io-models --example kernel_floor
  target=$(realpath "${CARGO_TARGET_DIR:-target}/release")
  PATH=$target:$PATH floor=$target/examples/kernel_floor
  benches/peers/build.sh >"$scratch/peers" 2> >(tee "$scratch/missing" >&2)
  servers=()
  while read -r name command; do servers+=(--server "$name=$command"); done <"$scratch/peers"
  printf '%s' "$plan" >"$scratch/plan.toml"
  # The floor is measured where the servers are: on the first processor.
  pinned=()
  ! command -v taskset >/dev/null ||
    pinned=(taskset -c "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)")
  SECONDS=0
  models=$(io-models models --json | jq -r '[.models[] | select(.available) | .name] | join(",")')
  # One client a worker or a process is for fewer clients than 9000.
  for_many=$(io-models models --json | jq -r '[.models[] | select(.available and .most_clients == null and
    (.clients | startswith("as many clients as descriptors"))) | .name] | join(",")')
  in_workers=$(io-models models --json | jq -r '[.models[] | select(.available and (.name | test("^(epoll-(oneshot|exclusive|herd)|.*reuseport.*)$")))
    | .name] | join(",")')
  for name in ${LOADS:-single ping idle many size depth churn}; do
    of=$models
    [ "$name" != many ] || of=$for_many
    run "$name" --plan "$scratch/plan.toml" --workloads "$name" --models "$of" "${servers[@]}"
  done
  for workers in 1 2 4; do
    run workers --plan "$scratch/plan.toml" --workloads ping --models "$in_workers" --workers "$workers"
  done
  jq -n --slurpfile parts "$scratch/parts" --slurpfile floor "$scratch/floor" --argjson starts "$starts" --argjson seconds "$SECONDS" \
    --rawfile missing "$scratch/missing" '
    { environment: $parts[0].environment, starts: $starts, seconds: $seconds,
      missing: ($missing | split("\n") | map(select(startswith("benches/peers: ")) | ltrimstr("benches/peers: ") | sub(" is not built: "; ": "))),
      floor: $floor, foreign: $parts[0].foreign, groups: [$parts[].groups[]] }' >"$scratch/result"
  # A row a line: the file is kept, and its changes are read.
  {
    jq -r 'del(.groups) | tojson | .[:-1] + ","' "$scratch/result"
    jq -r '"\"groups\": [", ([.groups[] | (del(.rows) | tojson | .[:-1]) + ", \"rows\": [\n" + ([.rows[] | tojson] | join(",\n")) + "]}"] | join(",\n")), "]}"' \
      "$scratch/result"
  } >"$scratch/rows"
  mkdir -p "$(dirname "$result")"
  cat "$scratch/rows" >"$result"
fi

[ -s "$result" ] || { echo "scripts/performance.sh: $result is missing: measure first" >&2; exit 1; }
# `draw FILTER MARK PAGE`: what performance.jq makes of the result, into the page once it is drawn completely.
draw() {
  jq -r -L scripts "include \"performance\"; $1" "$result" >"$scratch/table"
  if $keep; then scripts/put.sh "$2" "$3" <"$scratch/table"; else printf '\n%s:\n' "$2" | cat - "$scratch/table"; fi
}
page=docs/performance.md
draw floor_words floor $page
for part in clients sizes churn workers growth flips causes; do draw "$part" "$part" $page; done
draw where_measured where $page
draw peers peers docs/compare.md
