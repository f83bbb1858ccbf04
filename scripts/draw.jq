# What settle.jq and performance.jq share: numbers for people, and tables.

def hundredths: (. * 100 | round) as $n | "\($n / 100 | floor).\("0\($n % 100)"[-2:])";
def tenths: (. * 10 | round) as $n | "\($n / 10 | floor).\($n % 10)";
# Three digits, or two behind the point.
def digits: if . == null then "–" elif . < 9.995 then hundredths elif . < 99.95 then tenths else round | tostring end;
# 9000 is 9,000.
def count: tostring | [while(length > 0; .[:-3]) | .[-3:]] | reverse | join(",");
def bytes: if . < 1024 then "\(.) B" else "\(. / 1024 | floor) KiB" end;
# A ratio with its interval.
def estimate: if . == null then "–" else "\(.ratio | digits) [\(.low | digits)–\(.high | digits)]" end;
# -1 when it is shown to be less than the baseline's, 1 when more, 0 when no difference is shown.
def side: if .high < 1 then -1 elif .low > 1 then 1 else 0 end;

# A Markdown table; the first row is the head.
def markdown:
  (transpose | map(map(length) | max)) as $widths
  | def line:
      [range(length) as $i | (" " * ($widths[$i] - (.[$i] | length))) as $gap
        | if $i == 0 then .[$i] + $gap else $gap + .[$i] end]
      | "| " + join(" | ") + " |";
  (.[0] | line),
  "|" + ([$widths[] | "-" * (. + 1)] | .[0] + "-|" + (.[1:] | join(":|"))) + ":|",
  (.[1:][] | line);

# A row of a result of `compare` without its slices.
def short:
  def rounded: if . == null then null else . * 10000 | round / 10000 end;
  def estimated: if . == null then null else map_values(if type == "number" then rounded else . end) end;
  { entrant: (.entrant + if .control then " (A/A)" else "" end), baseline }
  + if .figures == null then { reason: .reason } else .figures | {
      cpu: (.cpu | estimated), rate: (.rate | estimated),
      cpu_us: (.cpu_us_per_request | estimated), requests_per_s: (.requests_per_s.median | rounded),
      calls: (.syscalls_per_request.total | rounded), requests_per_wait: (.requests_per_wait | rounded),
      wakeups: (.voluntary_switches_per_request | rounded),
      generator_busy: (.generator_busy_share | rounded)
    } end;

# The machine, in a line.
def machine: "Linux \(.kernel // "of an unknown release"), \(.cpu_model // "an unknown processor"), \(.cpus // "some") processors for this program; commit \(.commit // "unknown"), \(.started // "at an unknown time")";
