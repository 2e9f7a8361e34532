#!/usr/bin/env bash
# Builds the benchmarks and prints the ratios of one interleaved run:
#   scripts/bench.sh optimizers|rounding|training|designs|ops|simulator [OPTIONS]
# Options go to Google Benchmark (--benchmark_filter=…); of designs and ops, --rounds N and what their usage says; of simulator,
# the number of turns (9), which needs a Python with torch and NumPy ($PYTHON, default python3). Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
case $what in optimizers | rounding | training | designs | ops | simulator) ;; *) echo "usage: scripts/bench.sh optimizers|rounding|training|designs|ops|simulator [options]" >&2; exit 2 ;; esac
if [[ $what == simulator ]] && ! "${PYTHON:-python3}" -c 'import numpy, torch' 2>/dev/null; then
  echo "bench.sh simulator: ${PYTHON:-python3} lacks numpy or torch; name one that has them: PYTHON=…" >&2
  exit 1
fi
shift
scripts/bootstrap.sh
scripts/build.sh dev "bench_$what"
[[ $what == designs || $what == ops ]] && exec "build/dev/bin/bench_$what" "$@"
[[ $what == simulator ]] && exec "${PYTHON:-python3}" bench/simulator_peer.py build/dev/bin/bench_simulator "$@"
result=build/dev/bench_$what.json
"build/dev/bin/bench_$what" --benchmark_out="$result" --benchmark_out_format=json "$@" >/dev/null
python3 bench/ratios.py "$what" "$result"
