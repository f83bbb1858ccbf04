#!/usr/bin/env bash
# Puts its standard input into a page, between the lines `<!-- MARK: begin … -->` and `<!-- MARK: end -->`. For the other scripts here.
# Usage: scripts/put.sh MARK FILE
set -euo pipefail

[ $# -eq 2 ] || { sed -n 's/^# Usage: /usage: /p' "$0" >&2; exit 2; }
for end in ": begin" ": end -->"; do
  grep -q "^<!-- $1$end" "$2" || { echo "$2 has no line '<!-- $1$end'" >&2; exit 1; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/table"
# What drew it has failed, and the table that is in the page stays.
[ -s "$scratch/table" ] || { echo "scripts/put.sh: nothing to put into $2 at '$1'" >&2; exit 1; }
awk -v mark="$1" '
  NR == FNR { table = table $0 "\n"; next }
  $0 == "<!-- " mark ": end -->" { inside = 0 }
  !inside
  index($0, "<!-- " mark ": begin") == 1 {
    inside = 1
    printf "\n%s\n", table
  }' "$scratch/table" "$2" >"$scratch/page"
cat "$scratch/page" >"$2"
