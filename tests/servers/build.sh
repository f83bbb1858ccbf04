#!/usr/bin/env bash
# Builds the servers for the tests of `io-models check` into a directory, as far as their compilers are here. Of the others it says
# what is missing. Prints a line for each server: FILE COMMAND, ready for `io-models check --server`.
# Usage: tests/servers/build.sh DIRECTORY
set -euo pipefail
if [ $# != 1 ]; then
  echo "usage: $0 DIRECTORY" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
mkdir -p "$out"/{c,cpp,found,course,go}
export out

# Whether this language can be used here.
has() {
  command -v "$1" >/dev/null && return
  echo "tests/servers: the servers in $2 are left out: there is no $1 (Debian: $3)" >&2
  return 1
}

build() {
  local to=$out/${1%.*}
  case $1 in
    c/*) cc -O1 -Wall -Wextra -pthread -o "$to" "$1" ;;
    cpp/*) c++ -std=c++17 -O1 -Wall -Wextra -pthread -o "$to" "$1" ;;
    # These are as others wrote them, warnings included.
    found/* | course/*) c++ -O1 -w -o "$to" "$1" ;;
    go/*) go build -o "$to" "$1" go/common.go ;;
  esac
}
export -f build

compiled=()
has cc C build-essential && compiled+=(c/*.c)
has c++ C++ build-essential && compiled+=(cpp/*.cpp found/*.cpp course/*.cpp)
if has go Go golang-go; then
  for file in go/*.go; do
    [ "$file" = go/common.go ] || compiled+=("$file")
  done
fi
if [ ${#compiled[@]} != 0 ]; then
  # The words in quotes are for the inner bash.
  # shellcheck disable=SC2016
  printf '%s\0' "${compiled[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -euc 'build "$1"' build
fi

for file in "${compiled[@]}"; do
  printf '%s %q {port}\n' "$file" "$out/${file%.*}"
done
if has python3 Python python3; then
  for file in python/*.py; do
    # -B: no __pycache__ beside the files.
    [ "$file" = python/loop.py ] || printf '%s exec python3 -B %q {port}\n' "$file" "$PWD/$file"
  done
fi
if has node JavaScript nodejs; then
  for file in node/*.js; do
    [ "$file" = node/listen.js ] || printf '%s exec node %q {port}\n' "$file" "$PWD/$file"
  done
fi
