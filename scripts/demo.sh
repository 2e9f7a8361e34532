#!/usr/bin/env bash
# Sets up, builds, runs the default comparison on English text and says where the report is.
#   scripts/demo.sh [--full] [--text FILE…] [--out DIR]
# --full compares nine variants at three learning rates in place of five. Without --text it takes the
# English of scripts/texts.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { echo "usage: scripts/demo.sh [--full] [--text FILE…] [--out DIR]" >&2; exit 2; }
texts=()
config=experiments/configs/demo.json
out=
while (($#)); do
  case $1 in
    --full) config=experiments/configs/demo_full.json; shift ;;
    --text) shift; while (($#)) && [[ $1 != --* ]]; do texts+=("$1"); shift; done; ((${#texts[@]})) || usage ;;
    --out) (($# > 1)) || usage; out=$2; shift 2 ;;
    *) usage ;;
  esac
done
[[ -n $out ]] || { out=runs/demo; [[ $config == *_full.json ]] && out=runs/demo-full; }

stage() { printf '\n== %s of 4, after %d:%02d: %s\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)) "$2"; }
if [[ $config == *_full.json ]]; then training="81 runs, some 20 minutes on two cores"; else training="60 runs, some five minutes on two cores"; fi

if ((${#texts[@]})); then
  for text in "${texts[@]}"; do [[ -r $text ]] || { echo "demo: $text: cannot be read" >&2; exit 2; }; done
fi
stage 1 "packages and LibTorch (a minute or two, once)"
if ((${#texts[@]})); then scripts/bootstrap.sh; else scripts/bootstrap.sh dict-gcide; fi

stage 2 "the program is compiled (some five minutes on two cores, once)"
scripts/build.sh cpu scalevec
program=build/cpu/bin/scalevec

stage 3 "the text becomes tokens (seconds)"
if ((${#texts[@]})); then
  # Each text has its own token folder, so that the demo on another text does not meet the first one's.
  data=runs/demo-text/tokens-$(cat "${texts[@]}" | sha256sum | cut -c1-12)
  "$program" data prepare --text "${texts[@]}" --out "$data"
else
  data=runs/texts/english-bytes
  SCALEVEC=$program scripts/texts.sh english-bytes
fi

stage 4 "training: $training"
"$program" compare "$config" --set "data.dir=$data" --out "$out" --jobs "$(nproc)"
case $out in /*) page=$out/report.html ;; *) page=$PWD/$out/report.html ;; esac
printf '\nAll done after %d:%02d. The report: %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$page"
