"""What the tests of this folder run: small configurations, and comparisons of two folders that should hold the same."""
import json
import os
import pathlib

# The program sets this and starts itself again, which loads LibTorch twice: most of the time of a small run.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Two runs that between them use an elementwise and a matrix method, clipping, traces, accumulation and both thread
# counts. Checkpoints every third step, so that much of a run is spent writing.
BASE = {
    "model": {"vocab_size": 32, "width": 32, "layers": 2, "heads": 2},
    "data": {"synthetic": {"validation_windows": 8}},
    "sequence_length": 32, "batch_size": 4, "steps": 40, "threads": 1,
    "optimizer": {"lr": 1e-2, "max_norm": 1, "rules": [{"match": {}, "weight_decay": 0.1}]},
    "schedule": {"shape": "cosine", "warmup_steps": 5}, "log": {"every": 1, "traces_every": 5},
    "validation": {"every": 10, "batches": 2}, "checkpoint": {"every": 3},
}
TRAIN = {
    "adamw": BASE,
    "muon": {**BASE, "threads": 2, "accumulation": 2, "steps": 31, "validation": {"every": 7, "batches": 1},
             "optimizer": {"lr": 1e-2, "max_norm": 1, "rules": [
                 {"match": {"kind": "matrix"}, "method": "muon", "weight_decay": 0.1},
                 {"match": {"kind": ["embedding", "unembedding", "scale"]}}]}},
}
GRID = {
    "base": {**BASE, "steps": 12},
    "variants": {"decay": {}, "none": {"optimizer.rules.0.weight_decay": 0}},
    "grid": {"optimizer.lr": [1e-2, 3e-3], "seed": [1, 2]},
}

# Times and memory, and the checksums of files that hold them.
MEASURED = {"seconds", "training_seconds", "cpu_seconds", "tokens_per_second", "peak_memory_bytes", "checksum", "logs"}


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in MEASURED}
    return value


def state_of(file):
    """A checkpoint's state without times and without how many checkpoints the run keeps, which differs on purpose."""
    state = without_times(json.loads(file.read_text()))
    return {**state, "config": {k: v for k, v in state["config"].items() if k != "checkpoint"}} if "config" in state else state


def log_lines(file):
    """The whole lines of a JSONL file without times, and whether a torn one follows."""
    if not file.exists():
        return [], False
    text = file.read_text()
    lines = text.split("\n")
    return [without_times(json.loads(line)) for line in lines[:-1]], lines[-1] != ""


def files_of(folder):
    """All but the lock, which names who wrote last."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != "lock")


def file_difference(a, b):
    """Empty if two files of a run say the same apart from times."""
    if a.suffix == ".jsonl":
        return "" if log_lines(a) == log_lines(b) else f"{a} and {b} differ"
    if a.name in ("summary.json", "state.json"):
        one, two = state_of(a), state_of(b)
        return "" if one == two else f"{a} and {b} differ: {one} {two}"
    return "" if a.read_bytes() == b.read_bytes() else f"{a} and {b} differ"


def folder_difference(a, b, ignore=()):
    """The first difference of two folders apart from times; empty if there is none."""
    a, b = pathlib.Path(a), pathlib.Path(b)
    of_a, of_b = ([f for f in files_of(x) if pathlib.PurePath(f).name not in ignore] for x in (a, b))
    if of_a != of_b:
        return f"{a} holds {sorted(set(of_a) - set(of_b))} more and {sorted(set(of_b) - set(of_a))} less than {b}"
    for file in of_a:
        found = file_difference(a / file, b / file)
        if found:
            return found
    return ""
