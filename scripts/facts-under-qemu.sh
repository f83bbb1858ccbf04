#!/usr/bin/env bash
# What it measures: where the system calls of QEMU's user emulation differ from those of the kernel beneath. Runs
# the facts here, then each through qemu, which implements the system calls of Linux by those of the host.
# Usage: scripts/facts-under-qemu.sh [FILE]       FILE: the profile [docs/facts/qemu-user.json]
# Output: the report, with what changed between the two.
set -euo pipefail
cd "$(dirname "$0")/.."

file=${1:-docs/facts/qemu-user.json}
qemu=qemu-$(uname -m)
command -v "$qemu" >/dev/null || { echo "$qemu is missing: apt-get install qemu-user" >&2; exit 2; }
"$qemu" --version | head -n 1
cargo build --release --quiet --bin io-models
# By its name alone: the profile records the command.
PATH=$(realpath "${CARGO_TARGET_DIR:-target}/release"):$PATH
here=$(mktemp)
trap 'rm -f "$here"' EXIT
io-models facts --quiet --json --output "$here" || [ $? -eq 3 ]
code=0
io-models facts --launcher "$qemu" --deadline 30s --json --output "$file" || code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
io-models facts --launcher "$qemu" --deadline 30s --baseline "$here" || [ $? -eq 3 ]
