#!/usr/bin/env bash
# Shows whether two builds of the program write the same: text, run records, reports, figures and the ledger of a fixed
# set of commands. Masked: times, rates, memory, commits, and the checksums of what has them.
#   scripts/compare_outputs.sh OLD_PROGRAM NEW_PROGRAM [DIR]     DIR keeps what they wrote; finished runs there are not repeated
# FIGURES="T1 T5" chooses the figures (all: every one), CLAIMS="decay-output" the claims whose quick ledger is made.
set -euo pipefail
(($# == 2 || $# == 3)) || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
old=$(realpath "$1") new=$(realpath "$2") dir=${3:-}
[[ -n $dir ]] || { dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; }
# The compiler places fused multiply-adds anew in every build, which changes last bits: the baseline kernels have none. MKL
# has its own, by where memory lies.
export SCALEVEC_ISA=${SCALEVEC_ISA:-baseline} MKL_CBWR=${MKL_CBWR:-AUTO,STRICT}
read -ra figures <<<"${FIGURES:-T1 T3 T5 T8 T13 P1 P7}"
[[ ${figures[*]} == all ]] && figures=(--all)
read -ra claims <<<"${CLAIMS:-decay-output}"

base='"model": {"vocab_size": 64, "width": 16, "layers": 1, "heads": 1, "qk_norm": true}, "data": {"synthetic": {}},
  "sequence_length": 16, "batch_size": 4, "steps": 40, "threads": 1, "seed": 1,
  "optimizer": {"lr": 4e-3, "max_norm": 1.0, "rules": [
    {"match": {"kind": ["matrix", "embedding", "unembedding"]}, "weight_decay": 0.1}, {"match": {"kind": "scale"}}]},
  "schedule": {"shape": "cosine", "warmup_steps": 4}, "validation": {"every": 10, "batches": 2},
  "log": {"every": 2, "traces_every": 4}, "checkpoint": {"every": 0}'

run() {  # NAME COMMAND…: what it prints goes to NAME.txt, and its status is part of it
  local name=$1 status=0
  shift
  "$@" >"$name.txt" 2>&1 || status=$?
  echo "exit status $status" >>"$name.txt"
}

commands() {
  local program=$1
  echo "{$base}" >run.json
  echo "{\"name\": \"grid & <names>\", \"base\": {$base}, \"tuning_seeds\": [9],
    \"variants\": {\"plain\": {}, \"no gamma\": {\"model.scale_vectors\": false, \"model.qk_norm_scale\": false},
      \"10x, <b>\": {\"optimizer.rules.1.lr_mult\": 10}}, \"grid\": {\"optimizer.lr\": [2e-3, 8e-3, 30], \"seed\": [1, 2, 3]}}" >grid.json
  echo "{\"base\": {$base}, \"trunk\": {\"set\": {\"steps\": 20}, \"at\": 10}, \"variants\": {\"plain\": {}, \"steady\": {\"optimizer.rules.1.lr_mult\": 0}},
    \"grid\": {\"optimizer.lr\": [2e-3, 4e-3], \"seed\": [1, 2]}}" >trunk.json
  run claims-list "$program" claims --list
  for tier in quick standard full; do run "plan-$tier" "$program" claims --tier $tier --plan --out "plan-$tier"; done
  run theory-list "$program" theory --list
  run train-plan "$program" plan run.json
  run train "$program" train run.json --out run --resume
  run compare "$program" compare grid.json --out grid
  run compare-trunk "$program" compare trunk.json --out trunk
  run report-grid "$program" report grid --out report/grid.html --title 'A <title>'
  run report-runs "$program" report run grid/plain/lr=0.002,seed=1 --out report/runs.html
  run report-run "$program" report run --out report/run.html
  run scales "$program" model scales run --out scales
  run claims "$program" claims "${claims[@]}" --tier quick --out ledger
  run theory "$program" theory "${figures[@]}" --out figures
}

for build in old new; do
  mkdir -p "$dir/$build"
  (cd "$dir/$build" && commands "${!build}")
done

python3 - "$dir" <<'EOF'
import json, math, pathlib, re, sys
root = pathlib.Path(sys.argv[1]).resolve()
TIMED = re.compile(r"seconds|tokens_per_second|checksum$|git_commit|peak_memory|runs_by_commit|^logs$|^versions$|^date|^time|^reproduction$")
MASKS = [(r"\(\d[\d.e+]* (ms|s|min|h)\)", "(TIME)"), (r", about [\d.]+ (ms|s|min|h) left", ""), (r"[\d.]+k tokens/s", "RATE"),
         (r"  [\d:]+ left", ""), (r"[\d.]+ (minutes|hours) (over|of)", "TIME"), (r"<dt>(Commit|Versions|git_commit|versions)</dt><dd>.*?</dd>", ""),
         (r"takes about .*", ""), (r"process \d+", "PROCESS")]
SKIPPED = re.compile(r"events\.out|(^|/)(lock|log\.txt)$|/tensorboard/")


def masked(value):
    if isinstance(value, dict):
        # A policy's checksum is that of a file with the path of the trunk in it.
        return {k: masked(v) for k, v in value.items() if not TIMED.search(k) and not (k == "policy" and isinstance(v, str))}
    return [masked(v) for v in value] if isinstance(value, list) else value


def tensors(data):
    """Each tensor's type, shape and bytes, without the checksum of the file."""
    start = 8 + int.from_bytes(data[:8], "little")
    entries = {k: v for k, v in json.loads(data[8:start]).items() if k != "__metadata__"}
    return {k: (v["dtype"], v["shape"], data[start + v["data_offsets"][0]:start + v["data_offsets"][1]]) for k, v in entries.items()}


def content(file):
    if file.suffix == ".safetensors":
        return tensors(file.read_bytes())
    if file.suffix in (".png", ".bin"):
        return file.read_bytes()
    text = file.read_text(errors="replace")
    for build in ("old", "new"):
        text = text.replace(f"{root}/{build}/", "")
    if file.suffix in (".json", ".jsonl"):
        try:
            return [masked(json.loads(line)) for line in ([text] if file.suffix == ".json" else text.splitlines())]
        except ValueError:
            pass
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    if file.name == "runs.html" or file.name == "run.html":  # the column of tokens per second
        text = re.sub(r'(data-label="Tokens per second"><div>)\d+', r"\1RATE", text)
    if file.name in ("compare.txt", "compare-trunk.txt", "claims.txt"):  # cells that end together, in any order; none where all were there
        text = "\n".join(line for line in text.splitlines() if not re.match(r"\[\d+/|stage|trunk: |\d+ of \d+ cells were", line))
    return text


def parts(content):
    """Of a text the numbers, and what is between them."""
    if not isinstance(content, str):
        return content
    return [float(x) if i % 2 else x for i, x in enumerate(re.split(r"(-?\d+\.\d+(?:e[+-]?\d+)?)", content))]


def close(a, b):
    if type(a) is type(b) and isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if type(a) is type(b) and isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return a == b


names = {b: {f.relative_to(root / b).as_posix() for f in (root / b).rglob("*") if f.is_file()} for b in ("old", "new")}
wrong = [f"{name}: only in {b}" for b, other in (("old", "new"), ("new", "old")) for name in sorted(names[b] - names[other]) if not SKIPPED.search(name)]
equal = rounded = 0
for name in sorted(names["old"] & names["new"]):
    if SKIPPED.search(name):
        continue
    a, b = content(root / "old" / name), content(root / "new" / name)
    if a == b:
        equal += 1
    elif close(parts(a), parts(b)):
        rounded += 1
    else:
        wrong.append(name)
print(f"{equal} files are equal" + (f", {rounded} up to rounding in the last digits" if rounded else "") + f", {len(wrong)} differ")
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
EOF
