#!/usr/bin/env bash
# What it shows: that scripts/load.sbatch runs. A Slurm cluster of this machine alone, with munge, a controller and a node
# in network and process namespaces of their own and all files in a temporary folder, runs it against a server of ours.
# Usage: scripts/slurm-here.sh [GENERATORS]    default: 3; as root, or where sudo works
# It needs the Debian packages slurm-wlm and munge.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "scripts/slurm-here.sh: $*" >&2; exit 2; }

generators=${1:-3}
[[ $# -le 1 && $generators =~ ^[1-9][0-9]?$ ]] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
for tool in ip mount unshare munged slurmctld slurmd sbatch scontrol; do
  command -v "$tool" >/dev/null || fail "$tool is missing: install the packages iproute2, util-linux, slurm-wlm and munge"
done

if [ -z "${SLURM_HERE_INSIDE:-}" ]; then
  cargo build --release --quiet --bin io-models
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  own=(unshare --net --uts --mount --pid --fork --kill-child --mount-proc)
  why=$("${as_root[@]}" "${own[@]}" true 2>&1) ||
    fail "this needs root and the right to make namespaces (${why//$'\n'/ }): run it as root, and in a container with --privileged"
  folder=$(mktemp -d)
  # All that runs in the process namespace ends with its first process.
  # shellcheck disable=SC2317 # The trap runs it.
  clean_up() {
    { "${as_root[@]}" kill -KILL "$inside" && wait "$inside"; } 2>/dev/null || true
    "${as_root[@]}" rm -rf "$folder"
  }
  trap 'exit 130' INT
  trap 'exit 143' TERM
  "${as_root[@]}" env SLURM_HERE_INSIDE="$folder" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-}" \
    "${own[@]}" "$PWD/scripts/slurm-here.sh" "$generators" &
  inside=$!
  trap clean_up EXIT
  wait "$inside"
  exit
fi

folder=$SLURM_HERE_INSIDE
program=$(realpath "${CARGO_TARGET_DIR:-target}/release/io-models")
batch=$PWD/scripts/load.sbatch
export PATH=${program%/*}:$PATH SLURM_CONF=$folder/slurm.conf
cd "$folder"
# Slurm asks for the name of the machine and for its address. With 127.0.0.1 alone getaddrinfo(3) finds none, because Slurm
# asks it for addresses of the families that are configured (AI_ADDRCONFIG), and loopback does not count.
address=10.77.1.1
ip link set lo up
ip addr add "$address/24" dev lo
echo here >/proc/sys/kernel/hostname
echo "$address here" >hosts
mount --bind hosts /etc/hosts
mkdir state spool submit

# Say what a program has written when it has not done what it should.
gives_up() { cat "$folder"/*.log >&2; fail "$1"; }
# Wait for that to succeed, ten seconds at most.
await() {
  local what=$1 tries
  shift
  for ((tries = 0; tries < 100; tries++)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  gives_up "$what"
}

(umask 077 && head -c 1024 /dev/urandom >munge.key)
munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munge.pid" \
  --seed-file="$folder/munge.seed" 2>munged.log &
await "munged did not start" test -S munge.socket

cat >slurm.conf <<END
ClusterName=here
SlurmctldHost=here($address)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=here NodeAddr=$address CPUs=$generators
PartitionName=all Nodes=ALL Default=YES State=UP
END
slurmctld -D >slurmctld.log 2>&1 &
slurmd -D -N here >slurmd.log 2>&1 &
is_idle() { [[ $(sinfo --noheader --format %T) == idle ]]; }
await "the node did not become idle" is_idle

addr=$address:5005
exec {lines}< <("$program" serve epoll-level --listen "$addr")
line=nothing
read -r -t 10 line <&"$lines" || true
[[ $line == "listening on "* ]] || gives_up "the server said $line"
cd submit
# One node, and so all tasks on it.
sbatch --wait --nodes=1 --ntasks-per-node="$generators" --output=output "$batch" "$addr" -R 500 -c 8 -d 2s --wait sleep ||
  { cat output >&2; gives_up "the job failed"; }
cat output
