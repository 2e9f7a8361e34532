#!/usr/bin/env bash
# Sets up, builds, judges the claims about scale vectors on English text and says where the ledger is.
#   scripts/claims.sh [quick|standard] [ID…]     stopped, the same call goes on
# The text is the GNU dictionary (Debian's dict-gcide, 40 MB of English).
set -euo pipefail
cd "$(dirname "$0")/.."
tier=${1:-quick}
shift || true
case $tier in quick | standard) ;; *) echo "usage: scripts/claims.sh [quick|standard] [ID…]" >&2; exit 2 ;; esac

scripts/bootstrap.sh dict-gcide
scripts/build.sh cpu scalevec
program=build/cpu/bin/scalevec
text=runs/demo-text/gcide.txt
if [[ ! -f $text ]]; then
  mkdir -p runs/demo-text
  gzip -dc /usr/share/dictd/gcide.dict.dz >"$text.part"
  mv "$text.part" "$text"
fi
data=runs/demo-text/tokens-$(sha256sum "$text" | cut -c1-12)
$program data prepare --text "$text" --out "$data"
$program claims "$@" --tier "$tier" --text english-bytes="$data" --out "runs/claims-$tier" --jobs "$(nproc)"
