#!/usr/bin/env bash
# Builds the peers into benches/peers/out: those of which the compiler and the headers are here. Of the others it says what is
# missing. Prints a line for each: NAME COMMAND, ready for `io-models compare --server`.
# Usage: benches/peers/build.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/out
mkdir -p "$out"

missing() { echo "benches/peers: $1 is not built: $2" >&2; }

if cargo build --quiet --release --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$here/rust/target"; then
  for name in tokio mio polling monoio; do
    cp "$here/rust/target/release/${name}_echo" "$out/"
    echo "$name $out/${name}_echo {port}"
  done
else
  missing "tokio, mio, polling, monoio" "cargo build failed"
fi

for library in libevent libuv; do
  if ! command -v cc >/dev/null; then
    missing "$library" "there is no C compiler (Debian: build-essential)"
  elif ! flags=$(pkg-config --cflags --libs "$library" 2>/dev/null); then
    missing "$library" "its headers are missing (Debian: ${library/libuv/libuv1}-dev, and pkg-config)"
  else
    # The flags are words.
    # shellcheck disable=SC2086
    cc -O2 -Wall -Wextra -o "$out/${library}_echo" "$here/c/${library}_echo.c" $flags
    echo "$library $out/${library}_echo {port}"
  fi
done

if command -v go >/dev/null; then
  go build -o "$out/go_echo" "$here/go/main.go"
  echo "go GOMAXPROCS=1 exec $out/go_echo {port}"
else
  missing go "there is no Go compiler (Debian: golang-go)"
fi

if command -v python3 >/dev/null; then
  echo "python exec python3 $here/python/echo.py {port}"
else
  missing python "there is no python3"
fi
