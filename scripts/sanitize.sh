#!/usr/bin/env bash
# Builds and passes the whole suite under the sanitizers for addresses and undefined behaviour, then kernels and data under the
# thread sanitizer. Arguments go to both calls of ctest. JOBS: compilers at the same time; default: one per core.
set -euo pipefail
cd "$(dirname "$0")/.."
for preset in asan tsan; do
  cmake --preset "$preset"
  cmake --build --preset "$preset" --parallel "${JOBS:-$(nproc)}"
  ctest --preset "$preset" "$@"
done
