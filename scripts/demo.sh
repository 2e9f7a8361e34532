#!/usr/bin/env bash
# Sets up, builds, runs the default comparison on English text and says where the report is.
#   scripts/demo.sh [--text FILE…] [--out DIR]
# Without --text it takes the GNU dictionary (Debian's dict-gcide, 40 MB of English).
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { echo "usage: scripts/demo.sh [--text FILE…] [--out DIR]" >&2; exit 2; }
texts=()
out=runs/demo
while (($#)); do
  case $1 in
    --text) shift; while (($#)) && [[ $1 != --* ]]; do texts+=("$1"); shift; done; ((${#texts[@]})) || usage ;;
    --out) (($# > 1)) || usage; out=$2; shift 2 ;;
    *) usage ;;
  esac
done

if ((${#texts[@]})); then
  for text in "${texts[@]}"; do [[ -r $text ]] || { echo "demo: $text: cannot be read" >&2; exit 2; }; done
  scripts/bootstrap.sh
else
  scripts/bootstrap.sh dict-gcide
fi
scripts/build.sh cpu scalevec
program=build/cpu/bin/scalevec

if ((${#texts[@]} == 0)); then
  texts=(runs/demo-text/gcide.txt)
  if [[ ! -f ${texts[0]} ]]; then
    mkdir -p runs/demo-text
    gzip -dc /usr/share/dictd/gcide.dict.dz >"${texts[0]}.part"
    mv "${texts[0]}.part" "${texts[0]}"
  fi
fi
# Each text has its own token folder, so that the demo on another text does not meet the first one's.
data=runs/demo-text/tokens-$(cat "${texts[@]}" | sha256sum | cut -c1-12)
$program data prepare --text "${texts[@]}" --out "$data"
$program compare experiments/configs/demo.json --set "data.dir=$data" --out "$out" --jobs "$(nproc)"
echo "report: $PWD/$out/report.html"
