#!/usr/bin/env bash
# What it measures: nothing. It prints what a measurement depends on, one `name: value` a line, as
# comment lines for the head of a CSV file: kernel, processors, limits, sysctls, commit.
# Usage: scripts/env.sh
set -euo pipefail
cd "$(dirname "$0")/.."

value() { # a file's content on one line, or why there is none
  tr -s '[:space:]' ' ' 2>/dev/null <"$1" | sed 's/ $//' || printf 'not readable'
}

commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
changed=$(git status --porcelain 2>/dev/null | wc -l)
echo "# date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
echo "# commit: $commit, $changed files changed since"
echo "# kernel: $(uname -srm)"
echo "# cpu: $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | sed 's/^ *//' || true)"
echo "# cpus allowed: $(grep Cpus_allowed_list /proc/self/status | cut -f2)"
echo "# memory: $(grep MemTotal /proc/meminfo | tr -s ' ' | cut -d' ' -f2-)"
echo "# descriptors: $(ulimit -Sn) soft, $(ulimit -Hn) hard"
for name in net.core.somaxconn net.ipv4.ip_local_port_range net.ipv4.tcp_congestion_control \
  net.ipv4.tcp_rmem net.ipv4.tcp_wmem fs.file-max; do
  echo "# $name: $(value "/proc/sys/${name//.//}")"
done
for file in /sys/devices/system/cpu/vulnerabilities/*; do
  [ -r "$file" ] || continue
  state=$(value "$file")
  [[ $state == 'Not affected'* ]] || echo "# mitigation of ${file##*/}: $state"
done
