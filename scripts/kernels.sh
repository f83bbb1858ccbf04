#!/usr/bin/env bash
# What it measures: what the kernel facts are on the systems of scripts/kernels.tsv: kernels of Debian under full emulation
# and as User-Mode Linux, on x86-64, aarch64 and big-endian s390x, with PREEMPT_RT and pages of 16 KiB; gVisor; QEMU's user emulation;
# and this machine.
# Usage: scripts/kernels.sh [NAME...]       NAME: a line of that file [all]
#        WORK=DIR        for downloads and builds, and used again [target/kernels]. Without it everything is new: kernels too
#        OUT=DIR         for the results [docs/facts]
# Output: DIR/NAME.json of each, what `io-models facts --json` says there; or why it could not be had, as "missing". A line for each.
# Needs: an x86-64 host; a Debian with apt, or one of its derivatives with debian-archive-keyring; rustup, jq, and a static C library
# (libc6-dev). Nothing is installed: packages are unpacked in WORK. User-Mode Linux needs root or user namespaces, gVisor root.
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD/scripts
[ "$(uname -m)" = x86_64 ] || { echo "the host must be x86-64" >&2; exit 2; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for needed in apt-get dpkg-deb cc jq rustup unshare "$keyring"; do
  command -v "$needed" >/dev/null || [ -r "$needed" ] || { echo "$needed is missing" >&2; exit 2; }
done

# When it is interrupted, what it has started ends as well.
descendants() { # PID
  local child
  for child in $(ps -o pid= --ppid "$1"); do descendants "$child" && echo "$child"; done
}
trap 'kill $(descendants $$) 2>/dev/null; exit 130' INT
trap 'kill $(descendants $$) 2>/dev/null; exit 143' TERM

mkdir -p "${WORK:=target/kernels}" "${OUT:=docs/facts}"
work=$(realpath "$WORK") out=$(realpath "$OUT")
table=$(grep -v '^#' scripts/kernels.tsv)
[ $# -gt 0 ] || mapfile -t all < <(cut -f1 <<<"$table")
names=("${@:-${all[@]}}")
for name in "${names[@]}"; do
  cut -f1 <<<"$table" | grep -xF -- "$name" >/dev/null || { echo "no line of scripts/kernels.tsv is $name" >&2; exit 2; }
done
row() { awk -F '\t' -v name="$1" '$1 == name { print $2, $3, $4 }' <<<"$table"; }
uses() { for name in "${names[@]}"; do row "$name"; done | grep -E "^($1) " >/dev/null; }

# --- Packages, without the system's own lists ---

# The suite from which the emulators and libraries are. Its C library must be no older than that of the newest User-Mode Linux.
suite=trixie
packages() { # the archive's apt-get or apt-cache, with its arguments
  timeout 300 "$1" -qq -c "$work/apt/apt.conf" -o APT::Default-Release=$suite "${@:2}"
}

update_lists() {
  mkdir -p "$work"/apt/{lists,cache/archives}/partial
  : >"$work/apt/status"
  # Only the newer suites are asked for s390x: a list that cannot be had would take those of the other architectures with it.
  awk -v keyring=$keyring '{ printf "deb [arch=%s signed-by=%s] %s %s main\n", $1, keyring, $2, $3 }' >"$work/apt/sources.list" <<END
amd64,arm64 http://deb.debian.org/debian bullseye
amd64,arm64 http://deb.debian.org/debian-security bullseye-security
amd64,arm64 http://deb.debian.org/debian bookworm
amd64,arm64 http://deb.debian.org/debian-security bookworm-security
amd64,arm64 http://deb.debian.org/debian-security trixie-security
amd64,arm64 http://deb.debian.org/debian trixie-backports
amd64,arm64,s390x http://deb.debian.org/debian trixie
amd64,arm64,s390x http://deb.debian.org/debian sid
amd64,arm64,s390x http://deb.debian.org/debian experimental
END
  cat >"$work/apt/apt.conf" <<END
Dir::Etc::SourceList "$work/apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State "$work/apt";
Dir::State::Lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Architectures { "amd64"; "arm64"; "s390x"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Debug::NoLocking "true";
END
  find "$work/apt/lists" -name '*Packages*' -mtime -1 | grep . >/dev/null || packages apt-get update
}

# Fetch a file of a package into DEST: of the newest version that begins with VERSION of the packages whose names match PATTERN.
fetch() { # PATTERN ARCHITECTURE VERSION FILE DEST
  local package version folder found
  [ ! -s "$5" ] || return 0
  mapfile -t found < <(packages apt-cache pkgnames | grep -E -- "$1" | sed "s/\$/:$2/")
  folder=$(mktemp -d -p "$work/apt")
  while read -r package version; do
    # A package may be gone from the archive since its list was made, and some have no such file: then the next.
    (cd "$folder" && packages apt-get download "$package=$version") 2>/dev/null || continue
    dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x --to-stdout --wildcards "$4" >"$folder/file" 2>/dev/null || true
    rm -f "$folder"/*.deb
    [ ! -s "$folder/file" ] || { mv "$folder/file" "$5" && echo "$package $version" >"$5.package"; break; }
  done < <(
    packages apt-cache madison "${found[@]}" |
      awk -F ' *[|] *' -v series="$3" '{
        sub(/^ */, "", $1)
        if (series == "" || index($2, series) == 1 && substr($2, length(series) + 1, 1) !~ /[0-9]/) print $1, $2
      }' | sort -u | sort -k2,2Vr -k1,1
  )
  rm -rf "$folder"
  [ -s "$5" ]
}

# Emulators, gVisor and libraries to link with, and what these need, all in one folder.
unpack_tools() {
  [ ! -e "$work/tools/done" ] || return 0
  packages apt-get install --yes --download-only qemu-system-x86 qemu-system-arm qemu-system-s390x qemu-user runsc busybox-static \
    lib{c6,gcc-14}-dev-{arm64,s390x}-cross >/dev/null || return 1
  local package
  for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/tools" || return 1; done
  rm -f "$work"/apt/cache/archives/*.deb
  # The older packages in it have no links of their own for these.
  ln -sfn usr/lib64 "$work/tools/lib64"
  mkdir -p "$work"/tools/{proc,dev,tmp}
  touch "$work/tools/done"
}

# --- The program, static, and what a kernel starts with ---

# The linker of the toolchain links for all architectures: with the C library of Debian's cross compilers, no compiler is needed.
linker() { # ARCHITECTURE
  local lib=$work/tools/usr/$1-linux-gnu/lib
  cat >"$work/ld-$1" <<END
#!/usr/bin/env bash
# The first two arguments say as what it is started.
exec "$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld" "\${@:1:2}" --sysroot="$work/tools" \\
  -L "$lib" -L "$work/tools/usr/lib/gcc-cross/$1-linux-gnu/14" "$lib/crt1.o" "$lib/crti.o" "\${@:3}" "$lib/crtn.o"
END
  chmod +x "$work/ld-$1"
  # The crate io-uring knows few architectures by name. The numbers in it are those of all of them.
  echo "-C relocation-model=static -C linker=$work/ld-$1 -C linker-flavor=ld.lld --cfg io_uring_skip_arch_check"
}

build() { # ARCHITECTURE, as Rust and QEMU call it
  local target=$1-unknown-linux-gnu flags="-C target-feature=+crt-static"
  rustup target list --installed | grep -x "$target" >/dev/null || rustup --quiet target add "$target" || return 1
  [ "$1" = x86_64 ] || flags+=" $(linker "$1")"
  # Optimizing across crates takes minutes, and changes nothing that is looked at here.
  RUSTFLAGS=$flags CARGO_TARGET_DIR=$work/build CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    nice cargo build --release --quiet --locked --bin io-models --target "$target" || return 1
  ln -sfn "../build/$target/release" "$work/bin/$1"
}

initrd() { # ARCHITECTURE
  local root=$work/initrd/$1
  rm -rf "$root"
  mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp}
  case $1 in
    x86_64) cp "$work/tools/usr/bin/busybox" "$root/bin" ;;
    aarch64) fetch '^busybox-static$' arm64 '' '*/busybox' "$work/initrd/busybox-$1" ;;
    *) fetch '^busybox-static$' "$1" '' '*/busybox' "$work/initrd/busybox-$1" ;;
  esac || return 1
  [ -e "$root/bin/busybox" ] || cp "$work/initrd/busybox-$1" "$root/bin/busybox"
  cp "$work/bin/$1/io-models" "$root/bin"
  echo root:x:0:0:root:/:/bin/sh >"$root/etc/passwd"
  cat >"$root/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
dmesg -n 1
ip link set lo up
ulimit -n 20000
# An emulated processor is slow.
io-models facts --deadline 60s --quiet --json --output /tmp/facts.json
echo "@@@ $?"
gzip -c /tmp/facts.json | base64
echo "@@@ end"
poweroff -f
END
  chmod +x "$root/init" "$root/bin/busybox"
  (cd "$root" && find . | "$work/tools/usr/bin/busybox" cpio -o -H newc 2>/dev/null) >"$work/initrd/$1.cpio"
}

# --- The systems. Each start leaves its result in the current folder as facts.json, and what its console showed as console ---

qemu() { # ARCHITECTURE
  local lib=$work/tools/usr/lib/x86_64-linux-gnu machine=(-cpu max)
  # Without the second a busy host makes the kernel believe that its timer does not work.
  local options="console=ttyS0 no_timer_check"
  case $1 in
    aarch64) options=console=ttyAMA0 machine=(-M virt -cpu "max,pauth-impdef=on") ;;
    s390x) options=console=ttysclp0 machine=(-M s390-ccw-virtio -cpu max) ;;
  esac
  # Not a program of this system's C library: so it is started by its own loader.
  timeout 600 "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$work/tools/usr/bin/qemu-system-$1" \
    -L "$work/tools/usr/share/qemu" -L "$work/tools/usr/share/seabios" -accel tcg "${machine[@]}" -smp 2 -m 2048 \
    -nodefaults -no-user-config -display none -no-reboot -nic none -serial stdio \
    -kernel kernel -initrd "$work/initrd/$1.cpio" -append "$options quiet panic=-1" >console 2>&1 </dev/null
}

# A kernel as a process. It lays out its memory around its own program, so that a loader of ours cannot start it.
uml() { # NAME START
  local root=$work/tools loaded='' options=()
  cp kernel "$root/tmp/$1" && chmod +x "$root/tmp/$1" && cp "$work/initrd/x86_64.cpio" "$root/tmp/$1.cpio" || return 1
  if [ "$2" = uml-sse ]; then
    cc -O2 -shared -fPIC -o "$root/tmp/$1.so" "$source/uml-sse.c" || return 1
    loaded=/tmp/$1.so options=("GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512VL,-AVX512F,-AVX2,-AVX,-AVX_Fast_Unaligned_Load")
  fi
  # shellcheck disable=SC2016 # These are of that shell.
  HOME=/tmp TMPDIR=/dev/shm timeout 600 unshare --map-root-user --mount sh -c '
    mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" && chroot "$0" /usr/bin/busybox env "$@"; exit $?' \
    "$root" LD_PRELOAD="$loaded" "/tmp/$1" mem=2048M "initrd=/tmp/$1.cpio" \
    con=null con0=null,fd:1 console=tty0 quiet panic=-1 "${options[@]}" >console 2>&1 </dev/null
}

native() {
  PATH=$work/bin/x86_64:$PATH timeout 600 io-models facts --quiet --json >facts.json 2>console || [ $? -eq 3 ]
}

qemu-user() {
  PATH=$work/bin/x86_64:$work/tools/usr/bin:$PATH timeout 600 \
    io-models facts --quiet --json --launcher qemu-x86_64 --deadline 30s >facts.json 2>console || [ $? -eq 3 ]
}

# It says that it is Linux 4.4, and has calls that are much newer: it is judged as the Linux that the facts were written on.
gvisor() { # PLATFORM
  PATH=$work/bin/x86_64:$PATH timeout 600 "$work/tools/usr/bin/runsc" --root="$PWD/state" --ignore-cgroups --network=none \
    --platform="$1" "do" -- io-models facts --judge-as 6.18 --quiet --json >facts.json 2>console || [ $? -eq 3 ]
}

# The kernel of a line, if it has one, into the current folder.
kernel() { # START FLAVOUR VERSION
  case $1 in
    x86_64) fetch "^linux-(image|binary)-[0-9].*-$2$" amd64 "$3" '*/vmlinuz*' kernel ;;
    aarch64) fetch "^linux-(image|binary)-[0-9].*-$2$" arm64 "$3" '*/vmlinuz*' kernel ;;
    s390x) fetch "^linux-(image|binary)-[0-9].*-$2$" s390x "$3" '*/vmlinuz*' kernel ;;
    uml | uml-sse) fetch '^user-mode-linux$' amd64 "$3" '*/linux.uml' kernel ;;
  esac
}

# Start the system of a line, in the current folder, and print why it gave nothing, if so.
start() { # NAME START FLAVOUR VERSION
  local architecture=${2/uml*/x86_64} code=0
  if [ "$2" != native ] && [ ! -e "$work/tools/done" ]; then
    echo "Debian's packages cannot be had here"
  elif ! kernel "${@:2}"; then
    echo "the archive has no such kernel"
  elif [[ $2 =~ ^(uml|uml-sse|x86_64|aarch64|s390x)$ && ! -s $work/initrd/$architecture.cpio ]]; then
    echo "the program, or busybox, cannot be had for $architecture"
  else
    case $2 in
      uml | uml-sse) uml "$1" "$2" ;;
      gvisor) gvisor "${1#gvisor-}" ;;
      native | qemu-user) "$2" ;;
      *) qemu "$2" ;;
    esac || code=$?
    [ -e facts.json ] || tr -d '\r' <console | sed -n '/^@@@ [03]$/,/^@@@ end$/{/^@@@/!p}' | base64 -d 2>/dev/null |
      gzip -dc >facts.json 2>/dev/null || true
    [ "$(jq '.totals and .partial == false' facts.json 2>/dev/null)" = true ] || reason $code
  fi
}

# The last words of its console, on one line.
reason() { # EXIT-CODE
  [ "$1" -ne 124 ] || echo "it did not end within its 600 s"
  { tr -d '\r' <console | grep -a -B 1 -m 1 'Kernel panic' || tail -n 2 console; } | tr -cd '[:print:]\n' | cut -c 1-200
}

# Leave the result of a line, and tell of it.
run() { # NAME
  local began=$SECONDS missing fields file=$out/$1.json
  # This machine is a Linux like the others, and has its name.
  [ "$1" != here ] || file=$out/linux-$(uname -r | grep -oE '^[0-9]+\.[0-9]+').json
  read -ra fields < <(row "$1")
  mkdir -p "$work/systems/$1"
  cd "$work/systems/$1"
  rm -f facts.json console
  missing=$(start "$1" "${fields[@]}" | paste -s -d ' ')
  if [ -z "$missing" ]; then
    cp facts.json "$file"
  else
    jq -n --arg name "$1" --arg missing "$missing" '{schema: "io-models/facts", schema_version: 2, $name, $missing}' >"$file"
  fi
  printf '%-16s %4s s  %s\n' "$1" $((SECONDS - began)) \
    "$(jq -r 'if .missing then "missing: \(.missing)" else "\(.totals.holds) hold, \(.totals.differs) differ, \(.totals.skipped) skipped" end' "$file")"
}

if ! uses 'native' || [ ${#names[@]} -gt 1 ]; then
  update_lists || true
  unpack_tools || true
fi
mkdir -p "$work"/{bin,initrd,systems}
build x86_64
for architecture in x86_64 aarch64 s390x; do
  [ "$architecture" = x86_64 ] || ! uses "$architecture" || build "$architecture" || continue
  ! uses "$architecture|${architecture/x86_64/uml.*}" || initrd "$architecture" || rm -f "$work/initrd/$architecture.cpio"
done
echo "built in $SECONDS s"
# Two at a time: half of the time that a fact takes it waits.
for name in "${names[@]}"; do
  [ "$(jobs -rp | wc -l)" -lt 2 ] || wait -n
  run "$name" &
done
wait
echo "${#names[@]} systems in $SECONDS s"
