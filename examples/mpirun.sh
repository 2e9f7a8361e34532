#!/usr/bin/env bash
# One run in several processes by Open MPI's or MPICH's mpirun, which passes no messages here: it starts the processes.
#   examples/mpirun.sh [PROCESSES] [CONFIG] [OUT] [ARGS of scalevec train…]
# Over several machines rank 0's address is needed: mpirun -np 16 --hostfile HOSTS -x MASTER_ADDR=HOST scalevec train …
set -euo pipefail
cd "$(dirname "$0")/.."
processes=${1:-2}
config=${2:-experiments/configs/distributed.json}
out=${3:-runs/processes}
shift $(($# < 3 ? $# : 3))
exec mpirun -np "$processes" "${SCALEVEC:-build/cpu/bin/scalevec}" train "$config" --out "$out" "$@"
