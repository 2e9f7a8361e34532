#!/usr/bin/env bash
# Checks and measures the CUDA build on a machine with a GPU that has no network and is there for minutes.
#   scripts/gpu_check.sh --pack DIR [--text FILE]
#   DIR/scripts/gpu_check.sh --run DIR --torch PATH --out OUT [--minutes N] [--stages A,B…] [--again] [--one-file]
#   DIR/scripts/gpu_check.sh --run DIR --torch PATH --out OUT --dry
#   scripts/gpu_check.sh --list
# --pack builds for sm_80, sm_90 and sm_100 here and puts stripped programs, the libraries that are not LibTorch's, tokens, what
# the emulated kernels give and the PyTorch peers into DIR, at most 60 MiB. FILE is English text, Debian's dict-gcide by default.
# --run makes the stages in order of value, each within its own time, and writes OUT/STAGE.json as soon as one is known, and
# all of them in OUT/all.json (alone with --one-file). A stage that fails stops no other; one that has passed is not made
# again without --again. PATH is the folder `torch` of a Python wheel of LibTorch 2.11, with NVIDIA's wheels beside it. Without
# a GPU it ends with one line and status 1.
# --dry makes the same stages with the same programs, but on the CPU at small sizes, and leaves out what only a GPU has.
# scripts/cuda_docs.py OUT writes the tables of docs/cuda.md and docs/performance.md.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

usage() { sed -n '3,6s/^# *//p' "$0" >&2; exit 2; }

pack() {
  local pack=$1 text=$2 built=$here/build/cuda program lib
  cd "$here"
  command -v nvcc >/dev/null || export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
  local programs=(scalevec bench_cuda test_cuda_device test_cuda_ops test_cuda_train) emulations=(test_cuda test_cuda_rows)
  cmake --preset cuda -DSCALEVEC_BUILD_BENCH=ON >/dev/null
  cmake --build "$built" -j "$(nproc)" --target "${programs[@]}" "${emulations[@]}"
  mkdir -p "$pack/bin" "$pack/lib" "$pack/tokens" "$pack/scripts" "$pack/bench" "$pack/emulation"
  for program in "${emulations[@]}"; do
    SCALEVEC_NOTED_VALUES=$pack/emulation/$program "$built/bin/$program" >/dev/null
    xz -f "$pack/emulation/$program"
  done
  for program in "${programs[@]}"; do
    strip -o "$pack/bin/$program" "$built/bin/$program"
    # What every Linux has, LibTorch's and NVIDIA's are not taken along.
    while read -r lib; do
      case $(basename "$lib") in
        libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | ld-linux* | libstdc++* | libgcc_s* | libgomp* | libutil.so* | libtorch* | libc10* | libcu* | libnv* | libnccl*) ;;
        *) cp -Lu "$lib" "$pack/lib/" ;;
      esac
    done < <(ldd "$built/bin/$program" | awk '$2 == "=>" && $3 ~ /^\// {print $3}')
  done
  cp scripts/gpu_check.sh scripts/gpu_stages.py "$pack/scripts/"
  cp bench/cuda_peer.py bench/pytorch_step.py "$pack/bench/"
  git describe --always --dirty >"$pack/commit"
  if [[ -z $text ]]; then
    [[ -r /usr/share/dictd/gcide.dict.dz ]] || { echo "gpu_check: no text: give --text FILE, or install dict-gcide" >&2; exit 1; }
    text=$(mktemp)
    trap 'rm -f "$text"' EXIT
    gzip -dc /usr/share/dictd/gcide.dict.dz >"$text"
  fi
  python3 scripts/gpu_stages.py tokens "$text" "$pack/tokens"
  local size
  size=$(du -sk --apparent-size "$pack" | cut -f1)
  printf 'gpu_check: %s: %d.%d MiB\n' "$pack" $((size / 1024)) $((size % 1024 * 10 / 1024))
  ((size <= 60 * 1024)) || { echo "gpu_check: more than 60 MiB" >&2; exit 1; }
}

case ${1:-} in
  --list) exec python3 "$here/scripts/gpu_stages.py" list ;;
  --pack)
    (($# == 2 || ($# == 4))) || usage
    text=
    if (($# == 4)); then
      [[ $3 == --text ]] || usage
      text=$(realpath -e "$4")
    fi
    mkdir -p "$2"
    pack "$(realpath "$2")" "$text"
    ;;
  --run) shift; exec python3 "$here/scripts/gpu_stages.py" run "$@" ;;
  *) usage ;;
esac
