#!/usr/bin/env bash
# Trains SmolLM2-135M for 20 more steps on English text under plain, HG, DP and OR scale vectors, and checks that the four
# start at the same validation loss to 1e-4 and end below it. Needs models/smollm2 (scripts/smollm2.sh) and the text of
# the Debian package dict-gcide; takes some minutes, 8 GB of memory and 7 GB of disk.
#   scripts/continue_smollm2.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
if (($# > 1)) || [[ ${1-} == -* ]]; then echo "usage: scripts/continue_smollm2.sh [FOLDER]" >&2; exit 2; fi
out=${1:-runs/continue-smollm2}
program=${SCALEVEC:-build/cpu/bin/scalevec}
if [ ! -e runs/smollm2-text/data.json ]; then
  [ -r /usr/share/dictd/gcide.dict.dz ] || { echo "$0: needs the Debian package dict-gcide" >&2; exit 1; }
  mkdir -p runs
  # In a process substitution, since head ends the pipe early, which would end the script.
  head -c 2000000 < <(gzip -dc /usr/share/dictd/gcide.dict.dz 2>/dev/null | LC_ALL=C tr -d '\200-\377') > runs/gcide-2mb.txt
  "$program" data prepare --text runs/gcide-2mb.txt --tokenizer models/smollm2 --out runs/smollm2-text
fi
"$program" compare experiments/configs/continue_smollm2.json --out "$out"
python3 - "$out" <<'PYTHON'
import json, pathlib, sys
losses = {}
for variant in ("plain", "hg", "dp", "or"):
    lines = map(json.loads, (pathlib.Path(sys.argv[1]) / variant / "seed=1" / "metrics.jsonl").read_text().splitlines())
    losses[variant] = [line["loss"] for line in lines if line["kind"] == "val"]
    print(f"{variant:6} validation loss {losses[variant][0]:.6f} -> {losses[variant][-1]:.6f}")
first = [l[0] for l in losses.values()]
gap = max(first) - min(first)
print(f"largest difference at step 0: {gap:.1e}")
sys.exit(0 if gap <= 1e-4 and all(l[-1] < l[0] for l in losses.values()) else "not as expected")
PYTHON
