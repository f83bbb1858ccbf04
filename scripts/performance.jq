# What scripts/performance.sh reads from docs/results/performance.json: the tables of docs/performance.md and of docs/compare.md.
include "draw";

def group(id): .groups[] | select(.id == id);
def row(id; name): group(id) | .rows[] | select(.entrant == name);
# In the order of the loads: the models, then the peers.
def names: reduce .groups[].rows[].entrant as $name ([]; if index([$name]) then . else . + [$name] end);
def control: "epoll-level (A/A)";
def shown_name($foreign): . as $name | if . == control then "A/A" elif $foreign | index([$name]) then . else "`\(.)`" end;

# The median of what was measured at several times, from the lowest to the highest quartile.
def floor_cost: .floor | { median: (map(.median) | sort | .[length / 2 | floor]), low: (map(.low) | min), high: (map(.high) | max) };

def floor_words:
  floor_cost as $floor
  | def times(id): [row(id; "epoll-level").cpu_us][0] | if . == null then "–" else
      "\(.median * 1000 / $floor.median | digits) [\(.low * 1000 / $floor.high | digits)–\(.high * 1000 / $floor.low | digits)]" end;
  "One recv(2) and one send(2) of 64 bytes cost \($floor.median) ns [\($floor.low)–\($floor.high)]. `epoll-level` needs for a request "
  + "\(times("single")) times that with 1 client, \(times("ping")) times with 64 clients, \(times("idle@9000")) times with 9,000 silent ones "
  + "beside them, and \(times("depth@16")) times with 16 requests under way on each connection, of which one call takes several.";

# CPU ratios at some loads, a row for each server.
def ratios($ids; $heads):
  . as $all | (.foreign) as $foreign
  | [["server"] + $heads]
    + [names[] as $name | [$ids[] as $id | $all | [row($id; $name).cpu][0] | estimate] as $cells
        | select($cells | any(. != "–"))
        | [$name | shown_name($foreign)] + $cells]
  | markdown;

def clients: ratios(["single", "ping", "idle@100", "idle@900", "idle@9000"]; ["1 client", "64 clients", "100 silent", "900 silent", "9,000 silent"]);
def sizes: ratios(["ping", "size@4096", "size@65536", "depth@4", "depth@16"]; ["64 B, depth 1", "4 KiB", "64 KiB", "depth 4", "depth 16"]);
def churn: ratios(["churn@1", "churn@100"]; ["after 1 request", "after 100 requests"]);

def workers:
  . as $all | [.groups[] | select(.id | startswith("workers@"))] as $groups
  | [["model", ($groups[] | "\(.workers) worker\(if .workers == 1 then "" else "s" end)")]]
    + [$groups[0].rows[].entrant as $name | select($name != "epoll-level")
        | [($name | shown_name([])), ($groups[] as $group | [$group.rows[] | select(.entrant == $name).cpu][0] | estimate)]]
  | markdown;

# CPU time and not ratios, because the loads of a line were not measured at the same time.
def growth:
  . as $all
  | (["single", "ping", "idle@900", "idle@9000", "size@65536", "depth@16", "churn@1"] | map(. as $id | select($all | any(.groups[]; .id == $id)))) as $ids
  | [["µs", ($ids[] | { single: "1 client", ping: "64 clients", "idle@900": "900 silent", "idle@9000": "9,000 silent", "size@65536": "64 KiB",
        "depth@16": "depth 16", "churn@1": "a connection each" }[.])]]
    + [("fork", "thread", "select", "poll", "epoll-level", "epoll-edge", "uring") as $name
        | ["`\($name)`", ($ids[] as $id | $all | [row($id; $name).cpu_us][0]
            | if . == null then "–" else "\(.median | digits) [\(.low | digits)–\(.high | digits)]" end)]]
  | markdown;

# What is measured under a load, in words.
def load_words:
  { single: "1 client", ping: "64 clients", "size@4096": "4 KiB", "size@65536": "64 KiB", "churn@1": "a connection each",
    "churn@100": "a connection for 100 requests" }[.]
  // (split("@") | if .[0] == "idle" then "\(.[1] | tonumber | count) silent" else "\(.[0]) \(.[1])" end);

# A paragraph for each server whose interval is on one side of 1 under one load and on the other under another.
def flips:
  . as $all | .foreign as $foreign
  | [names[] as $name | select($name != "epoll-level" and $name != control)
      | [$all.groups[] | select(.id | startswith("workers@") | not) | { id, cpu: ([.rows[] | select(.entrant == $name).cpu][0]) } | select(.cpu)] as $at
      | def at(which): [$at[] | select(.cpu | side == which) | "\(.id | load_words) (\(.cpu.ratio | digits))"] | join(", ");
        select(at(-1) != "" and at(1) != "")
      | "- \($name | shown_name($foreign)): less with \(at(-1)); more with \(at(1))."]
  | if . == [] then "No server needs less than `epoll-level` under one load and more under another." else join("\n") end;

def causes:
  . as $all | .foreign as $foreign
  | [["server", "calls at 1", "wake-ups at 1", "calls at 64", "requests per wait at 64", "wake-ups at 64"]]
    + [names[] as $name | select($name != control) | ([$all | row("single"; $name)][0]) as $one | ([$all | row("ping"; $name)][0] // {}) as $many
        | select($one.cpu_us or $many.cpu_us)
        | [$name | shown_name($foreign)] + [$one.calls, $one.wakeups, $many.calls, $many.requests_per_wait, $many.wakeups | digits]]
  | markdown;

def peers:
  . as $all | .foreign as $foreign
  | [["server", "1 client", "64 clients", "900 silent", "64 KiB", "a connection each"]]
    + [("epoll-level", control, "epoll-edge", "uring", "poll", "thread", "tokio", "go", "python") as $name
        | ([$all | row("single"; $name).cpu, null][0] | estimate) as $one
        | select(any($all.groups[].rows[]; .entrant == $name))
        | [$name | shown_name($foreign)] + [$one] + [("ping", "idle@900", "size@65536", "churn@1") as $id | [$all | row($id; $name).cpu][0] | estimate]]
  | markdown;

def not_built: .missing | if . == [] then "All peers were built." else "Not built there: \(join("; "))." end;

def failures:
  [.groups[] | .id as $id | .rows[] | select(.reason and (.reason | test("one client at a time|takes at most") | not)) | "\(.entrant) under \($id): \(.reason)"]
  | if . == [] then empty else "", "Not measured: \(join("; "))." end;

def where_measured:
  not_built, failures, "",
  "\(.groups | length) loads, each server started \(.starts) times, in \(.seconds / 60 | round) minutes. \(.environment | machine).";
