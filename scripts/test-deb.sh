#!/usr/bin/env bash
# Installs the Debian package of dist.sh in a fresh Debian root, runs the program there, and removes the package again: it must need
# nothing that is not there, and leave nothing behind. Needs root, and mmdebstrap with Debian's archive.
# Usage: scripts/test-deb.sh [SUITE]; the suite is bookworm unless another is named
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:-bookworm}
[ "$(id -u)" -eq 0 ] || { echo "this needs root, for chroot(8) and dpkg(1): sudo $0 $*" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: apt-get install mmdebstrap" >&2; exit 1; }
packages=(dist/io-models_*_amd64.deb)
if [ ! -f "${packages[0]}" ] || [ ${#packages[@]} -ne 1 ]; then
  echo "not one package in dist, but: ${packages[*]}; scripts/dist.sh makes it" >&2
  exit 1
fi

root=$(mktemp -d)
cleaned() { # of what is mounted first: what is mounted would be removed too
  mountpoint -q "$root/proc" && umount "$root/proc"
  rm -rf "$root" "$root.before"
}
trap cleaned EXIT
# Nothing but what each Debian system has: no libraries beside those of dpkg(1), no manual pages, no Rust.
timeout 600 mmdebstrap --quiet --variant=essential "$suite" "$root"
mount -t proc proc "$root/proc"
# Debian's installer writes it.
echo "127.0.0.1 localhost" >"$root/etc/hosts"
inside() { timeout 120 chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }
files() { (cd "$root" && find usr etc opt srv | sort); }
files >"$root.before"
cp "${packages[0]}" "$root/tmp/io-models.deb"

inside dpkg --install /tmp/io-models.deb
for file in man/man1/io-models.1.gz man/man1/io-models-facts.1.gz bash-completion/completions/io-models \
  zsh/vendor-completions/_io-models fish/vendor_completions.d/io-models.fish doc/io-models/copyright doc/io-models/LICENSES-libraries; do
  [ -s "$root/usr/share/$file" ] || { echo "/usr/share/$file is missing, or empty" >&2; exit 1; }
done
programs=$(files | comm -13 "$root.before" - | grep '/s\?bin/')
[ "$programs" = usr/bin/io-models ] || { echo "the package has other programs: $programs" >&2; exit 1; }

inside io-models --version
inside io-models models
inside io-models facts --list | tail -1
inside io-models facts select flags || [ $? -eq 3 ]
# localhost is looked up, which a static program can do without the shared files of a C library.
# shellcheck disable=SC2016 # It is the inner shell that expands this.
inside bash -euc '
  coproc io-models serve epoll-level --listen localhost:0
  server=$COPROC_PID
  read -r _ _ address <&"${COPROC[0]}"
  io-models load "$address" --connections 8 --duration 500ms
  kill -TERM "$server"
  wait "$server"'
inside io-models compare --models poll --workloads ping --starts 2 --slices 1

inside dpkg --purge io-models
rm "$root/tmp/io-models.deb"
files | diff "$root.before" - || { echo "the package left files behind" >&2; exit 1; }
echo "${packages[0]}: installed, run and removed in a fresh $suite"
