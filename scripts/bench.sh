#!/usr/bin/env bash
# Builds the benchmarks and prints the ratios of one interleaved run: scripts/bench.sh optimizers|training|designs [OPTIONS]
# Options go to Google Benchmark (--benchmark_filter=…); of designs, --rounds N and what its usage says. Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
case $what in optimizers | training | designs) ;; *) echo "usage: scripts/bench.sh optimizers|training|designs [options]" >&2; exit 2 ;; esac
shift
scripts/bootstrap.sh
scripts/build.sh dev "bench_$what"
[[ $what == designs ]] && exec build/dev/bin/bench_designs "$@"
result=build/dev/bench_$what.json
"build/dev/bin/bench_$what" --benchmark_out="$result" --benchmark_out_format=json "$@" >/dev/null
python3 bench/ratios.py "$what" "$result"
