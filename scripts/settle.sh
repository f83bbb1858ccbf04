#!/usr/bin/env bash
# What it measures: the CPU time per request of poll, select, fork, epoll (level and edge) and io_uring, over connections, active share,
# size of a request and depth; and from how many connections on another one of them needs less. It writes docs/select-or-epoll.md.
# Each load is kept as soon as it was measured: started again, it goes on where it was interrupted.
# Usage: scripts/settle.sh [DIR]           measure, and draw; DIR has the results, docs/results/settle by default
#        scripts/settle.sh --draw [DIR]    draw again what was measured
# Environment: STARTS of each load of the grid (5), MINUTES after which no measurement begins (55), TOTALS, the numbers of connections
set -euo pipefail
cd "$(dirname "$0")/.."

measure=true
[ "${1:-}" != --draw ] || { measure=false; shift; }
dir=${1:-docs/results/settle} starts=${STARTS:-5} minutes=${MINUTES:-55}
[[ $# -le 1 && $dir != -* && $starts =~ ^[0-9]+$ && $minutes =~ ^[0-9]+$ && $starts -ge 2 ]] ||
  { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
command -v jq >/dev/null || { echo "scripts/settle.sh: jq is missing: install the package jq" >&2; exit 2; }
read -ra totals <<<"${TOTALS:-1 10 100 300 950 3000 9000}"
plan=$dir/plan.toml points=$dir/points.jsonl environment=$dir/environment.json
page=docs/select-or-epoll.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A start of 9000 connections, one of 16 KiB and 16 requests on each, and so on: what takes too long or too much memory is left out.
most_bytes=$((64 << 20)) most_requests=16000
# Of processes for a client, and of descriptors in an fd_set.
most_of_few=1000

# `cell N ACTIVE SIZE DEPTH`: the load's name. It is added to the plan if it is not there.
cell() {
  local name=n$1-a$2-s$3-d$4 slice=20
  # Long enough for an answer on each connection.
  [ $(($2 * $4)) -le 1000 ] || slice=100
  grep -qs "^name = \"$name\"$" "$plan" || printf '%s\n' '[[workload]]' "name = \"$name\"" "connections = $2" "idle = $(($1 - $2))" \
    "size = $3" "depth = $4" "slice_ms = $slice" '' >>"$plan"
  echo "$name"
}

# `measure KIND N ACTIVE SIZE DEPTH STARTS MODELS`: a line for the points, and one for people.
measure() {
  local name status=0
  name=$(cell "$2" "$3" "$4" "$5")
  # What fails early would leave the result of the load before.
  rm -f "$scratch/result"
  io-models compare --quiet --plan "$plan" --workloads "$name" --models "$7" --starts "$6" --json --output "$scratch/result" || status=$?
  # A row that failed says why; anything else ends this.
  if [ $status -gt 1 ] || [ ! -s "$scratch/result" ] || ! jq -e '.partial | not' "$scratch/result" >/dev/null; then
    echo "scripts/settle.sh: $name was not measured (exit code $status)" >&2
    exit 1
  fi
  [ -s "$environment" ] || jq '.environment | del(.command)' "$scratch/result" >"$environment"
  jq -e --slurpfile kept "$environment" 'def where: [.kernel, .cpu_model, .cpus, .commit]; (.environment | where) == ($kept[0] | where)' \
    "$scratch/result" >/dev/null || {
    echo "scripts/settle.sh: $dir has results of another kernel, processor or commit: give another DIR" >&2
    exit 1
  }
  jq -c -L scripts --argjson grid "$([ "$1" = grid ] && echo true || echo false)" '
    include "draw";
    (.groups[] | select(.common | not)) as $group | $group.load
    | { n: (.active + .idle), active, size, depth, grid: $grid, starts: $ARGS.named.starts, seconds: $ARGS.named.seconds,
        foreign_cpus: $group.machine.foreign_cpus, stolen_cpus: $group.machine.stolen_cpus, rows: ($group.rows | map(short | del(.rate, .baseline, .generator_busy, .cpu.verdict))) }' \
    --argjson starts "$6" --argjson seconds "$(jq '.seconds * 10 | round / 10' "$scratch/result")" "$scratch/result" >"$scratch/point"
  cat "$scratch/point" >>"$points"
  jq -r -L scripts --arg name "$name" --arg of "$8" --arg minutes "$((SECONDS / 60))" '
    include "draw";
    "\($of) \($name): " + ([.rows[] | select(.entrant != "epoll-level") | "\(.entrant) \(.cpu | if . then estimate else "failed" end)"] | join(", "))
    + " (\(.seconds) s; minute \($minutes))"' "$scratch/point"
}

# `has N ACTIVE SIZE DEPTH`: whether the grid has it already.
has() {
  [ -s "$points" ] && jq -se --argjson at "[$1,$2,$3,$4]" 'any(.[]; .grid and [.n, .active, .size, .depth] == $at)' "$points" >/dev/null
}

# `draw FILTER`: what settle.jq makes of the points.
draw() {
  jq -sr -L scripts --slurpfile environment "$environment" "include \"settle\"; $1" "$points"
}

if $measure; then
  cargo build --release --quiet --locked --bin io-models
  PATH=$(realpath "${CARGO_TARGET_DIR:-target}/release"):$PATH
  mkdir -p "$dir"
  SECONDS=0
  # A few descriptors are not for connections.
  descriptors=$(ulimit -Hn)
  [ "$descriptors" != unlimited ] || descriptors=1000000
  grid=()
  for n in "${totals[@]}"; do
    if [ $((n + 100)) -gt "$descriptors" ]; then
      echo "$n connections are left out: the limit of descriptors is $descriptors"
      continue
    fi
    for share in 100 10 1; do
      active=$(((n * share + 50) / 100))
      [ "$active" -ge 1 ] || active=1
      for size in 64 16384; do
        for depth in 1 16; do
          # With few connections several shares are the same number.
          [[ " ${grid[*]-} " != *" $n,$active,$size,$depth "* ]] || continue
          [ $((active * size * depth)) -le $most_bytes ] || continue
          [ $((active * depth)) -le $most_requests ] || continue
          grid+=("$n,$active,$size,$depth")
        done
      done
    done
  done
  echo "${#grid[@]} loads in the grid, then the crossings; no measurement begins after $minutes minutes"
  for i in "${!grid[@]}"; do
    IFS=, read -r n active size depth <<<"${grid[$i]}"
    ! has "$n" "$active" "$size" "$depth" || continue
    if [ $((SECONDS / 60)) -ge "$minutes" ]; then
      echo "time is up before the end of the grid: start it again to go on" >&2
      exit 1
    fi
    models=poll,epoll-edge,uring
    [ "$n" -gt $most_of_few ] || models=select,fork,$models
    measure grid "$n" "$active" "$size" "$depth" "$starts" "$models" "[$((i + 1))/${#grid[@]}]"
  done
  while :; do
    # Not in the condition of the loop, where an error of jq would only end the loop.
    step=$(draw 'next_step | "\(.n) \(.active) \(.size) \(.depth) \(.starts) \(.servers)"')
    [ -n "$step" ] || break
    if [ $((SECONDS / 60)) -ge "$minutes" ]; then
      echo "time is up: some crossings are not narrowed further; start it again to go on" >&2
      break
    fi
    read -r n active size depth more models <<<"$step"
    measure crossing "$n" "$active" "$size" "$depth" "$more" "$models" "[crossing of $models]"
  done
fi

[ -s "$points" ] || { echo "scripts/settle.sh: $points is missing: measure first" >&2; exit 1; }
# `put FILTER MARK`: into the page, once it is drawn completely.
put() {
  draw "$1" >"$scratch/table"
  scripts/put.sh "$2" $page <"$scratch/table"
}
put verdicts verdicts
put by_connections connections
put by_active active
put cell_table cells
put where_measured where
