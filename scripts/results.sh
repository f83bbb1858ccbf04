#!/usr/bin/env bash
# What it measures: all models with one client, with 64 clients, and with 64 clients beside silent ones; and the designs of UNP
# chapter 30. The comparison is kept in docs/results/models.json, and everything else is drawn from that file: docs/results/models.md,
# docs/results/models.svg, and the tables in README.md and docs/models.md, also in Chinese under docs/zh. The table in docs/unp30.md is
# written as it is measured. So no number there was written by hand.
# Usage: scripts/results.sh           measure, and draw; on a machine that does nothing else
#        scripts/results.sh --draw    draw the comparison again, and measure nothing
set -euo pipefail
cd "$(dirname "$0")/.."

measure=true
[ "${1:-}" != --draw ] || { measure=false; shift; }
[ $# -eq 0 ] || { echo "usage: scripts/results.sh [--draw]" >&2; exit 2; }

cargo build --release --quiet --locked --bin io-models
# By its name, because a result contains the command line.
PATH=$(realpath "${CARGO_TARGET_DIR:-target}/release"):$PATH
results=docs/results
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# `table brief|costs`: a row for each model, with a column for each load or figure.
table() {
  jq -r -L scripts --arg columns "$1" '
    include "draw";
    def bytes:
      if . < 1024 then "\(round) B" elif . < 1023.95 * 1024 then "\(. / 1024 | tenths) KiB"
      else "\(. / 1048576 | tenths) MiB" end;
    def shown(form): if . == null then "–" else form end;
    def name: .entrant + if .control then " (A/A)" else "" end;

    # The figures by load and model; what was not measured is null.
    (.groups
      | map({key: ([.workload, (.point // empty)] | join("@")), value: (.rows | map({key: name, value: .figures}) | from_entries)})
      | from_entries) as $figures
    # Loads that were measured.
    | ([{load: "single", brief: "1 client", costs: "CPU at 1"},
        {load: "idle@0", brief: "64 clients", costs: "CPU at 64"},
        {load: "idle@936", brief: "64 + 936 idle", costs: "CPU, 936 idle"},
        {load: "idle@9000", brief: "64 + 9000 idle", costs: "CPU, 9000 idle"}] | map(select($figures[.load]))) as $loads
    | def cpus: [$figures[$loads[].load][.].cpu.ratio | shown(hundredths)];
      def calls(load): $figures[load][.].syscalls_per_request.total | shown(hundredths);
      def memory(load): $figures[load][.].memory.connected | shown(bytes);
      [.groups[0].rows[] | name] as $models
    | if $columns == "brief" then
        [["model", $loads[].brief], ($models[] | [.] + cpus)]
      else
        [["model", $loads[].costs, "calls at 1", "calls at 64", "memory at 64", "memory, 936 idle"],
          ($models[] | [.] + cpus + [calls("single", "idle@0"),
            memory("idle@0", "idle@936")])]
      end
    | markdown' "$results/models.json"
}

if $measure; then
  # Not with --output, because a result contains the command line.
  io-models compare --workloads single,idle --idle 0,100,936,9000 --json >"$scratch/result"
  # The single slices are most of the file, and nothing is drawn from them.
  jq --compact-output 'del(.groups[].rows[].starts)' "$scratch/result" >"$scratch/models.json"
  cat "$scratch/models.json" >"$results/models.json"
  io-models unp30 --markdown --output "$scratch/unp30"
  scripts/put.sh unp30 docs/unp30.md <"$scratch/unp30"
fi

io-models report "$results/models.json" --markdown "$scratch/report" --svg "$results/models.svg"
{
  echo "# All models side by side"
  echo
  echo "Written by \`scripts/results.sh\` from [models.json](models.json). [../models.md](../models.md) says how each model works, and"
  echo "[../compare.md](../compare.md) how they are measured. The loop is closed: each connection sends a request, waits for its answer,"
  echo "and sends the next one. So p50 and p99 compare the models under this load; they do not show what users of a busy service would see."
  echo
  cat "$scratch/report"
} >"$results/models.md"

# `chinese`: what is put into an English page, for the Chinese one. What this list lacks stays English.
chinese() {
  sed -E '
    /^\| model /{
      s/model/模型/; s/calls/调用/g; s/memory/内存/g
      s/([0-9]+) clients?/\1 个客户端/g; s/\+ ([0-9]+) idle/+ \1 个空闲/g; s/, ([0-9]+) idle/（\1 个空闲）/g; s/ at ([0-9]+)/（\1 个客户端）/g
    }
    /^Linux /{
      s/([0-9]+) CPUs?,/\1 个 CPU,/; s/at most ([0-9,]+) descriptors/最多 \1 个文件描述符/
      s/TCP congestion control/TCP 拥塞控制算法/; s/commit/提交/; s/, /，/g; s/\.$/。/
    }
    /^Each server was started /{
      s/^Each server was started (.*) times, with ([0-9]+) slices? each time, in random turns/每个服务端启动 \1 次，每次测量 \2 个时间片，按随机顺序轮流/
      s/ to / 到 /; s/; seed /；种子 /; s/; servers on (CPU [0-9]+), generators on (CPU [0-9]+)/；服务端在 \1 上，生成器在 \2 上/
      s/; generators busy-wait, and every byte is checked\. It took ([0-9]+) s\./；生成器忙等，每个字节都经过检查。用时 \1 秒。/
    }'
}

# The machine, what was done, and what was wrong with it.
sed -n 's/^Linux .*/&./p; /^Each server was started /p; /^Warning: /p' "$scratch/report" >"$scratch/run"
table brief >"$scratch/brief"
{ cat "$scratch/brief"; echo; fmt --width=80 "$scratch/run"; } | scripts/put.sh results README.md
{ cat "$scratch/brief"; echo; cat "$scratch/run"; } | chinese | scripts/put.sh results docs/zh/README.md
{ grep '^Linux ' "$scratch/report"; echo; table costs; } >"$scratch/costs"
scripts/put.sh models docs/models.md <"$scratch/costs"
chinese <"$scratch/costs" | scripts/put.sh models docs/zh/models.md
