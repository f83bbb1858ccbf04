# What scripts/settle.sh reads from its points: where to measure next, and what goes into docs/select-or-epoll.md.
include "draw";

# The servers that are compared with epoll-level.
def servers: ["select", "poll", "fork", "epoll-edge", "uring"];
def shares: [100, 10, 1];
# How many of n connections are active.
def active_of(n; share): [1, (n * share / 100 | round)] | max;
# A crossing is located when it lies between numbers of which the larger is this many times the smaller: within 20 % of the middle.
def near: 1.44;

# How often each load of the grid was started.
def grid_starts: map(select(.grid) | .starts) | max;

# The lines, on which only one number changes, `x`: that of the connections, of which the same share is active, or that of the active
# ones among so many connections. The points of some few connections are of several lines.
def lines:
  def with(x): map({ x: x, starts, rows, n, active });
  . as $points
  | map([.size, .depth]) | unique[] as [$size, $depth]
  | [$points[] | select(.size == $size and .depth == $depth)] as $these
  | { size: $size, depth: $depth }
    + ((shares[] as $share
        | { axis: "n", share: $share, points: [$these[] | select(.active == active_of(.n; $share))] | with(.n) }),
      (($these | map(select(.grid) | .n) | unique[]) as $n
        | { axis: "active", n: $n, points: [$these[] | select(.n == $n)] | with(.active) }));

# The ratios of a server on a line; of several for the same load the one from the most starts.
def ratios(server):
  [.points[] as $point | $point.rows[] | select(.entrant == server)
    | { x: $point.x, n: $point.n, active: $point.active, starts: $point.starts } + (.cpu // {})]
  | group_by(.x) | map(max_by(.starts));

def middle(a; b): (a * b | sqrt | round) as $x | if $x <= a then a + 1 elif $x >= b then b - 1 else $x end;
# Whether there is nothing more to measure between the two.
def closed(a; b; ratio): b - a <= 1 or b / a <= ratio;

# From the ratios of a server on a line to its crossings: between which numbers, what was measured between them, and the next step if there
# is one. A step has as many starts as the grid; an end that is near 1 gets twice, and one number between, when
# both ends are near it, four times as many.
def crossings(starts):
  map(select(.ratio)) as $all
  | [$all[] | select(side != 0)] as $shown
  | [range(1; $shown | length) as $i | { a: $shown[$i - 1], b: $shown[$i] } | select((.a | side) != (.b | side))
      | . as { a: $a, b: $b }
      | [$all[] | select(.x > $a.x and .x < $b.x)] as $flat
      | ([$a, $b] | map(select(.starts < starts * 2 and (.ratio | log | fabs) < 0.05)) | first) as $doubtful
      | ([$a] + $flat + [$b]) as $chain
      | ([[$chain[0], $chain[1]], [$chain[-2], $chain[-1]]] | max_by(.[1].x / .[0].x)) as [$from, $to]
      | (if any($flat[]; .starts >= starts * 4) then null else $flat | min_by(.x / (($a.x * $b.x) | sqrt) | log | fabs) end) as $vague
      | . + { flat: $flat } + (
          if $doubtful then { step: { x: $doubtful.x, starts: (starts * 2) } }
          elif closed($a.x; $b.x; near) then { located: true }
          elif $flat == [] then { step: { x: middle($a.x; $b.x), starts: starts } }
          elif closed($from.x; $to.x; near) | not then { step: { x: middle($from.x; $to.x), starts: starts } }
          elif $vague then { step: { x: $vague.x, starts: (starts * 4) } }
          else {} end)];

# The next measurement, for all servers that need it: of the simple loads first, and the one that takes the least.
def next_step:
  grid_starts as $starts
  | [lines as $line | servers[] as $server
    | ($line | ratios($server)) as $ratios
    | $ratios | crossings($starts)[] | .step | select(.) | . as $step
    # What has failed is not tried again.
    | select($ratios | all(.x != $step.x or .starts < $step.starts))
    | { server: $server, size: $line.size, depth: $line.depth, starts }
      + if $line.axis == "n" then { n: .x, active: active_of($step.x; $line.share) } else { n: $line.n, active: .x } end]
  | group_by(.size > 64 or .depth > 1, .starts, .n, .active, .size, .depth) | first // empty
  | .[0] + { servers: (map(.server) | unique | join(",")) };

def load_words: "\(.n | count) connection\(if .n == 1 then "" else "s" end), \(.active | count) active, \(.size | bytes), depth \(.depth)";
def share_words: if . == 100 then "all" else "\(.) %" end;
def less_or_more: if . < 0 then "less" elif . > 0 then "more" else "no difference shown" end;

# Where the ratio is 1, by a straight line through the logarithms.
def equal_at:
  [.a, .flat[], .b] | map({ x: (.x | log), y: (.ratio | log) })
  | (map(.x) | add / length) as $x | (map(.y) | add / length) as $y
  | (map((.x - $x) * (.y - $y)) | add) as $xy | (map((.x - $x) * (.x - $x)) | add) as $xx
  | if $xy == 0 then $x else $x - $y * $xx / $xy end | exp;

def crossing_words:
  (.a.x as $a | .b.x as $b | [$a, ([$b, equal_at] | min)] | max | round | count) as $at |
  "\(.a | side | less_or_more) up to \(.a.x | count), \(.b | side | less_or_more) from \(.b.x | count) on"
  + if .located then "; equal at about \($at)"
    elif .step then " (not narrowed further)"
    else "; equal at about \($at), no difference shown at \(.flat | map(.x | count) | join(", "))" end;

# What happens on a line: the crossings, or what was shown at which numbers.
def line_words(starts):
  map(select(.ratio)) as $all
  | crossings(starts) as $crossings
  | if $all == [] then "not measured"
    elif $crossings != [] then $crossings | map(crossing_words) | join("; ")
    else $all | group_by(side)
      | if length == 1 then "\(.[0][0] | side | less_or_more) at each number"
        else sort_by(.[0] | side == 0) | map("\(.[0] | side | less_or_more) at \(map(.x | count) | join(", "))") | join("; ") end
    end;

def ends: map(select(.ratio)) | [.[0], .[-1]] | map(if . == null then "–" else "\(estimate) at \(.x | count)" end);

# By the number of connections: each line.
def by_connections:
  grid_starts as $starts
  | [["server", "active", "request", "depth", "beside `epoll-level`", "at the fewest", "at the most"]]
    + [servers[] as $server | lines | select(.axis == "n") | ratios($server) as $ratios
        | ["`\($server)`", (.share | share_words), (.size | bytes), (.depth | tostring), ($ratios | line_words($starts))] + ($ratios | ends)]
  | markdown;

# By the number of active ones: the lines on which something crosses.
def by_active:
  grid_starts as $starts
  | [servers[] as $server | lines | select(.axis == "active") | ratios($server) as $ratios
      | select($ratios | crossings($starts) != [])
      | ["`\($server)`", (.n | count), (.size | bytes), (.depth | tostring), ($ratios | line_words($starts))] + ($ratios | ends)]
  | if . == [] then "Nothing crosses."
    else [["server", "connections", "request", "depth", "beside `epoll-level`", "at the fewest", "at the most"]]
      + . | markdown end;

def cells: map(select(.grid)) | sort_by(.size, .depth, .n, -.active);

# A ratio alone; bold where a difference was shown. The intervals are in the points.
def brief: if . == null then "–" elif side == 0 then .ratio | digits else "**\(.ratio | digits)**" end;

# A table for each size and depth.
def cell_table:
  (servers + ["epoll-level (A/A)"]) as $columns
  | [cells | group_by([.size, .depth])[]
      | "### \(.[0].size | bytes), depth \(.[0].depth)\n\n" + (
          [["connections", "active", "µs", ($columns[] | if . == "epoll-level (A/A)" then "A/A" else "`\(.)`" end)]]
          + [.[] | (.rows | map({ key: .entrant, value: . }) | from_entries) as $rows
              | [(.n | count), (.active | count), ($rows["epoll-level"].cpu_us.median | digits), ($columns[] | $rows[.].cpu | brief)]]
          | [markdown] | join("\n"))]
  | join("\n\n");

# A paragraph for a server: how often it costs less or more, and the extremes.
def verdict(server; name):
  [cells[] as $cell | $cell.rows[] | select(.entrant == server and .cpu) | { cell: $cell, cpu: .cpu }] as $rows
  | def times(which): [$rows[] | select(.cpu | side == which)] | length;
    def extreme: "\(.cpu | estimate) with \(.cell | load_words)";
    if $rows == [] then "- \(name): not measured here."
    else "- \(name): measured under \($rows | length) loads. It needs less CPU time than `epoll-level` under \(times(-1)), more under \(times(1)); "
      + "no difference is shown under \(times(0))."
      + ([$rows[] | select(.cpu | side != 0)] | if . == [] then "" else
          " Of the differences that are shown, the ratio is lowest, \(min_by(.cpu.ratio) | extreme), and highest, \(max_by(.cpu.ratio) | extreme)." end)
    end;

# The simplest line of a server for each share, by the number of connections.
def answers(server; starts):
  lines | select(.axis == "n" and .size == 64 and .depth == 1)
  | "  - \(.share | share_words) active: \(ratios(server) | line_words(starts))";

def verdicts:
  grid_starts as $starts
  | (servers[] as $server
      | verdict($server; "**`\($server)`**") + " With 64 bytes, one request at a time on each connection, by the number of connections:",
        answers($server; $starts)),
    verdict("epoll-level (A/A)"; "**A/A**, the baseline against itself")
      + " Noise makes these differences. A 99 % interval shows one in a hundred comparisons of equal servers.";

def where_measured:
  "\(cells | length) loads of the grid, each with \(grid_starts) starts, and \(map(select(.grid | not)) | length) more to locate the crossings, in \(map(.seconds) | add / 60 | round) minutes. \($environment[0] | machine).";
