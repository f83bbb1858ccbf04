#!/usr/bin/env bash
# What it measures: what a wait costs with more and more sockets, what it costs to begin and end to watch one, what our wrappers
# cost beside the bare calls, and a round trip with each model. It writes docs/bench.md and docs/wait-cost.svg.
# Usage: scripts/bench.sh [--quick]     --quick: few samples, only to see that it works
set -euo pipefail
cd "$(dirname "$0")/.."

case "$*" in
  '') quick=() mode="criterion's usual number of samples" ;;
  --quick) quick=(--quick) mode="quick mode: few samples, only to see that it works" ;;
  *) echo "usage: scripts/bench.sh [--quick]" >&2; exit 2 ;;
esac
command -v jq >/dev/null || { echo "jq is missing" >&2; exit 1; }
CRITERION_HOME=$(mktemp -d)
export CRITERION_HOME
trap 'rm -rf "$CRITERION_HOME"' EXIT
results=$CRITERION_HOME/results.tsv
instructions=$CRITERION_HOME/instructions.tsv

benches=(--bench wait_cost --bench register_cost --bench wrapper_cost --bench echo_roundtrip)
cargo bench --locked "${benches[@]}" -- --noplot "${quick[@]}" >&2

# Group, row, number of sockets, nanoseconds, in the order in which they were measured.
find "$CRITERION_HOME" -path '*/new/estimates.json' -printf '%T@\t%h\n' | sort -n | cut -f2 | while read -r new; do
  jq -rs '[.[0].group_id, .[0].function_id, .[0].value_str // "", .[1].median.point_estimate] | @tsv' \
    "$new/benchmark.json" "$new/estimates.json"
done >"$results"
[ -s "$results" ] || { echo "criterion left no results" >&2; exit 1; }

# `collected TURNS CASE`: the instructions outside of the kernel.
collected() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" --turns "$1" "$2" 2>&1 | awk '/Collected/ { print $NF }'
}

program=$(cargo bench --locked --bench wrapper_cost --no-run --message-format=json 2>/dev/null |
  jq -r 'select(.target.name == "wrapper_cost" and .executable).executable')
turns=2000
command -v valgrind >/dev/null || echo "valgrind is missing: no instructions are counted" >&2
# Case, way, instructions for a turn. What is done once cancels in the difference.
awk -F'\t' '$1 ~ /^wrapper: / { print $1 "\t" $2 }' "$results" | while IFS=$'\t' read -r call way; do
  count=–
  if command -v valgrind >/dev/null; then
    case=${call#wrapper: }/$way
    count=$((($(collected $((2 * turns)) "$case") - $(collected $turns "$case")) / turns))
  fi
  printf '%s\t%s\t%s\n' "$call" "$way" "$count"
done >"$instructions"

# From lines of row, column, and cell to a table with that heading; what was not measured is `–`.
table() {
  awk -F'\t' -v heading="$1" '
    !($1 in row_of) { row_of[$1]; rows[++height] = $1 }
    !($2 in column_of) { column_of[$2]; columns[++width] = $2 }
    { cells[$1, $2] = $3 }
    END {
      line = "| " heading " |"; rule = "|---|"
      for (x = 1; x <= width; x++) { line = line " " columns[x] " |"; rule = rule "---:|" }
      print line "\n" rule
      for (y = 1; y <= height; y++) {
        line = "| " rows[y] " |"
        for (x = 1; x <= width; x++)
          line = line " " ((rows[y], columns[x]) in cells ? cells[rows[y], columns[x]] : "–") " |"
        print line
      }
    }'
}
# shellcheck disable=SC2016 # It is awk's.
short='function short(x) { return sprintf(x >= 99.95 ? "%.0f" : x >= 9.995 ? "%.1f" : "%.2f", x) }'

# `wait_table GROUP`: microseconds beyond the row `none`.
wait_table() {
  awk -F'\t' -v group="$1" "$short"'
    $1 == group && $2 == "none" { none[$3] = $4; print "`none`: the I/O alone\t" $3 "\t" short($4 / 1000) }
    $1 == group && $2 != "none" { print "`" $2 "`\t" $3 "\t" short(($4 - none[$3]) / 1000) }' "$results" | table "µs"
}

# The cost of a turn with one active socket, both axes logarithmic, a line for each way to wait.
chart() {
  awk -F'\t' '
    function x(n) { return 70 + 440 * (log(n) - log(10)) / (log(9000) - log(10)) }
    function y(us) { return 350 - 310 * (log(us) - log(low)) / (log(high) - log(low)) }
    function text(left, top, how, words) { printf "<text x=\"%.1f\" y=\"%.1f\"%s>%s</text>\n", left, top, how, words }
    function line(x1, y1, x2, y2, how) {
      printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, how
    }
    $1 == "wait, 1 active" {
      us = $4 / 1000
      if (!($2 in count)) names[++ways] = $2
      ns[$2, ++count[$2]] = $3; costs[$2, count[$2]] = us
      if (low == 0 || us < low) low = us
      if (us > high) high = us
    }
    END {
      split("#d55e00 #e69f00 #cc3377 #0a84c1 #56b4e9 #009e73 #9467bd #8c6d31", colors, " ")
      for (decade = 0.001; decade * 10 <= low; ) decade *= 10
      for (low = decade; decade < high; ) decade *= 10
      high = decade
      print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 410\" role=\"img\" font-family=\"sans-serif\" font-size=\"13\">"
      print "<title>The time for a turn with one active socket, against the number of watched sockets</title>"
      print "<style>rect{fill:#fff}text{fill:#1f2328}.grid{stroke:#d8dee4}.none{stroke:#57606a}"
      print "@media(prefers-color-scheme:dark){rect{fill:#0d1117}text{fill:#e6edf3}.grid{stroke:#30363d}.none{stroke:#9198a1}}</style>"
      print "<rect width=\"680\" height=\"410\"/>"
      text(20, 24, " font-weight=\"bold\"", "A turn with one active socket: write, wait, read")
      for (decade = low; decade <= high * 1.001; decade *= 10) {
        line(70, y(decade), 510, y(decade), "class=\"grid\"")
        text(62, y(decade) + 4, " text-anchor=\"end\"", decade)
      }
      split("10 100 1000 9000", ticks, " ")
      for (i = 1; i <= 4; i++) {
        line(x(ticks[i]), 40, x(ticks[i]), 350, "class=\"grid\"")
        text(x(ticks[i]), 370, " text-anchor=\"middle\"", ticks[i])
      }
      text(290, 396, " text-anchor=\"middle\"", "sockets watched")
      text(0, 0, " text-anchor=\"middle\" transform=\"translate(20 195) rotate(-90)\"", "time for a turn, µs")
      for (i = 1; i <= ways; i++) {
        name = names[i]; points = ""
        for (p = 1; p <= count[name]; p++) points = points sprintf("%.1f,%.1f ", x(ns[name, p]), y(costs[name, p]))
        style[i] = name == "none" ? "class=\"none\" stroke-dasharray=\"4 3\"" : "stroke=\"" colors[++used] "\""
        printf "<polyline points=\"%s\" fill=\"none\" stroke-width=\"2\" %s/>\n", points, style[i]
        end[i] = y(costs[name, count[name]]); from = x(ns[name, count[name]])
        if (from > 509) order[++last] = i
        else text(from + 4, end[i] + 18, "", name)
      }
      # The names stand beside the ends of the lines, from the top, with room between them.
      for (i = 2; i <= last; i++)
        for (j = i; j > 1 && end[order[j]] < end[order[j - 1]]; j--) { swap = order[j]; order[j] = order[j - 1]; order[j - 1] = swap }
      for (i = last; i >= 1; i--) {
        limit = i == last ? 350 : place[i + 1] - 17
        place[i] = end[order[i]] < limit ? end[order[i]] : limit
      }
      for (i = 1; i <= last; i++) {
        line(510, end[order[i]], 560, place[i], style[order[i]] " opacity=\"0.7\"")
        text(565, place[i] + 4, "", names[order[i]])
      }
      print "</svg>"
    }' "$results"
}

chart >docs/wait-cost.svg
{
  cat <<'END'
# What waiting, registering and our wrappers cost

`scripts/bench.sh` runs the benches and writes this page. Each time is the median that criterion found. All benches check their
results while they are measured. `–` was not measured; the output of the bench says why.

## A wait

A turn is a byte to each active socket, a wait that reports them, and a recv from each. The first row is the same without the wait.
The other rows are what the wait adds to it.

![The time for a turn against the number of watched sockets](wait-cost.svg)

select and poll look at all sockets that are watched, so they cost more with each that is. epoll and io_uring look at those that are
active. `mio` and `polling` are the crates of that name, which use epoll. `polling` reports a socket once by default, so each active
socket is watched again in each turn. `uring-poll` does that too, but one call tells the kernel of all of them.

select and poll join the wait queue of each socket until they find one that is ready, and not of those behind it. With more active
sockets the first one is nearer to the start, so a wait can cost less than with one. And when a byte comes while nobody waits, it costs
nothing more; epoll and io_uring are told of each byte. So where most sockets are active, select and poll can cost less.

One active socket, microseconds for a turn by the number of sockets that are watched:

END
  wait_table "wait, 1 active"
  echo
  echo "As many active as are watched, but not more than 100:"
  echo
  wait_table "wait, up to 100 active"
  cat <<'END'

## To watch a socket

To begin to watch a socket, to watch it for room to write too, and to end it, in nanoseconds for each socket, beside 10 and 9000
sockets that are watched already. select and poll only note it in memory of the process, and pay at each wait. epoll makes a system
call for it. `uring-poll` queues it, and the kernel hears of many sockets with one call, whose time is included; to change
what a socket is watched for, it cancels the poll and makes another.

END
  awk -F'\t' "$short"'
    $1 == "register" { split($2, part, " "); print "`" part[1] "`\t" part[2] " at " $3 "\t" short($4) }' "$results" | table ns
  cat <<'END'

## Our wrappers

`bare` calls libc, `uncounted` the function of nix that the wrapper calls, and `sys` the wrapper. From `uncounted` to `sys` it is what
counting the call and naming its error cost. The instructions are those outside of the kernel, counted by callgrind; the time is mostly
that of the kernel. The wrapper of poll(2) calls libc itself, so there is no `uncounted`.

END
  {
    awk -F'\t' "$short"'$1 ~ /^wrapper: / { print substr($1, 10) "\tns, `" $2 "`\t" short($4) }' "$results"
    awk -F'\t' '{ print substr($1, 10) "\tinstructions, `" $2 "`\t" $3 }' "$instructions"
  } | table call
  cat <<'END'

## A round trip

A request of 64 bytes and its answer over loopback, with each model that serves in the process of the client. The client sleeps
until the answer comes, so most of it is the time in which the kernel wakes one thread and then the other. `io-models compare`
shows which model serves more: here it also depends on which processors the kernel takes for the two threads.

END
  awk -F'\t' "$short"'$1 == "echo 64 bytes" { print "`" $2 "`\tµs\t" short($4 / 1000) }' "$results" | table model
  printf '\n## Where\n\n```text\n'
  echo "# samples: $mode"
  scripts/env.sh
  echo '```'
} >docs/bench.md
echo "written: docs/bench.md, docs/wait-cost.svg" >&2
