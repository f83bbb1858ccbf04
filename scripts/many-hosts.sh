#!/usr/bin/env bash
# What it measures: one server under load from several hosts at once, added up by `io-models merge`. The hosts are
# network namespaces on this machine, joined by a bridge, in a namespace that goes away with the script: a worked
# example of load from many machines, and of what is the same on real ones.
# Usage: scripts/many-hosts.sh [GENERATORS]    default: 3; as root, or where users may make namespaces
# Environment: RATE (of each generator, default 1000), CONNECTIONS (of each, 16), DURATION (3s), MODEL (epoll-level)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "scripts/many-hosts.sh: $*" >&2; exit 2; }

generators=${1:-3}
[[ $# -le 1 && $generators =~ ^[1-9][0-9]{0,2}$ && $generators -le 200 ]] ||
  { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
for tool in ip unshare mount; do
  command -v "$tool" >/dev/null || fail "$tool is missing: install the packages iproute2 and util-linux"
done

if [ -z "${MANY_HOSTS_INSIDE:-}" ]; then
  # Built out here, where the network is.
  cargo build --release --quiet --bin io-models
  own=(--net --mount)
  [ "$(id -u)" -eq 0 ] || own=(--user --map-root-user "${own[@]}")
  why=$(unshare "${own[@]}" true 2>&1) ||
    fail "no right to make namespaces (${why//$'\n'/ }): run it as root, or allow users to: sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0"
  MANY_HOSTS_INSIDE=1 exec unshare "${own[@]}" "$PWD/scripts/many-hosts.sh" "$generators"
fi

program=${CARGO_TARGET_DIR:-target}/release/io-models
results=$(mktemp -d)
server=() loads=()
# shellcheck disable=SC2015,SC2317 # Whatever fails; and the trap runs it.
clean_up() {
  # The generators first: they would call a server that goes a lost one.
  for pid in "${loads[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" || true; done
  for pid in "${server[@]}"; do kill "$pid" 2>/dev/null || true; done
  for host in $(ip netns list 2>/dev/null | cut -d' ' -f1); do ip netns delete "$host" || true; done
  rm -rf "$results"
}
# Only in the namespace of its own: /run of the machine is not touched.
mount -t tmpfs hosts /run 2>/dev/null || fail "cannot mount a tmpfs in a namespace of its own: run it as root"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

why=$(ip link add name lan type bridge 2>&1) || fail "cannot make a bridge ($why): is the kernel module there?"
ip link set lan up

host() { # a machine: its name, and the last number of its address
  ip netns add "$1"
  ip link add "to-$1" type veth peer name eth0 netns "$1"
  ip link set "to-$1" master lan up
  ip -n "$1" addr add "10.77.0.$2/24" dev eth0
  ip -n "$1" link set eth0 up
  ip -n "$1" link set lo up
}
host server 1
for ((i = 1; i <= generators; i++)); do host "host-$i" $((i + 1)); done

addr=10.77.0.1:5005
# `ip netns exec` becomes the program, and its process number is the program's.
exec {lines}< <(exec ip netns exec server "$program" serve "${MODEL:-epoll-level}" --listen "$addr")
server=($!)
read -r -t 10 line <&"$lines" || fail "the server did not start"
[[ $line == "listening on "* ]] || fail "the server said $line"

for ((i = 1; i <= generators; i++)); do
  ip netns exec "host-$i" "$program" load "$addr" -R "${RATE:-1000}" -c "${CONNECTIONS:-16}" \
    -d "${DURATION:-3s}" --wait sleep --quiet --hlog "$results/host-$i.hlog" --json -o "$results/host-$i.json" &
  loads+=($!)
done
failed=0
for pid in "${loads[@]}"; do wait "$pid" || failed=1; done
[ "$failed" -eq 0 ] || echo "scripts/many-hosts.sh: a generator failed, see above" >&2

cd "$results"
[[ $program == /* ]] || program=$OLDPWD/$program
files=()
for ((i = 1; i <= generators; i++)); do files+=("host-$i.json"); done
echo "\$ io-models merge ${files[*]}"
"$program" merge "${files[@]}" || failed=1
echo "\$ io-models merge ${files[*]//.json/.hlog}"
"$program" merge "${files[@]//.json/.hlog}" || failed=1
exit "$failed"
