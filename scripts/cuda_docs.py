#!/usr/bin/env python3
"""Writes the measured tables of docs/cuda.md and docs/performance.md from docs/cuda.json, the results of scripts/gpu_check.sh.
Without that file they say "not measured".

    python3 scripts/cuda_docs.py OUT        # takes OUT/all.json (or a file) as docs/cuda.json, then writes
    python3 scripts/cuda_docs.py            # writes
    python3 scripts/cuda_docs.py --check    # says what differs; exit status 1
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STORED = ROOT / "docs/cuda.json"
BEGIN, END = "<!-- measured: written by scripts/cuda_docs.py -->", "<!-- end of what is measured -->"
NOT = "not measured"


def at(results, *path):
    """The value at this path of a stage that has a result, or nothing."""
    value = results.get(path[0], {}).get("result")
    for key in path[1:]:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def ratio(results, above, below):
    a, b = at(results, *above), at(results, *below)
    return a / b if a is not None and b else None


def time_ratio(results, stage):
    """Of unified's time and plain's: rates the other way round."""
    return ratio(results, (stage, "plain", "tokens_per_s", "median"), (stage, "unified", "tokens_per_s", "median"))


STEP = ("optimizer_step", "decoder of 124M")
# What, its target, whether more is better, its value.
TARGETS = [
    ("AdamW's step with sums: share of the copy bandwidth", 0.85, True,
     lambda r: ratio(r, (*STEP, "ours, with sums", "gb_per_s"), ("bandwidth", "gb_per_s"))),
    ("AdamW's step with sums: time against `torch._fused_adamw_`", 1.00, False,
     lambda r: ratio(r, (*STEP, "ours, with sums", "median"), (*STEP, "_fused_adamw_", "median"))),
    ("Muon's step: time against `torch.optim.Muon`", 0.8, False,
     lambda r: ratio(r, ("muon", "ours", "median"), ("muon", "torch.optim.Muon", "median"))),
    ("124M decoder in bfloat16: tokens/s against `torch.compile`", 1.10, True,
     lambda r: ratio(r, ("training", "ours", "tokens_per_s", "median"), ("training", "torch.compile", "tokens_per_s", "median"))),
    ("124M decoder in bfloat16: share of 989 TFLOP/s (MFU)", 0.45, True, lambda r: at(r, "training", "ours", "mfu")),
    ("unified against plain at 124M: time", 1.02, False, lambda r: time_ratio(r, "unified")),
    ("unified against plain at 124M: memory", 1.01, False,
     lambda r: ratio(r, ("unified", "unified", "peak_bytes"), ("unified", "plain", "peak_bytes"))),
    ("unified against plain at 1B: time", 1.02, False, lambda r: time_ratio(r, "unified_1b")),
    ("unified against plain at 1B: memory", 1.01, False,
     lambda r: ratio(r, ("unified_1b", "unified", "peak_bytes"), ("unified_1b", "plain", "peak_bytes"))),
    ("traces at every step: time against none", 1.01, False,
     lambda r: ratio(r, ("traces", "off", "tokens_per_s", "median"), ("traces", "on", "tokens_per_s", "median"))),
]
CHECKS = [
    ("device_tests", "`test_cuda_device`, `test_cuda_ops` and `test_cuda_train`"),
    ("emulation", "the kernels' numbers beside those of their emulation on a CPU"), ("losses", "50 losses in float32 and bfloat16 against the CPU's"),
    ("methods", "every method, 20 steps, against the CPU"), ("graph", "recorded against enqueued steps"),
    ("resume", "a killed and resumed run"),
    ("ends", "out of memory, two ranks on one GPU, a GPU that fails; two runs and two cells at once"),
    ("sanitizers", "compute-sanitizer, memcheck and racecheck"),
]


def where(results):
    """The machine and the commit, a sentence; of a result that no GPU gave, nothing."""
    gpu, commit = at(results, "machine", "nvidia_smi"), results.get("machine", {}).get("commit")
    return f"GPU, driver, memory, clocks: {'; '.join(gpu)}. Commit {commit}.\n\n" if gpu else ""


def checks_table(results):
    lines = ["| check | result |", "|---|---|"]
    for stage, words in CHECKS:
        entry = results.get(stage, {})
        status = entry.get("status", NOT)
        lines.append(f"| {words} | {status}{': ' + entry['why'] if status == 'failed' else ''} |")
    return "\n".join(lines)


def targets_table(results):
    lines = ["| what | measured | target |", "|---|---|---|"]
    for words, target, more, value_of in TARGETS:
        value = value_of(results)
        bound = f"{'≥' if more else '≤'} {target:.2f}"
        if value is None:
            lines.append(f"| {words} | {NOT} | {bound} |")
        else:
            met = value >= target if more else value <= target
            lines.append(f"| {words} | {value:.3f} | {bound} {'met' if met else 'missed'} |")
    return "\n".join(lines)


def operators_table(results):
    found = at(results, "operators")
    if not found:
        return f"Operators: {NOT}."
    lines = ["| operator, forward and backward | ours, ms | composed, ms | ratio | LibTorch's own, ms |", "|---|---|---|---|---|"]
    for name, took in found.items():
        ours, parts = (1e3 * took[side]["median"] for side in ("ours", "composed"))
        own = f"{1e3 * took['LibTorch']['median']:.3f}" if "LibTorch" in took else "none"
        lines.append(f"| {name} | {ours:.3f} | {parts:.3f} | {ours / parts:.2f} | {own} |")
    return "\n".join(lines)


PAGES = {
    "docs/cuda.md": lambda r: where(r) + checks_table(r),
    "docs/performance.md": lambda r: where(r) + targets_table(r) + "\n\n" + operators_table(r),
}


def with_tables(text, table, page):
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"cuda_docs: {page}: no place for the tables ({BEGIN} … {END})")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def without_outputs(value):
    """Results without what the programs printed."""
    if isinstance(value, dict):
        return {key: without_outputs(v) for key, v in value.items() if key != "output"}
    return value


def main():
    arguments = sys.argv[1:]
    if len(arguments) > 1 or arguments[:1] == ["--help"]:
        sys.exit(__doc__)
    check = arguments == ["--check"]
    if arguments and not check:
        given = pathlib.Path(arguments[0])
        results = json.loads((given / "all.json" if given.is_dir() else given).read_text(encoding="utf-8"))
        if any(entry.get("dry") for entry in results.values()):
            sys.exit("cuda_docs: these results are of a rehearsal on the CPU")
        STORED.write_text(json.dumps(without_outputs(results), indent=1) + "\n", encoding="utf-8")
    results = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    differs = False
    for page, table in PAGES.items():
        path = ROOT / page
        before = path.read_text(encoding="utf-8")
        after = with_tables(before, table(results), page)
        if check and before != after:
            print(f"{page} is not what scripts/cuda_docs.py writes")
            differs = True
        elif not check:
            path.write_text(after, encoding="utf-8")
    sys.exit(1 if differs else 0)


if __name__ == "__main__":
    main()
