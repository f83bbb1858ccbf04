#!/usr/bin/env bash
# What it measures: one server under load from several hosts at once, started by GNU parallel over ssh at a common time,
# and added up by `io-models merge`. The hosts are network namespaces on this machine, joined by a bridge, each with an
# sshd of its own: a worked example of load from many machines. Keys, accounts and results are in a temporary folder, and
# mounts and interfaces in namespaces of the script's own, so that nothing of it stays, nor if it is interrupted.
# Usage: scripts/many-hosts.sh [GENERATORS]    default: 3; as root, or where sudo works
# Environment: RATE (of each generator, default 1000), CONNECTIONS (of each, 16), DURATION (3s), MODEL (epoll-level)
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "scripts/many-hosts.sh: $*" >&2; exit 2; }

generators=${1:-3}
[[ $# -le 1 && $generators =~ ^[1-9][0-9]{0,2}$ && $generators -le 200 ]] ||
  { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
for tool in ip unshare mount sshd ssh ssh-keygen scp parallel; do
  command -v "$tool" >/dev/null ||
    fail "$tool is missing: install the packages iproute2, util-linux, openssh-server, openssh-client and parallel"
done
[[ $(parallel --version 2>&1) == GNU* ]] || fail "parallel is another program than GNU parallel: install the package parallel"

if [ -z "${MANY_HOSTS_INSIDE:-}" ]; then
  # Built out here, where the network is, and by the user whose folder it is.
  cargo build --release --quiet --bin io-models
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  why=$("${as_root[@]}" unshare --net --mount true 2>&1) ||
    fail "this needs root and the right to make namespaces (${why//$'\n'/ }): run it as root, and in a container with --privileged"
  exec "${as_root[@]}" env MANY_HOSTS_INSIDE=1 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-}" RATE="${RATE:-}" \
    CONNECTIONS="${CONNECTIONS:-}" DURATION="${DURATION:-}" MODEL="${MODEL:-}" \
    unshare --net --mount "$PWD/scripts/many-hosts.sh" "$generators"
fi

program=$(realpath "${CARGO_TARGET_DIR:-target}/release/io-models")
folder=$(mktemp -d)
hosts=() jobs=()
# shellcheck disable=SC2317 # The trap runs it.
clean_up() {
  trap '' INT TERM
  # The generators first: they would call a server that goes a lost one. At SIGINT parallel ends what it has started.
  for pid in "${jobs[@]}"; do { kill -INT "$pid" && wait "$pid"; } 2>/dev/null || true; done
  for host in "${hosts[@]}" server; do
    for pid in $(ip netns pids "$host" 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
    ip netns delete "$host" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# In the namespace of its own: /run and /etc of the machine are not touched.
mount -t tmpfs hosts /run || fail "cannot mount a tmpfs in a namespace of its own: in a container it needs --privileged"
export HOME=$folder/home
mkdir -p "$HOME/.ssh" "$folder/results" /run/sshd
# sshd asks for the account and its home, and refuses one that is locked.
printf '%s\n' "root:x:0:0::$HOME:/bin/sh" 'sshd:x:101:65534::/run/sshd:/usr/sbin/nologin' >"$folder/passwd"
printf '%s\n' 'root:*:1::::::' 'sshd:*:1::::::' >"$folder/shadow"
for file in passwd shadow; do mount --bind "$folder/$file" "/etc/$file"; done

why=$(ip link add name lan type bridge 2>&1) || fail "cannot make a bridge ($why): is the kernel module there?"
ip addr add 10.77.0.254/24 dev lan
ip link set lan up

host() { # a machine: its name, and the last number of its address
  ip netns add "$1"
  ip link add "to-$1" type veth peer name eth0 netns "$1"
  ip link set "to-$1" master lan up
  ip -n "$1" addr add "10.77.0.$2/24" dev eth0
  ip -n "$1" link set eth0 up
  ip -n "$1" link set lo up
}

key() { ssh-keygen -q -t ed25519 -N '' -C "$(basename "$1")" -f "$1"; }
key "$HOME/.ssh/id_ed25519"
cat >"$folder/sshd_config" <<END
AuthorizedKeysFile $HOME/.ssh/id_ed25519.pub
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
# The folder is below /tmp, which others can write to.
StrictModes no
Subsystem sftp internal-sftp
UsePAM no
END
printf '%s\n' 'BatchMode yes' 'HostKeyAlgorithms ssh-ed25519' "IdentityFile $HOME/.ssh/id_ed25519" \
  "UserKnownHostsFile $folder/known_hosts" >"$folder/ssh_config"

sshd_on() { # a sshd of its own on that host, which has the address
  key "$folder/$1"
  echo "$2 $(cut -d' ' -f1,2 "$folder/$1.pub")" >>"$folder/known_hosts"
  printf 'Host %s\n  HostName %s\n' "$1" "$2" >>"$folder/ssh_config"
  exec {words}< <(exec ip netns exec "$1" "$(command -v sshd)" -D -e -f "$folder/sshd_config" -h "$folder/$1" -o "ListenAddress=$2" 2>&1)
  local line=nothing
  read -r -t 10 line <&"$words" || true
  [[ $line == "Server listening on "* ]] || fail "the sshd of $1 said $line"
}

host server 1
for ((i = 1; i <= generators; i++)); do
  hosts+=("host-$i")
  host "host-$i" $((i + 1))
  sshd_on "host-$i" "10.77.0.$((i + 1))"
done

addr=10.77.0.1:5005
exec {lines}< <(exec ip netns exec server "$program" serve "${MODEL:-epoll-level}" --listen "$addr")
read -r -t 10 line <&"$lines" || fail "the server did not start"
[[ $line == "listening on "* ]] || fail "the server said $line"

# What follows is what one would do with real machines.
cd "$folder/results"
ssh="ssh -F $folder/ssh_config"
at=$(($(date +%s) + 5))
load="$program load $addr -R ${RATE:-1000} -c ${CONNECTIONS:-16} -d ${DURATION:-3s} --wait sleep --start-at $at --quiet"
# With another seed on each, because requests at random times (--arrivals poisson) would otherwise come at the same times.
failed=0
parallel --will-cite -j0 "$ssh {} $load --seed {#} --hlog {}.hlog --json > {}.json" ::: "${hosts[@]}" &
jobs=($!)
wait $! || failed=1
jobs=()
[ "$failed" -eq 0 ] || echo "scripts/many-hosts.sh: a generator failed, see above" >&2
parallel --will-cite -j0 "scp -q -F $folder/ssh_config {}:{}.hlog ." ::: "${hosts[@]}" || failed=1

for form in json hlog; do
  echo "\$ io-models merge ${hosts[*]/%/.$form}"
  "$program" merge "${hosts[@]/%/.$form}" || failed=1
done
exit "$failed"
