#!/usr/bin/env bash
# What it measures: the comparison and the designs of UNP chapter 30, each with its defaults. Their outputs go into README.md,
# docs/models.md and docs/unp30.md between two marks, so that no number there was written by hand.
# Usage: scripts/readme-table.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet --bin io-models
program=${CARGO_TARGET_DIR:-target}/release/io-models
result=$(mktemp)
costs=$(mktemp)
trap 'rm -f "$result" "$costs"' EXIT

# `put MARK FILE RESULT`: the result between the marks of that name.
put() {
  awk -v result="$3" -v mark="$1" '
    $0 == "<!-- " mark ": end -->" { inside = 0 }
    !inside
    index($0, "<!-- " mark ": begin") == 1 {
      inside = 1
      print ""
      while ((getline line < result) > 0) print line
      print ""
    }' "$2" >"$2.new"
  mv "$2.new" "$2"
}

# `costs_of RESULT`: from the tables of the comparison, one row for each model with what it costs under each workload. It is made of the
# same text as the README, because a second run would have other numbers.
costs_of() {
  awk -F ' *[|] *' '
    # A cell that is not there is a dash, whose bytes are more than its width.
    function cell(workload, model, column) {
      return (workload, model, column) in cells ? cells[workload, model, column] : "–"
    }
    function pad(text, width,    shown) {
      shown = text
      gsub(/–/, "-", shown)
      return sprintf("%" (width - length(shown)) "s", "") text
    }
    function row(model, all, one, idle, calls, calls_of_one, memory) {
      printf "| %-19s | %s | %s | %s | %s | %s | %s |\n", model, pad(all, 9), pad(one, 8), pad(idle, 8), pad(calls, 8), \
        pad(calls_of_one, 7), pad(memory, 9)
    }
    /^[a-z]+: / {
      workload = $1
      sub(/:.*/, "", workload)
    }
    /^Linux / { print $0 "\n" }
    $2 == "model" {
      for (i = 3; i < NF; i++) name[i] = $i
    }
    /^[|] [a-z]/ && $2 != "model" {
      if (!($2 in seen)) models[++count] = $2
      seen[$2] = 1
      for (i = 3; i < NF; i++) {
        sub(/ \[.*/, "", $i)
        cells[workload, $2, name[i]] = $i
        known[name[i]] = 1
      }
    }
    END {
      split("CPU ratio,calls/req,memory", needed, ",")
      for (i in needed) {
        if (!(needed[i] in known)) {
          print "the comparison has no column " needed[i] >"/dev/stderr"
          exit 1
        }
      }
      row("model", "CPU at 64", "CPU at 1", "CPU idle", "calls/64", "calls/1", "memory")
      print "|---------------------|----------:|---------:|---------:|---------:|--------:|----------:|"
      for (i = 1; i <= count; i++) {
        m = models[i]
        row(m, cell("ping", m, "CPU ratio"), cell("single", m, "CPU ratio"), cell("idle", m, "CPU ratio"), \
          cell("ping", m, "calls/req"), cell("single", m, "calls/req"), cell("ping", m, "memory"))
      }
    }' "$1"
}

"$program" compare --output "$result"
costs_of "$result" >"$costs"
put compare README.md "$result"
put models docs/models.md "$costs"
"$program" unp30 --markdown --output "$result"
put unp30 docs/unp30.md "$result"
