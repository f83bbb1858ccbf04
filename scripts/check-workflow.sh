#!/usr/bin/env bash
# What it checks: that the workflow file in docs/ci.md is what GitHub takes, by its published schema, and that each of its `run:`
# steps succeeds here, in order, on the server that is shown there. Steps that are actions of GitHub (`uses:`) are not run: what
# they check out is put there instead.
# Usage: scripts/check-workflow.sh    it installs check-jsonschema (PyPI) in a folder that goes away
set -euo pipefail
cd "$(dirname "$0")/.."
page=docs/ci.md

fail() { echo "scripts/check-workflow.sh: $*" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
python3 -m venv "$folder/python" || fail "install the packages python3 and python3-venv"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check check-jsonschema==0.39.0

# The only block of that language.
block() { awk -v open="\`\`\`$1" '$0 == open { inside = 1; next } /^```$/ { inside = 0 } inside' "$page"; }
block yaml >"$folder/workflow.yml"
valid() { "$folder/python/bin/check-jsonschema" --builtin-schema vendor.github-workflows "$1"; }
valid "$folder/workflow.yml" || fail "the workflow in $page is not valid"
# What says yes to everything has checked nothing.
sed 's/runs-on:/run-on:/' "$folder/workflow.yml" >"$folder/wrong.yml"
! valid "$folder/wrong.yml" >/dev/null || fail "a misspelt key passes"

# One file for each step, in order: NUMBER.run has its commands, NUMBER.uses the name of an action.
mkdir "$folder/steps" "$folder/work" "$folder/work/base"
"$folder/python/bin/python" - "$folder" <<'EOF'
import pathlib, sys
from ruamel.yaml import YAML
folder = pathlib.Path(sys.argv[1])
(job,) = YAML(typ="safe").load(folder / "workflow.yml")["jobs"].values()
for number, step in enumerate(job["steps"], 10):
    kind = "run" if "run" in step else "uses"
    (folder / "steps" / f"{number}.{kind}").write_text(step[kind])
EOF

# What the actions check out: this program, the server of a change, and that of the branch that it goes to.
ln -s "$PWD" "$folder/work/io-models"
block c | tee "$folder/work/server.c" >"$folder/work/base/server.c"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} CARGO_INSTALL_ROOT=$folder/installed
export PATH=$folder/installed/bin:$PATH
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$folder/work"
ran=0
for step in "$folder"/steps/*; do
  case $step in
    *.uses) echo "not run here: $(<"$step")" ;;
    *)
      # A port that is free here.
      sed -i "s/7007/$port/g" "$step"
      echo "running: $(head -1 "$step") …"
      # As GitHub does.
      bash -e "$step" || fail "this step of the workflow fails with exit code $?: $(<"$step")"
      ran=$((ran + 1))
      ;;
  esac
done
for file in compare.html compare.json compare.xml load.xml; do
  [ -s "$file" ] || fail "no step has written $file, which the last one uploads"
done
echo "$ran steps of the workflow in $page were run"
