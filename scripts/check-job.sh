#!/usr/bin/env bash
# What it checks: that scripts/load-job.yaml is what Kubernetes takes, by its published schema, strictly; and that the
# command in it runs, against a server of ours.
# Usage: scripts/check-job.sh    it installs kubernetes-validate (PyPI) in a folder that goes away
set -euo pipefail
cd "$(dirname "$0")/.."
job=scripts/load-job.yaml

fail() { echo "scripts/check-job.sh: $*" >&2; exit 1; }

folder=$(mktemp -d)
server=
# shellcheck disable=SC2317 # The trap runs it.
clean_up() { [ -z "$server" ] || kill "$server"; rm -rf "$folder"; }
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
python3 -m venv "$folder/python" || fail "install the packages python3 and python3-venv"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0

valid() { "$folder/python/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$1" "$2"; }
# A version that is in use for long, and the newest that the package knows.
for version in 1.31 1.37; do
  valid "$version" "$job" || fail "$job is not valid for Kubernetes $version"
  # What says yes to everything has checked nothing.
  sed 's/completionMode:/completionsMode:/' "$job" >"$folder/wrong.yaml"
  ! valid "$version" "$folder/wrong.yaml" >/dev/null 2>&1 || fail "a misspelt key passes for Kubernetes $version"
done

cargo build --release --quiet --bin io-models
program=$(realpath "${CARGO_TARGET_DIR:-target}/release/io-models")
exec {lines}< <(exec "$program" serve epoll-level --listen 127.0.0.1:0)
server=$!
read -r -t 10 line <&"$lines" || fail "the server did not start"
command=$("$folder/python/bin/python" -c '
import sys, yaml
print(yaml.safe_load(open(sys.argv[1]))["spec"]["template"]["spec"]["containers"][0]["command"][2])' "$job")
command=${command//SERVER/${line##* }}
command=${command//START_AT/$(date -u -d '+2 seconds' +%FT%TZ)}
command=${command//-R 50k -d 30s/-R 500 -d 1s}
# A machine that is no pod does not have that file.
command=${command//\/dev\/termination-log/$folder/errors}
export PATH=${program%/*}:$PATH
pods=()
for index in 0 1; do
  JOB_COMPLETION_INDEX=$index sh -c "$command" >"$folder/host-$index.json" &
  pods+=($!)
done
for pod in "${pods[@]}"; do wait "$pod" || fail "the command in $job failed: $(cat "$folder/errors")"; done
"$program" merge "$folder"/host-*.json
