#!/usr/bin/env bash
# One run in several processes of this machine, one thread each:
#   examples/torchrun.sh [PROCESSES] [CONFIG] [OUT] [ARGS of scalevec train…]
# With torchrun on PATH it starts them; without, this script does, by the same variables. Over several machines, on each:
#   torchrun --no-python --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 scalevec train …
set -euo pipefail
cd "$(dirname "$0")/.."
processes=${1:-2}
config=${2:-experiments/configs/distributed.json}
out=${3:-runs/processes}
shift $(($# < 3 ? $# : 3))
program=${SCALEVEC:-build/cpu/bin/scalevec}

if command -v torchrun >/dev/null; then
  exec torchrun --no-python --nproc-per-node "$processes" "$program" train "$config" --out "$out" "$@"
fi
export WORLD_SIZE=$processes LOCAL_WORLD_SIZE=$processes MASTER_ADDR=127.0.0.1 MASTER_PORT=${MASTER_PORT:-29500}
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM
for ((rank = 0; rank < processes; ++rank)); do
  RANK=$rank LOCAL_RANK=$rank OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$program" train "$config" --out "$out" "$@" &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
  # A signal to this shell ends `wait` before its process has ended.
  while
    code=0
    wait "$pid" || code=$?
    kill -0 "$pid" 2>/dev/null
  do :; done
  ((code > status)) && status=$code
done
exit "$status"
