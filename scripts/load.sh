#!/usr/bin/env bash
# What it measures: one server under a closed loop of more and more connections: rate, latency, and
# whether the generator was the limit. The server is a model, or anything that echoes at ADDR:PORT. The
# output is CSV, with the environment as comments.
# Usage: scripts/load.sh MODEL|ADDR:PORT [CONNECTIONS...]    default: 1 4 16 64 256 1024
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
command -v jq >/dev/null || { echo "scripts/load.sh needs jq: install the package jq" >&2; exit 2; }
server=$1
shift
counts=("$@")
[ ${#counts[@]} -gt 0 ] || counts=(1 4 16 64 256 1024)
cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models

# Server and generator on processors of their own, where there are two.
mapfile -t cpus < <(grep Cpus_allowed_list /proc/self/status | cut -f2 | tr ',' '\n' |
  while IFS=- read -r from to; do seq "$from" "${to:-$from}"; done)
on_server=() on_generator=()
if [ ${#cpus[@]} -gt 1 ] && command -v taskset >/dev/null; then
  on_server=(taskset -c "${cpus[0]}")
  on_generator=(taskset -c "${cpus[1]}")
fi

target=$server
if [[ $server != *:* ]]; then
  exec {lines}< <(exec "${on_server[@]}" "$program" serve "$server")
  pid=$!
  trap 'kill "$pid" 2>/dev/null || true' EXIT
  read -r -t 10 line <&"$lines" || { echo "scripts/load.sh: the server $server did not start" >&2; exit 1; }
  target=${line#listening on }
fi

scripts/env.sh
echo "# server: $server; ${DURATION:-2s} a line"
echo "connections,requests_per_s,p50_us,p90_us,p99_us,p99_9_us,max_us,least_per_connection,most_per_connection,generator_busy_share,generator_was_the_limit,wrong_bytes,lost_connections"
for n in "${counts[@]}"; do
  "${on_generator[@]}" "$program" load "$target" -c "$n" -d "${DURATION:-2s}" --quiet --json |
    jq -r '[.connections, .achieved_per_s, .latency_us.service.p50, .latency_us.service.p90,
      .latency_us.service.p99, .latency_us.service.p99_9, .latency_us.service.max,
      .least_per_connection, .most_per_connection, .generator_busy_share,
      .generator_was_the_limit, .wrong_bytes, .lost_connections] | @csv' || failed=1
done
exit "${failed:-0}"
