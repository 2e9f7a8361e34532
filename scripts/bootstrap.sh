#!/usr/bin/env bash
# Sets up what the build needs on Debian 12 or Ubuntu 24.04: system packages by apt and LibTorch as a pinned wheel.
# A second call finds everything in place and returns at once. Also accepts a LibTorch of yours (see README).
#   scripts/bootstrap.sh [--cuda] [PACKAGE…]     --cuda unpacks LibTorch's CUDA libraries too, as is done where nvcc is, so that
#                                                the CUDA code is linked; PACKAGE: more of apt's
set -euo pipefail
cd "$(dirname "$0")/.."

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
  libboost-math-dev nlohmann-json3-dev libcli11-dev libssl-dev gnuplot-nox libbenchmark-dev
  libsentencepiece-dev libgloo-dev "$@")

fail() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }

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
  echo "bootstrap: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
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
  echo "bootstrap: using the active Python's torch"
  exit 0
fi
[[ $(uname -m) == x86_64 ]] || fail "the pinned LibTorch is for x86_64; set CMAKE_PREFIX_PATH to a LibTorch of your own"

echo "bootstrap: fetching LibTorch $torch_version (530 MB)"
mkdir -p .deps
work=$(mktemp -d .deps/fetch.XXXXXX)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
  --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 --dest "$work" "torch==$torch_version" ||
  fail "pip could not fetch torch==$torch_version; check the network, or set CMAKE_PREFIX_PATH to a LibTorch of your own"
wheel=$(echo "$work"/torch-*.whl)
echo "$torch_sha256  $wheel" | sha256sum --check --quiet ||
  fail "the checksum of $wheel is not the pinned one; nothing was unpacked"
files=('torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1 torch/version.py)
[[ $stamp == cuda ]] && files+=(torch/lib/libtorch_cuda.so torch/lib/libc10_cuda.so)
unzip -q "$wheel" "${files[@]}" -d "$work/libtorch"
echo "$torch_sha256 $stamp" >"$work/libtorch/stamp"
rm -rf .deps/libtorch
mv "$work/libtorch" .deps/libtorch
