#!/usr/bin/env python3
"""Seconds that a small run takes with every core, alone and beside processes that keep every core busy, by how its threads
wait for each other. Prints the table of docs/performance.md.

    python3 bench/busy_neighbours.py --program build/cpu/bin/scalevec
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

CONFIG = {
    "model": {"vocab_size": 256, "width": 64, "layers": 2, "heads": 4}, "data": {"synthetic": {}}, "device": "cpu",
    "sequence_length": 64, "batch_size": 4, "optimizer": {"lr": 1e-3, "rules": [{"match": {}}]},
    "log": {"every": 100, "traces_every": 0}, "validation": {"sequences": 1}, "checkpoint": {"minutes": 0}}
# Label, environment, threads (0: one per core).
WAYS = [("the program's (`GOMP_SPINCOUNT=3000`)", {}, 0), ("libgomp's (`GOMP_SPINCOUNT=300000`)", {"GOMP_SPINCOUNT": "300000"}, 0),
        ("`OMP_WAIT_POLICY=passive`", {"OMP_WAIT_POLICY": "passive"}, 0), ('`"threads": 1`', {}, 1)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for round_ in range(options.rounds):
            for neighbours in (0, os.cpu_count()):
                busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
                try:
                    for i, (label, environment, threads) in enumerate(WAYS):
                        (root / "run.json").write_text(json.dumps({**CONFIG, "steps": options.steps, "threads": threads}))
                        out = root / f"{round_}-{neighbours}-{i}"
                        subprocess.run([options.program, "train", root / "run.json", "--out", out], env={**clean, **environment},
                                       stdout=subprocess.DEVNULL, check=True)
                        seconds = json.loads((out / "summary.json").read_text())["training_seconds"]
                        times.setdefault((label, neighbours), []).append(seconds)
                finally:
                    for process in busy:
                        process.kill()
                        process.wait()
    print(f"| waiting | alone | {os.cpu_count()} busy neighbours |\n|---|---|---|")
    for label, *_ in WAYS:
        cells = (times[label, n] for n in (0, os.cpu_count()))
        print(f"| {label} |", " | ".join(f"{statistics.median(t):.2f} [{min(t):.2f}, {max(t):.2f}]" for t in cells), "|")


if __name__ == "__main__":
    main()
