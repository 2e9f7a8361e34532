#!/usr/bin/env bash
# Configures and builds one preset (default cpu): scripts/build.sh [PRESET [TARGET…]].
# As many compilers as there are cores, and no more than the memory holds at 2.5 GB each. On no terminal, a line every ten
# seconds with the time left.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-cpu}
shift || true
# A configure takes a second; one that failed half-way must not be taken for done.
log=$(mktemp "${TMPDIR:-/tmp}/scalevec-build.XXXXXX")
trap 'rm -f "$log"' EXIT
cmake --preset "$preset" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
jobs=$(nproc)
memory=$(awk '/MemAvailable/ {print int($2 / 2500000)}' /proc/meminfo 2>/dev/null || echo "$jobs")
((memory < jobs)) && jobs=$((memory < 1 ? 1 : memory))

build=(cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"})
if [[ -t 1 ]]; then
  NINJA_STATUS='[%f/%t, %es] ' "${build[@]}"
  exit
fi
# ninja's own lines go to a file; its percentage counts objects, of which the first are as long as the last.
NINJA_STATUS='[%f/%t] ' "${build[@]}" >"$log" 2>&1 &
ninja=$!
trap 'kill "$ninja" 2>/dev/null || true; rm -f "$log"' EXIT
start=$SECONDS
while kill -0 "$ninja" 2>/dev/null; do
  for ((i = 0; i < 20; ++i)); do
    sleep 0.5
    kill -0 "$ninja" 2>/dev/null || break
  done
  counts=$(grep -oE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 | tr -d '[]' || true)
  [[ -n $counts ]] || continue
  done_=${counts%/*} all=${counts#*/} passed=$((SECONDS - start))
  ((done_ > 0 && done_ < all)) && echo "build: $done_ of $all steps, $passed s, about $((passed * (all - done_) / done_)) s left"
done
if ! wait "$ninja"; then
  grep -vE '^\[[0-9]+/[0-9]+\] [^F]' "$log" >&2 || true
  exit 1
fi
[[ $(grep -c . "$log") == 0 ]] || tail -n 1 "$log" | grep -E 'no work' >/dev/null || echo "build: done in $((SECONDS - start)) s"
