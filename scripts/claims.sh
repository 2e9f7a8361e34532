#!/usr/bin/env bash
# Sets up, builds, judges the claims about scale vectors on English text and says where the ledger is.
#   scripts/claims.sh [quick|standard] [ID…]     stopped, the same call goes on
# The text is the English of scripts/texts.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
tier=${1:-quick}
shift || true
case $tier in quick | standard) ;; *) echo "usage: scripts/claims.sh [quick|standard] [ID…]" >&2; exit 2 ;; esac

scripts/texts.sh english-bytes
build/cpu/bin/scalevec claims "$@" --tier "$tier" --data runs/texts/english-bytes --out "runs/claims-$tier" --jobs "$(nproc)"
