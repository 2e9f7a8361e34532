#!/usr/bin/env bash
# Runs the unfinished cells of a comparison with GNU parallel, then makes the report of what is there.
#   examples/comparison/parallel.sh GRID OUT [JOBS [OPTION…]]     OPTION: parallel's own, such as --sshloginfile HOSTS
# Called again, it goes on with what is left.
set -euo pipefail
(($# >= 2)) || { echo "usage: parallel.sh GRID OUT [JOBS [OPTION…]]" >&2; exit 2; }
scalevec=${SCALEVEC:-scalevec}
grid=$1 out=$2 jobs=${3:-2}
shift $(($# < 3 ? $# : 3))
# A worker that dies costs its cell's time: the cell is tried once more, from its last checkpoint.
"$scalevec" compare "$grid" --out "$out" --jobs "$jobs" --list-cells |
  parallel --jobs "$jobs" --retries 2 --line-buffer "$@" || echo "some cells failed" >&2
"$scalevec" compare "$grid" --out "$out" --jobs "$jobs" --collect
