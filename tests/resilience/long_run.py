#!/usr/bin/env python3
"""A long run of a small decoder: resident memory, open files, the growth of its logs and its speed at the end; then a
report over it, and one over a comparison of many cells. Takes minutes.

    python3 tests/resilience/long_run.py --program build/cpu/bin/scalevec --steps 100000 --cells 1000

The speed is that of the last tenth of the steps against a new run of the same configuration. The two take turns of half a
second and their steps are counted per second of processor time, so that other work on the machine meets both alike.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as in runs.py

CONFIG = {
    "model": {"vocab_size": 32, "width": 16, "layers": 1, "heads": 2}, "data": {"synthetic": {"validation_windows": 8}},
    "sequence_length": 16, "batch_size": 2, "threads": 1,
    "optimizer": {"lr": 1e-3, "max_norm": 1, "rules": [{"match": {}, "weight_decay": 0.1}]},
    "log": {"every": 10, "traces_every": 100, "formats": ["jsonl", "tensorboard"]},
    # The first thousand steps have all that a run does: the code of a first checkpoint becomes resident too.
    "validation": {"every": 500, "sequences": 8}, "checkpoint": {"every": 500, "keep": 2},
}


def memory_and_files(pid):
    """Resident memory in KiB, of it what is not a file's (code of libraries is), and the number of open files; OSError of a
    process that has ended, whose memory is gone before the process is."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    if "VmRSS" not in status:
        raise ProcessLookupError(pid)
    rss, anon = (int(status[key].split()[0]) for key in ("VmRSS", "RssAnon"))
    return rss, len(os.listdir(f"/proc/{pid}/fd")), anon


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def step_of(log):
    """The last step that a log tells, read from its end."""
    with open(log, "rb") as f:
        f.seek(max(0, f.seek(0, 2) - 4096))
        lines = f.read().split(b"\n")[:-1]
    return json.loads(lines[-1])["step"] if lines else 0


class Run:
    def __init__(self, program, root, name):
        self.folder = root / name
        self.log = self.folder / "metrics.jsonl"
        self.process = subprocess.Popen([program, "train", "config.json", "--out", name], cwd=root, stdout=subprocess.DEVNULL)

    def step(self):
        return step_of(self.log) if self.log.exists() else 0

    def goes_on(self):
        return self.process.poll() is None

    def send(self, number):
        if self.goes_on():
            self.process.send_signal(number)


def speed_ratio(run, program, root, enough):
    """Steps per second of processor time of the run over those of a new one, both for so many steps."""
    new = Run(program, root, "new")
    while new.step() < 1000 and new.goes_on():
        time.sleep(0.05)
    new.send(signal.SIGSTOP)
    steps, seconds = [0, 0], [0.0, 0.0]
    while min(steps) < enough and run.goes_on() and new.goes_on():
        for i, (one, other) in enumerate(((run, new), (new, run))):
            other.send(signal.SIGSTOP)
            before = one.step(), processor_seconds(one.process.pid)
            one.send(signal.SIGCONT)
            time.sleep(0.5)
            one.send(signal.SIGSTOP)
            if not one.goes_on():
                break
            steps[i] += one.step() - before[0]
            seconds[i] += processor_seconds(one.process.pid) - before[1]
    new.process.kill()
    new.process.wait()
    run.send(signal.SIGCONT)
    return (steps[0] / seconds[0]) / (steps[1] / seconds[1]), steps[0] / seconds[0], steps


def reported(program, folder):
    """Seconds, peak memory in MB and seconds of processor time of a report."""
    began = time.monotonic()
    process = subprocess.Popen([program, "report", folder, "--out", folder / "page.html"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"report: status {status}")
    return time.monotonic() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def copy_cells(folder):
    """Gives each cell that was not trained the files of one that was; returns their number."""
    cells = json.loads((folder / "compare.json").read_text())["cells"]
    trained = [c for c in cells if (folder / c["name"] / "summary.json").exists()]
    left = [c for c in cells if c not in trained]
    for i, cell in enumerate(left):
        shutil.copytree(folder / trained[i % len(trained)]["name"], folder / cell["name"], ignore=shutil.ignore_patterns("lock"))
        # Without a checksum, as files of version 0.1: it is read, with a note.
        (folder / cell["name"] / "cell.json").write_text(json.dumps({k: v for k, v in cell.items() if k != "name"}))
    return len(left)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--trained", type=int, metavar="N", help="cells that are trained, the others are copies; default: all")
    parser.add_argument("--folder", help="where the runs are made; default: the system's temporary folder")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cells at the same time")
    args = parser.parse_args()
    program = str(pathlib.Path(args.program).resolve())
    root = pathlib.Path(tempfile.mkdtemp(prefix="scalevec-long-", dir=args.folder))
    failed = []

    def check(holds, what):
        print(("ok    " if holds else "FAILED ") + what, flush=True)
        if not holds:
            failed.append(what)

    if args.cells:
        variants = {f"v{i}": {"optimizer.rules.0.weight_decay": i / 1000} for i in range(args.cells // 4)}
        grid = {"base": {**CONFIG, "steps": 2, "log": {"every": 1, "traces_every": 1}, "checkpoint": {"every": 0},
                         "validation": {"sequences": 8}},
                "variants": variants, "grid": {"optimizer.lr": [1e-3, 2e-3], "seed": [1, 2]}}
        (root / "grid.json").write_text(json.dumps(grid))
        trained = args.trained or args.cells
        part = ["--shard", f"1/{args.cells // trained}"] if trained < args.cells else []
        done = subprocess.run([program, "compare", "grid.json", "--out", "cells", "--jobs", str(args.jobs), *part], cwd=root,
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"compare: {done.stderr[-2000:]}")
        copied = copy_cells(root / "cells")
        seconds, memory, used = reported(program, root / "cells")
        check(seconds <= 30 and memory <= 1024, f"report over {args.cells} cells, {copied} of them copies: {seconds:.1f} s "
                                                f"({used:.1f} s of processor time), {memory:.0f} MB")

    if args.steps:
        (root / "config.json").write_text(json.dumps({**CONFIG, "steps": args.steps}))
        run = Run(program, root, "run")
        samples, measured = [], None
        while run.goes_on():
            time.sleep(0.1)
            try:
                samples.append((run.step(), *memory_and_files(run.process.pid)))
            except OSError:
                continue
            if samples[-1][0] >= 0.9 * args.steps and not measured:
                measured = speed_ratio(run, program, root, args.steps // 20)
        check(run.process.returncode == 0, f"the run ended with {run.process.returncode}")
        # Up to the last step: what ends a run is code that was not used, and so not resident, before.
        settled = [s for s in samples if 1000 <= s[0] < args.steps]
        first, last = settled[0], settled[-1]
        for what, i in (("resident memory", 1), ("of it not the code of libraries", 3)):
            growth = last[i] / first[i] - 1
            check(growth <= 0.01, f"{what} {first[i] / 1024:.1f} to {last[i] / 1024:.1f} MB from step {first[0]} to {last[0]}: "
                                  f"{100 * growth:+.2f} %")
        # A checkpoint that is being written has files open.
        files = [min(s[2] for s in part) for part in (settled[:len(settled) // 10 + 1], settled[-len(settled) // 10 - 1:])]
        check(files[1] <= files[0], f"open files: {files[0]} in the first tenth, {files[1]} in the last")
        ratio, rate, steps = measured
        check(ratio >= 0.99, f"speed of the last tenth {ratio:.3f} of a new run's ({rate:.0f} steps a second of processor time; "
                             f"{steps[0]} and {steps[1]} steps)")
        for file in [run.log, run.folder / "traces.jsonl", *(run.folder / "tensorboard").iterdir()]:
            print(f"      {file.name}: {file.stat().st_size / args.steps:.1f} bytes a step")
        seconds, memory, used = reported(program, root / "run")
        check(seconds <= 30 and memory <= 1024, f"report over {args.steps} steps: {seconds:.1f} s ({used:.1f} s of processor "
                                                f"time), {memory:.0f} MB")
    if not failed:
        shutil.rmtree(root)
    return 1 if failed else 0


sys.exit(main())
