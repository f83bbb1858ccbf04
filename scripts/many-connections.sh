#!/usr/bin/env bash
# What it measures: what a connection costs that is open and silent. reuseport-processes holds so many connections at
# once, each of them answers once more when all are open, and then the memory of the server and of the kernel is read.
# The limits of this machine are computed first. If they allow fewer connections, the smallest of them is named.
# Usage: scripts/many-connections.sh [CONNECTIONS]    default: 500000
# Environment: KEEP_FREE_GIB (memory that stays free, default 4)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "scripts/many-connections.sh: $*" >&2; exit "${code:-1}"; }
number() { sed -E ':a; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; ta' <<<"$1"; }
field() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
setting() { cat "/proc/sys/$1" 2>/dev/null || true; }

asked=${1:-500000}
[[ $# -le 1 && $asked =~ ^[1-9][0-9]{0,7}$ ]] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
command -v jq >/dev/null || code=2 fail "jq is missing: install the package jq"
cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models

# What the kernel needs for both ends of a connection, and the generator for its own, rounded up.
bytes_each=$((12 * 1024))
keep_free=${KEEP_FREE_GIB:-4}
descriptors=$(ulimit -Hn)
[ "$descriptors" != unlimited ] || descriptors=$(setting fs/nr_open)
read -r first_port last_port <<<"$(setting net/ipv4/ip_local_port_range)"
ports=$((last_port - first_port + 1))
# The kernel spreads connections by a hash: six standard deviations stay free, and what a process needs for itself.
each_worker=$(awk -v n="$((descriptors - 64))" 'BEGIN { print int(n - 6 * sqrt(n)) }')
# connect(2) looks through every second port before it tries the others, and that takes long when most of them are in use. So
# a source address gets connections for a third of its ports only.
sources=4 each_generator=$((descriptors - 64 < 4 * ports / 3 ? descriptors - 64 : 4 * ports / 3))
[ "$each_worker" -ge 100 ] || fail "only $descriptors descriptors are allowed for a process: raise \`ulimit -Hn\`"

scripts/env.sh
connections=$asked limiter="what was asked for"
limit() { # a limit on connections: its name, and how it is computed
  echo "limit: $(number "$2") connections by $1"
  [ "$2" -ge "$connections" ] || { connections=$2 limiter=$1; }
}
read -r files _ most_files <<<"$(setting fs/file-nr)"
limit "fs.file-max: $(number "$((most_files - files))") more files, two for each connection" $(((most_files - files) / 2))
watches=$(setting fs/epoll/max_user_watches)
[ -z "$watches" ] || limit "fs.epoll.max_user_watches: $(number "$watches"), two for each connection" $((watches / 2))
tracked=$(setting net/netfilter/nf_conntrack_count)
if [ "${tracked:-0}" -gt 0 ]; then # With 0 nothing is tracked here, not even this login.
  most_tracked=$(setting net/netfilter/nf_conntrack_max)
  limit "net.netfilter.nf_conntrack_max: $(number "$most_tracked"), $(number "$tracked") taken" $((most_tracked - tracked))
fi
limit "ports: $(number "$ports") for each source address, of which each of 250 generators has $sources" $((250 * each_generator))
free=$(($(field MemAvailable) * 1024 - keep_free * 1024 * 1024 * 1024))
limit "memory: $(number $((free / 1024 / 1024))) MiB are available beyond $keep_free GiB, some $((bytes_each / 1024)) KiB for each connection" \
  $((free / bytes_each))
[ "$connections" -ge 100 ] || fail "this machine has no room for 100 connections: $limiter"
[ "$connections" -eq "$asked" ] ||
  echo "scripts/many-connections.sh: $(number "$connections") connections instead of $(number "$asked"), because of $limiter" >&2
workers=$(((connections + each_worker - 1) / each_worker))
generators=$(((connections + each_generator - 1) / each_generator))
echo "limit: $(number "$descriptors") descriptors for each process: $workers server processes, $generators generators"
read -r _ _ pages <<<"$(setting net/ipv4/tcp_mem)"
echo "limit: net.ipv4.tcp_mem: $(number "$pages") pages of buffers; a silent connection has none"
echo "connections: $(number "$connections"), limited by $limiter"

scratch=$(mktemp -d)
server=() pids=()
# shellcheck disable=SC2317 # The trap runs it.
clean_up() {
  for pid in "${pids[@]}" "${server[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}" "${server[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$program" serve reuseport-processes --workers "$workers" --json >"$scratch/server" &
server=($!)
is_alive() { kill -0 "$1" 2>/dev/null; }
of_server() { echo "${server[0]}"; tr ' ' '\n' <"/proc/${server[0]}/task/${server[0]}/children"; }
for ((tries = 0; tries < 300; tries++)); do
  [ "$(of_server | grep -c .)" -le "$workers" ] || break
  is_alive "${server[0]}" || fail "the server did not start"
  sleep 0.1
done
addr=$(sed -n '1s/^listening on //p' "$scratch/server")
[ -n "$addr" ] || fail "the server did not start"

written() { # the memory that these processes have written, together, in bytes: private pages, and with their part of shared ones
  local pid
  for pid in "$@"; do cat "/proc/$pid/smaps_rollup"; done |
    awk '/^Private_Dirty:/ { private += $2 } /^Pss_Anon:/ { pss += $2 } END { printf "%d %d\n", private * 1024, pss * 1024 }'
}
mapfile -t its < <(of_server)
read -r private_before pss_before < <(written "${its[@]}")
slab_before=$(field Slab)
began=${EPOCHREALTIME/./}
for ((i = 0; i < generators; i++)); do
  mkfifo "$scratch/orders-$i"
  : >"$scratch/answers-$i"
  # It follows orders as the generators of `compare` do: open now, then a request on each connection when told.
  "$program" load --follow-orders <"$scratch/orders-$i" >"$scratch/answers-$i" &
  pids+=($!)
done
# Not before: a generator would inherit the writing ends of the others.
orders=()
for ((i = 0; i < generators; i++)); do
  exec {fd}>"$scratch/orders-$i"
  orders+=("$fd")
  n=$((connections * (i + 1) / generators - connections * i / generators))
  jq -nc --arg target "$addr" --argjson active "$n" --arg of "127.1.$i." --argjson sources "$sources" \
    '{engine: "epoll", plan: {$target, $active, idle: 0, sizes: {fixed: 64}, payload: "random", expect: "echo", seed: 1,
      patience: {secs: 60, nanos: 0}, depth: 1, requests_per_conn: null,
      sources: [range(1; $sources + 1) | "\($of)\(.)"], wait: "sleep"}}' >&"$fd"
done
answered() { # the answer number N of generator I, when it has come
  local answer
  until answer=$(sed -n "$2p" "$scratch/answers-$1") && [ -n "$answer" ]; do
    is_alive "${pids[$1]}" || fail "generator $1 ended early, see above"
    sleep 0.05
  done
  echo "$answer"
}
for ((i = 0; i < generators; i++)); do
  jq -e '.lost == 0' <<<"$(answered "$i" 1)" >/dev/null || fail "a connection was lost: $(answered "$i" 1)"
done
now=${EPOCHREALTIME/./}
echo "opened: $(number "$connections") connections in $(((now - began) / 1000000)) s, $(number "$((connections * 1000000 / (now - began)))") a second, each answered once"

# A generator at a time: so the requests under way have room in the memory for TCP.
began=${EPOCHREALTIME/./} echoed=0
for ((i = 0; i < generators; i++)); do
  n=$((connections * (i + 1) / generators - connections * i / generators))
  printf '%s\n"sum"\n' '{"slice":{"warmup_us":0,"slice_us":1,"rate_per_s":null,"counts":true}}' >&"${orders[$i]}"
  slice=$(answered "$i" 2) sum=$(answered "$i" 3)
  jq -e ".answered_in_all >= $n and .lost == 0" <<<"$slice" >/dev/null || fail "not every connection answered: $slice $sum"
  jq -e '.wrong_bytes == 0 and .lost == 0' <<<"$sum" >/dev/null || fail "wrong bytes or lost connections: $sum"
  echoed=$((echoed + n))
done
now=${EPOCHREALTIME/./}
echo "echoed: each of $(number "$echoed") connections at least once more, every byte right, in $(((now - began) / 1000000)) s"

mapfile -t its < <(of_server)
read -r private_after pss_after < <(written "${its[@]}")
read -r generators_private _ < <(written "${pids[@]}")
slab_after=$(field Slab)
read -r tcp pages < <(awk '$1 == "TCP:" { print $3, $11 }' /proc/net/sockstat)
echo "sockets: $(number "$tcp") of TCP in use, $(number "$pages") pages of buffers"
each() { awk -v bytes="$1" -v n="$connections" 'BEGIN { printf "%.1f", bytes / n }'; }
echo "server: $(each $((private_after - private_before))) bytes of private memory for each connection (Pss_Anon: $(each $((pss_after - pss_before)))), beside $(number $((pss_before / 1024))) KiB of all $((workers + 1)) processes without clients"
echo "generators: $(each "$generators_private") bytes of private memory for each connection"
echo "kernel: $(each $(((slab_after - slab_before) * 1024))) bytes of slab for each connection: the sockets of the server and those of the generators"
echo "memory: $(number $(($(field MemAvailable) / 1024))) MiB are still available"

# In order, again one at a time.
for ((i = 0; i < generators; i++)); do
  fd=${orders[$i]}
  exec {fd}>&-
  wait "${pids[$i]}" || fail "generator $i: the connections did not end in order"
done
pids=()
kill "${server[0]}"
wait "${server[0]}" || fail "the server failed, see above"
server=()
tail -n +2 "$scratch/server" | jq -r '"end: the server had \(.connections) connections, \(.requests) requests, accepting paused \(.times_full) times"'
served=$(tail -n +2 "$scratch/server" | jq .connections)
[ "$served" -eq "$connections" ] || fail "the server had $served connections, and not $connections"
