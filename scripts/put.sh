#!/usr/bin/env bash
# Puts its standard input into a page, between the lines `<!-- MARK: begin … -->` and `<!-- MARK: end -->`. For the other scripts here.
# Usage: scripts/put.sh MARK FILE
set -euo pipefail

[ $# -eq 2 ] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
for end in ": begin" ": end -->"; do
  grep -q "^<!-- $1$end" "$2" || { echo "$2 has no line '<!-- $1$end'" >&2; exit 1; }
done
page=$(mktemp)
trap 'rm -f "$page"' EXIT
awk -v mark="$1" '
  $0 == "<!-- " mark ": end -->" { inside = 0 }
  !inside
  index($0, "<!-- " mark ": begin") == 1 {
    inside = 1
    print ""
    while ((getline line < "/dev/stdin") > 0) print line
    print ""
  }' "$2" >"$page"
cat "$page" >"$2"
