#!/usr/bin/env bash
# Sets up what the build needs on Debian 12 or Ubuntu 24.04: system packages by apt and LibTorch as a pinned wheel.
# A second call finds everything in place and returns at once. Also accepts a LibTorch of yours (see README).
#   scripts/bootstrap.sh [--cuda] [PACKAGE…]     --cuda unpacks LibTorch's CUDA libraries too, as is done where nvcc is, so that
#                                                the CUDA code is linked; PACKAGE: more of apt's
# SCALEVEC_APT_WAIT: seconds to wait for another program that uses apt (default 900). SCALEVEC_RETRY_PAUSE: seconds before
# the second try of a fetch that failed (default 5, twice as long before each further one). SCALEVEC_APT_LOCKS: lock files.
set -euo pipefail
cd "$(dirname "$0")/.."
arguments=("$@")

stamp=cpu
if [[ ${1:-} == --cuda ]]; then
  stamp=cuda
  shift
elif command -v nvcc >/dev/null || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]]; then
  stamp=cuda
fi

torch_version=2.11.0
torch_sha256=7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
packages=(build-essential cmake ninja-build ccache git python3 python3-pip unzip catch2 libeigen3-dev libboost-dev
  libboost-math-dev nlohmann-json3-dev libcli11-dev libssl-dev gnuplot-nox libfmt-dev libbenchmark-dev
  libsentencepiece-dev libgloo-dev libxxhash-dev "$@")

say() { printf 'bootstrap: %s\n' "$*"; }
fail() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }

# retry TEXT COMMAND…: up to four tries, with longer and longer pauses.
retry() {
  local what=$1 try pause=${SCALEVEC_RETRY_PAUSE:-5}
  shift
  for try in 1 2 3 4; do
    "$@" && return 0
    ((try == 4)) && return 1
    say "$what failed (try $try of 4); again in $pause seconds"
    sleep "$pause"
    pause=$((2 * pause))
  done
}

# A fresh cloud machine updates itself and holds the locks of apt and dpkg for minutes. apt's own option waits without a
# word, and not for the lock of the package lists: hence this look at who holds them.
locks="${SCALEVEC_APT_LOCKS:-/var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock}"
lock_holder() {
  local lock inode
  for lock in $locks; do
    inode=$(stat -c %i "$lock" 2>/dev/null) || continue
    awk -v inode="$inode" '{n = split($6, part, ":"); if (part[n] == inode && $2 != "->") {print $5; exit}}' /proc/locks
  done | head -n 1
}
wait_for_apt() {
  local holder name waited=0 limit=${SCALEVEC_APT_WAIT:-900}
  while holder=$(lock_holder) && [[ -n $holder ]]; do
    name=$(cat "/proc/$holder/comm" 2>/dev/null || echo "another program")
    ((waited < limit)) || fail "process $holder ($name) has held the lock of apt for $limit seconds; call this script again when it has ended"
    ((waited % 30 == 0)) && say "waiting for process $holder ($name), which holds the lock of apt (at most $((limit - waited)) seconds more)"
    sleep 2
    waited=$((waited + 2))
  done
  return 0
}
apt() {
  wait_for_apt
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" >/dev/null
}

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  command -v apt-get >/dev/null || fail "needs the packages ${missing[*]}; this machine has no apt to get them"
  if [[ $(id -u) != 0 ]]; then
    fail "these packages are missing; install them with
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}
and call this script again"
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  wait_for_apt
  # An installation that was broken off leaves packages unpacked and not configured; apt refuses to go on from there.
  [[ -n $(dpkg --audit 2>/dev/null) ]] && { say "finishing an installation that was interrupted"; dpkg --configure -a >/dev/null; }
  retry "the update of the package lists" apt update || fail "apt-get update failed four times; check the network"
  retry "the installation of packages" apt install -y --no-install-recommends "${missing[@]}" ||
    fail "apt-get install failed four times; its own messages are above"
fi

# A LibTorch that the user named, or that the active Python has, is left to CMake to find and check.
[[ -n "${CMAKE_PREFIX_PATH:-}${Torch_DIR:-}" ]] && exit 0
if [[ -f .deps/libtorch/stamp ]]; then
  case "$(<.deps/libtorch/stamp)" in "$torch_sha256 $stamp" | "$torch_sha256 cuda") exit 0 ;; esac
fi
if python3 -c '
import importlib.util, os, re, sys
spec = importlib.util.find_spec("torch")
path = spec.submodule_search_locations[0]
version = re.search(r"__version__ = .(\d+)\.(\d+)", open(os.path.join(path, "version.py")).read())
sys.exit(0 if tuple(map(int, version.groups())) >= (2, 8) and os.path.isdir(os.path.join(path, "include")) else 1)
' 2>/dev/null; then
  say "using the active Python's torch"
  exit 0
fi
[[ $(uname -m) == x86_64 ]] || fail "the pinned LibTorch is for x86_64; set CMAKE_PREFIX_PATH to a LibTorch of your own"

# One call at a time works on .deps: the second waits, and finds everything in place.
mkdir -p .deps
exec 9>.deps/lock
if ! flock -n 9; then
  say "waiting for another call of this script"
  flock 9
  exec scripts/bootstrap.sh "${arguments[@]}"
fi
work=.deps/fetch
wheel_of() { ls "$work"/torch-*.whl 2>/dev/null | head -n 1; }
verified() { [[ -n $(wheel_of) ]] && echo "$torch_sha256  $(wheel_of)" | sha256sum --check --quiet >/dev/null 2>&1; }
# What calls before this one left: their folders had other names, their unpacked half is worth nothing, a whole wheel is kept.
rm -rf .deps/fetch.* .deps/unpack
mkdir -p "$work"
if verified; then
  say "the wheel of LibTorch $torch_version is there already"
else
  rm -f "$work"/torch-*.whl
  say "fetching LibTorch $torch_version (530 MB)"
  # pip keeps a wheel in a folder of its own until it is whole. Its cache would hold the 530 MB a second time.
  retry "the fetch of LibTorch" python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --retries 5 --timeout 60 \
    --no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 \
    --dest "$work" "torch==$torch_version" ||
    fail "pip could not fetch torch==$torch_version; check the network, or set CMAKE_PREFIX_PATH to a LibTorch of your own"
  verified || { rm -f "$work"/torch-*.whl; fail "the checksum of the wheel is not the pinned one; it was deleted and nothing unpacked"; }
fi
say "unpacking LibTorch"
files=('torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1 torch/version.py)
[[ $stamp == cuda ]] && files+=(torch/lib/libtorch_cuda.so torch/lib/libc10_cuda.so)
unzip -q "$(wheel_of)" "${files[@]}" -d .deps/unpack
echo "$torch_sha256 $stamp" >.deps/unpack/stamp
rm -rf .deps/libtorch
mv .deps/unpack .deps/libtorch
rm -rf "$work"
