#!/usr/bin/env bash
# Sets up, builds, judges the claims about scale vectors and says where the ledger is.
#   scripts/claims.sh [quick|standard] [ID…]     stopped, the same call goes on
# quick needs no text; standard runs on those of scripts/texts.sh, and keeps the results of its runs in
# docs/claims/results, from which it goes on on any machine.
set -euo pipefail
cd "$(dirname "$0")/.."
tier=${1:-quick}
shift || true
case $tier in quick | standard) ;; *) echo "usage: scripts/claims.sh [quick|standard] [ID…]" >&2; exit 2 ;; esac

arguments=(claims "$@" --tier "$tier" --out "runs/claims-$tier" --jobs "$(nproc)")
if [[ $tier == standard ]]; then
  scripts/texts.sh
  for text in english-bytes code-bytes english-bpe; do arguments+=(--text "$text=runs/texts/$text"); done
  arguments+=(--results docs/claims/results)
else
  scripts/bootstrap.sh
  scripts/build.sh cpu scalevec
fi
build/cpu/bin/scalevec "${arguments[@]}"
