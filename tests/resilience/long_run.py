#!/usr/bin/env python3
"""A long run of a small decoder: resident memory, open files, the growth of its logs and its speed from beginning to end;
then a report over it, and one over a comparison of many cells. Takes minutes; the speed counts on a quiet machine only.

    python3 tests/resilience/long_run.py --program build/cpu/bin/scalevec --steps 100000 --cells 1000
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

CONFIG = {
    "model": {"vocab_size": 32, "width": 16, "layers": 1, "heads": 2}, "data": {"synthetic": {"validation_windows": 8}},
    "sequence_length": 16, "batch_size": 2, "threads": 1,
    "optimizer": {"lr": 1e-3, "max_norm": 1, "rules": [{"match": {}, "weight_decay": 0.1}]},
    "log": {"every": 10, "traces_every": 100, "formats": ["jsonl", "tensorboard"]},
    "validation": {"every": 1000, "sequences": 8}, "checkpoint": {"every": 5000, "keep": 2},
}


def rss_and_files(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return rss, len(os.listdir(f"/proc/{pid}/fd"))


def step_of(log):
    """The last step that a log tells, read from its end."""
    with open(log, "rb") as f:
        f.seek(max(0, f.seek(0, 2) - 4096))
        lines = f.read().split(b"\n")[:-1]
    return json.loads(lines[-1])["step"] if lines else 0


def reported(program, folder):
    """Seconds and peak memory in MB of a report."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    began = time.monotonic()
    done = subprocess.run([program, "report", folder, "--out", folder / "page.html"], capture_output=True, text=True)
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"report: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return seconds, (after if after > before else before) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--cells", type=int, default=1000)
    args = parser.parse_args()
    program = str(pathlib.Path(args.program).resolve())
    root = pathlib.Path(tempfile.mkdtemp(prefix="scalevec-long-"))
    failed = []

    def check(holds, what):
        print(("ok    " if holds else "FAILED ") + what, flush=True)
        if not holds:
            failed.append(what)

    # The reports come first for the smaller one, since a peak of children never falls.
    if args.cells:
        variants = {f"v{i}": {"optimizer.rules.0.weight_decay": i / 1000} for i in range(args.cells // 4)}
        grid = {"base": {**CONFIG, "steps": 2, "log": {"every": 1, "traces_every": 1}, "checkpoint": {"every": 0},
                         "validation": {"sequences": 8}},
                "variants": variants, "grid": {"optimizer.lr": [1e-3, 2e-3], "seed": [1, 2]}}
        (root / "grid.json").write_text(json.dumps(grid))
        done = subprocess.run([program, "compare", "grid.json", "--out", "cells", "--jobs", str(os.cpu_count())], cwd=root,
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"compare: {done.stderr[-2000:]}")
        seconds, memory = reported(program, root / "cells")
        check(seconds <= 30 and memory <= 1024, f"report over {args.cells} cells: {seconds:.1f} s, {memory:.0f} MB")

    if args.steps:
        (root / "config.json").write_text(json.dumps({**CONFIG, "steps": args.steps}))
        process = subprocess.Popen([program, "train", "config.json", "--out", "run"], cwd=root, stdout=subprocess.DEVNULL)
        log = root / "run" / "metrics.jsonl"
        samples = []
        while process.poll() is None:
            time.sleep(0.1)
            try:
                samples.append((step_of(log), time.monotonic(), *rss_and_files(process.pid)))
            except (OSError, StopIteration):
                continue
        check(process.returncode == 0, f"the run ended with {process.returncode}")
        settled = [s for s in samples if s[0] >= 1000]
        tenth = args.steps // 10
        first, last = settled[0], settled[-1]
        growth = last[2] / first[2] - 1
        check(growth <= 0.01, f"resident memory {first[2] / 1024:.1f} to {last[2] / 1024:.1f} MB after step {first[0]}: {100 * growth:+.2f} %")
        # A checkpoint that is being written has files open.
        files = [min(s[3] for s in part) for part in (settled[:len(settled) // 10 + 1], settled[-len(settled) // 10 - 1:])]
        check(files[1] <= files[0], f"open files: {files[0]} in the first tenth, {files[1]} in the last")
        rate = []
        for low, high in ((1000, 1000 + tenth), (args.steps - tenth, args.steps)):
            part = [s for s in settled if low <= s[0] <= high]
            rate.append((part[-1][0] - part[0][0]) / (part[-1][1] - part[0][1]))
        check(rate[1] >= 0.99 * rate[0], f"{rate[0]:.0f} steps/s in the first tenth, {rate[1]:.0f} in the last: {rate[1] / rate[0]:.3f}")
        for file in [log, root / "run" / "traces.jsonl", *(root / "run" / "tensorboard").iterdir()]:
            print(f"      {file.name}: {file.stat().st_size / args.steps:.1f} bytes a step")
        seconds, memory = reported(program, root / "run")
        check(seconds <= 30 and memory <= 1024, f"report over {args.steps} steps: {seconds:.1f} s, {memory:.0f} MB")
    if not failed:
        shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
