#!/usr/bin/env bash
# What it measures: what silent connections cost select, poll and epoll. The same 64 connections ask,
# beside more and more that say nothing; `io-models compare` measures all models in turns, so that the
# ratios of one line hold on a noisy machine. The output is CSV, with the environment as comments.
# Usage: scripts/compare.sh [MODELS] [IDLE...]    default: select,poll,epoll-level,epoll-edge 0 100 ... 9000
set -euo pipefail
cd "$(dirname "$0")/.."

command -v jq >/dev/null || { echo "scripts/compare.sh needs jq: install the package jq" >&2; exit 2; }
models=${1:-select,poll,epoll-level,epoll-edge}
shift || true
counts=("$@")
[ ${#counts[@]} -gt 0 ] || counts=(0 100 300 900 3000 9000)

cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models
scripts/env.sh
echo "# models: $models; slices: ${SLICES:-30} of ${SLICE_MS:-40} ms"
echo "idle,model,control,status,requests_per_s,ratio,ratio_low,ratio_high,server_cpu_us_per_request,cpu_ratio,cpu_ratio_low,cpu_ratio_high,p50_us,p99_us,calls_per_request,peak_rss_bytes,generator_busy_share"
for idle in "${counts[@]}"; do
  "$program" compare --quiet --json --models "$models" --workloads idle --idle "$idle" \
    --slices "${SLICES:-30}" --slice "${SLICE_MS:-40}ms" |
    jq -r '.rows[] | [.idle, .model, .control, .status, .requests_per_s.median,
      .ratio.median, .ratio.low, .ratio.high, .server_cpu_us_per_request,
      .cpu_ratio.median, .cpu_ratio.low, .cpu_ratio.high, .latency_us.p50, .latency_us.p99,
      .syscalls_per_request.total, .peak_rss_bytes, .generator_busy_share] | @csv'
done
