#!/usr/bin/env python3
"""Kills `scalevec train`, `compare` and `report` with SIGKILL at random instants and holds what they end with against
undisturbed runs, bit for bit apart from times.

    python3 tests/resilience/kill_harness.py --program build/cpu/bin/scalevec --train 150 --compare 30 --report 20 --seed 1

A chain is one folder: it is killed and resumed a few times, then left to finish. Half of the instants are spread over a
whole run's length, the other half follow a file event of the run (a checkpoint or a file begun, an old checkpoint removed,
a picture begun) by less than the time such a write takes. Whether a kill fell inside a write is read from what it left. A
chain depends on the seed and its number only, as far as the machine's timing lets it: --only KIND:NUMBER runs one again.

--sweep STRIDE:OFFSET is exact in place of random: strace kills a short run, a comparison and the preparation of tokens in
front of the n-th call that changes a file (write, fsync, rename, mkdir, rmdir, unlinkat), for every n with n % STRIDE ==
OFFSET. With --first N only in front of the first N calls that make a file or folder appear.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import runs
from watch import CREATE, MOVED_TO, Watch

HANG = 120  # seconds after which a process is taken to hang


class Failure(Exception):
    pass


def children_of(pid):
    try:
        return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def leftovers(folder):
    """Traces of writes that are under way or were cut off: (what, file, when)."""
    found = set()
    for path in folder.rglob("*"):
        kind = ("checkpoint" if path.name.startswith(".writing-") else
                "removal" if path.name.startswith(".removing-") else
                "picture" if path.name.startswith(".plot-") else
                "file" if path.name.endswith(".tmp") else None)
        try:
            if kind:
                found.add((kind, str(path), path.stat().st_mtime_ns))
            elif path.suffix == ".jsonl":
                with open(path, "rb") as log:
                    log.seek(max(0, path.stat().st_size - 1))
                    if log.read(1) not in (b"", b"\n"):
                        found.add(("log line", str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:  # a child that outlives its parent is still at work
            pass
    return found


class Program:
    def __init__(self, program):
        self.program = str(pathlib.Path(program).resolve())

    def start(self, args, cwd):
        return subprocess.Popen([self.program, *args], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                text=True)

    def finish(self, args, cwd, statuses=(0,)):
        """Runs to the end; returns how long it took."""
        began = time.monotonic()
        process = self.start(args, cwd)
        try:
            errors = process.communicate(timeout=HANG)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f"{' '.join(args)} hangs") from None
        if process.returncode not in statuses:
            raise Failure(f"{' '.join(args)} ended with status {process.returncode}: {errors.strip()}")
        return time.monotonic() - began

    def kill(self, args, cwd, instant, victims):
        """Starts, waits for the instant and kills those that `victims` names of the process. False if it had ended."""
        process = self.start(args, cwd)
        instant(process)
        targets = victims(process.pid)
        ended = process.poll() is not None
        if not ended:
            for pid in targets:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        try:
            errors = process.communicate(timeout=HANG)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f"{' '.join(args)} hangs") from None
        if process.returncode not in (0, -signal.SIGKILL) and not (process.pid not in targets and process.returncode == 1):
            raise Failure(f"{' '.join(args)} ended with status {process.returncode}: {errors.strip()}")
        return not ended


def after(seconds):
    def instant(process):
        deadline = time.perf_counter() + seconds
        while process.poll() is None and time.perf_counter() < deadline:
            time.sleep(min(1e-3, max(0.0, deadline - time.perf_counter())))
    return instant


def in_write(folders, mask, pattern, number, delay):
    """The instant `delay` seconds after the `number`-th event of that kind in the folders."""
    watch = Watch(*folders)

    def instant(process):
        seen = 0
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < HANG:
            for event, name in watch.names(0.05):
                seen += bool(event & mask and re.search(pattern, name))
                if seen == number:
                    deadline = time.perf_counter() + delay
                    while time.perf_counter() < deadline:
                        pass
                    watch.close()
                    return
        watch.close()
    return instant


def write_time(program, args, cwd, folder):
    """Median seconds of a checkpoint's write in an undisturbed run that already has its folder."""
    watch, began, took = Watch(folder), None, []
    process = program.start(args, cwd)
    while process.poll() is None:
        for mask, name in watch.names(0.05):
            if mask & CREATE and name.startswith(".writing-"):
                began = time.perf_counter()
            elif mask & MOVED_TO and name.startswith("step-") and began:
                took.append(time.perf_counter() - began)
                began = None
    process.communicate()
    watch.close()
    return sorted(took)[len(took) // 2]


class Train:
    """Chains over `scalevec train`."""
    kind = "train"

    def __init__(self, program, root):
        self.program, self.root, self.references = program, root, {}
        for name, config in runs.TRAIN.items():
            folder = root / name
            (folder / "every" / "checkpoints").mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps(config))
            length = program.finish(["train", "config.json", "--out", "whole"], folder)
            began = time.monotonic()
            window = write_time(program, ["train", "config.json", "--set", "checkpoint.keep=100000", "--out", "every"],
                                folder, folder / "every" / "checkpoints")
            length = min(length, time.monotonic() - began)  # the first run may have met a cold disk
            self.references[name] = (folder, length, window)
            print(f"{name}: {length:.2f} s undisturbed, a checkpoint's write {1e3 * window:.1f} ms", flush=True)

    def chain(self, number, rng, budget):
        name = rng.choice(sorted(self.references))
        reference, length, window = self.references[name]
        out = self.root / f"train-{number}"
        (out / "checkpoints").mkdir(parents=True)
        args = ["train", str(reference / "config.json"), "--out", str(out), "--resume"]
        kills = []
        for _ in range(min(budget, rng.randint(1, 4))):
            if rng.random() < 0.5:
                instant = after(rng.uniform(0, length))
            else:
                mask, pattern, time_of = rng.choice([(CREATE, r"^\.writing-", window)] * 4 + [
                    (MOVED_TO, r"^\.removing-", 0.3 * window), (CREATE, r"\.tmp$", 0.3 * window)])
                instant = in_write([out, out / "checkpoints"], mask, pattern, rng.randint(1, 6), rng.uniform(0, time_of))
            before = leftovers(out)
            if not self.program.kill(args, self.root, instant, lambda pid: [pid]):
                break
            kills.append({k for k, _, _ in leftovers(out) - before})
            self.check_killed(out, reference / "every")
        if not (out / "summary.json").exists() or json.loads((out / "summary.json").read_text())["status"] != "done":
            self.program.finish(args, self.root)
        found = runs.folder_difference(out, reference / "whole")
        if found:
            raise Failure(found)
        shutil.rmtree(out)
        return kills

    @staticmethod
    def check_killed(out, every):
        """What a kill may leave: checkpoints under their final names are whole, and the logs a part of the whole ones, by
        the folder of an undisturbed run that keeps every checkpoint."""
        for checkpoint in (out / "checkpoints").glob("step-*"):
            found = runs.folder_difference(checkpoint, every / "checkpoints" / checkpoint.name)
            if found:
                raise Failure("after a kill: " + found)
        for log in ("metrics.jsonl", "traces.jsonl"):
            lines, whole = (runs.log_lines(f / log)[0] for f in (out, every))
            if lines != whole[:len(lines)]:
                raise Failure(f"after a kill: {out / log} is not a part of the undisturbed run's")


class Sweep:
    """Kills a program in front of each of its system calls that change a file, told by strace, and runs it again."""
    calls = ("write", "fsync", "rename", "mkdir", "rmdir", "unlinkat")
    follow = ["-f"]  # threads and children, too

    def __init__(self, program, root):
        self.program, self.root = program, root
        (root / "whole").mkdir(parents=True)
        self.prepare()
        log = root / "calls"
        self.strace(["-o", str(log), "-e", "trace=" + ",".join(self.calls)], root / "whole")
        self.counts = collections.Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(), re.MULTILINE))

    def prepare(self):
        """Writes what the program reads."""

    def check_killed(self, out):
        """What a kill may leave."""

    def strace(self, options, out):
        return subprocess.run(["strace", *self.follow, "-qq", *options, self.program.program, *self.arguments], cwd=out,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=HANG).returncode

    def run(self, stride, offset, first):
        kills = collections.Counter()
        for call in ("rename", "mkdir") if first else self.calls:
            for n in range(1, min(self.counts[call], first or self.counts[call]) + 1):
                if n % stride != offset:
                    continue
                out = self.root / f"{call}-{n}"
                out.mkdir()
                status = self.strace(["-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={n}"], out)
                if status not in (-signal.SIGKILL, 128 + signal.SIGKILL):
                    raise Failure(f"{self.arguments} was not killed in front of {call} number {n}: status {status}")
                where = f"{self.kind} killed in front of {call} number {n}: "
                try:
                    self.check_killed(out)
                    self.program.finish(self.arguments, out)
                except Failure as failure:
                    raise Failure(where + str(failure)) from None
                found = self.difference(out, self.root / "whole")
                if found:
                    raise Failure(where + found)
                shutil.rmtree(out)
                kills[call] += 1
        return kills


class SweepTrain(Sweep):
    kind = "train"
    arguments = ["train", "../config.json", "--out", "run", "--resume"]
    difference = staticmethod(runs.folder_difference)

    def prepare(self):
        (self.root / "config.json").write_text(json.dumps({**runs.BASE, "steps": 7}))
        (self.root / "every").mkdir()
        self.program.finish([*self.arguments, "--set", "checkpoint.keep=100000"], self.root / "every")

    def check_killed(self, out):
        Train.check_killed(out / "run", self.root / "every" / "run")


class SweepCompare(Sweep):
    """The comparison itself: cells that run go on without it."""
    kind = "compare"
    arguments = ["compare", "../grid.json", "--out", "grid", "--jobs", "2"]
    follow = []

    def prepare(self):
        grid = {"base": {**runs.BASE, "steps": 6}, "variants": {"decay": {}}, "grid": {"optimizer.lr": [1e-2], "seed": [1, 2]}}
        (self.root / "grid.json").write_text(json.dumps(grid))

    @staticmethod
    def difference(a, b):
        return comparison_difference(a / "grid", b / "grid")


class SweepPrepare(Sweep):
    kind = "data prepare"
    arguments = ["data", "prepare", "--text", "../text.txt", "--block", "1024", "--val-fraction", "0.2", "--out", "data"]
    difference = staticmethod(runs.folder_difference)

    def prepare(self):
        (self.root / "text.txt").write_text("\n".join(f"line {i} of a text" for i in range(2000)))


REPORT_TIME = re.compile(rb"<dt>Computing time</dt><dd>[^<]*</dd>")


def comparison_difference(a, b):
    found = ""
    for file in runs.files_of(b):
        if pathlib.PurePath(file).name != "log.txt":
            one, two = a / file, b / file
            if not one.exists():
                found = found or f"{one} is missing"
            elif file == "report.html":
                same = REPORT_TIME.sub(b"", one.read_bytes()) == REPORT_TIME.sub(b"", two.read_bytes())
                found = found or ("" if same else f"{one} and {two} differ")
            else:
                found = found or runs.file_difference(one, two)
    more = sorted(set(runs.files_of(a)) - set(runs.files_of(b)))
    return found or (f"{a} holds {more} more than {b}" if more else "")


class Compare:
    """Chains over `scalevec compare`: the whole comparison killed at once, only its parent, or only a child."""
    kind = "compare"
    arguments = ["compare", "../grid.json", "--out", "grid", "--jobs", "2"]

    def __init__(self, program, root):
        self.program, self.root = program, root
        root.mkdir()
        (root / "grid.json").write_text(json.dumps(runs.GRID))
        (root / "whole").mkdir()
        self.length = program.finish(self.arguments, root / "whole")
        self.whole = root / "whole" / "grid"
        print(f"compare: {self.length:.2f} s undisturbed, {len(json.loads((self.whole / 'compare.json').read_text())['cells'])} cells",
              flush=True)

    def instant(self, rng, out):
        return after(rng.uniform(0, self.length))

    def victims(self, rng):
        return rng.choice([lambda pid: [pid, *children_of(pid)], lambda pid: [pid],
                           lambda pid: children_of(pid)[:1] or [pid]])

    def prepare(self, out):
        (out / "grid").mkdir(parents=True)

    def chain(self, number, rng, budget):
        out = self.root / f"{self.kind}-{number}"
        self.prepare(out)
        kills = []
        for _ in range(min(budget, rng.randint(1, 4))):
            before = leftovers(out)
            if not self.program.kill(self.arguments, out, self.instant(rng, out / "grid"), self.victims(rng)):
                break
            kills.append({k for k, _, _ in leftovers(out) - before})
        self.program.finish(self.arguments, out)
        found = comparison_difference(out / "grid", self.whole)
        if found:
            raise Failure(found)
        shutil.rmtree(out)
        return kills


class Report(Compare):
    """Chains over the report of a comparison whose cells are done."""
    kind = "report"

    def __init__(self, program, root, compare):
        self.program, self.root, self.whole = program, root, compare.whole
        shutil.copytree(compare.root, root)
        self.length = program.finish(self.arguments, root / "whole")
        self.pictures = len(list((self.whole / "report_files").glob("*.svg")))
        print(f"report: {self.length:.2f} s undisturbed, {self.pictures} pictures", flush=True)

    def prepare(self, out):
        shutil.copytree(self.whole, out / "grid")
        for path in (out / "grid").glob("report*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (out / "grid" / "report_files").mkdir()

    def victims(self, rng):
        return rng.choice([lambda pid: [pid, *children_of(pid)], lambda pid: [pid]])

    def instant(self, rng, out):
        if rng.random() < 0.4:
            return after(rng.uniform(0, self.length))
        if rng.random() < 0.5:
            return in_write([out], CREATE, r"^(report|compare)\..*\.tmp$", rng.randint(1, 3), rng.uniform(0, 0.003))
        return in_write([out / "report_files"], CREATE, r"^\.plot-", rng.randint(1, self.pictures),
                        rng.uniform(0, self.length / self.pictures))


SWEEPS = (SweepTrain, SweepCompare, SweepPrepare)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", required=True)
    for kind in ("train", "compare", "report"):
        parser.add_argument("--" + kind, type=int, default=0, metavar="KILLS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one chain of that seed")
    parser.add_argument("--sweep", metavar="STRIDE:OFFSET")
    parser.add_argument("--first", type=int, metavar="N", help="of a sweep: only the first N calls of rename and of mkdir")
    parser.add_argument("--of", choices=sorted(s.kind for s in SWEEPS), action="append", help="of a sweep: only these")
    parser.add_argument("--folder", help="where the runs are made; default: the system's temporary folder")
    args = parser.parse_args()
    wanted = {k: getattr(args, k) for k in ("train", "compare", "report")}
    only = None
    if args.only:
        kind, only = args.only.split(":")[0], int(args.only.split(":")[1])
        wanted = {k: int(k == kind) * 1000 for k in wanted}

    root = pathlib.Path(tempfile.mkdtemp(prefix="scalevec-kill-", dir=args.folder))
    program = Program(args.program)
    began = time.monotonic()
    makers = {}
    if wanted["train"]:
        makers["train"] = Train(program, root / "train")
    if wanted["compare"] or wanted["report"]:
        makers["compare"] = Compare(program, root / "compare")
    if wanted["report"]:
        makers["report"] = Report(program, root / "report", makers["compare"])
    for kind in makers:
        inside, kills, chain = collections.Counter(), 0, only or 0
        while kills < wanted[kind]:
            try:
                made = makers[kind].chain(chain, random.Random(f"{args.seed}/{kind}/{chain}"), wanted[kind] - kills)
            except Failure as failure:
                print(f"FAILED: {failure}\n  seed {args.seed}, chain {kind}:{chain}, its folder is kept in {root}; again: "
                      f"--seed {args.seed} --only {kind}:{chain}")
                return 1
            kills += len(made)
            for writes in made:
                inside.update(writes or {"between writes"})
            chain += 1
            if only is not None:
                break
        if kills:
            words = ", ".join(f"{n} {what}" for what, n in sorted(inside.items()))
            print(f"{kind}: {kills} kills in {chain} chains, seed {args.seed}: all ended as undisturbed; fell in: {words}",
                  flush=True)
    if args.sweep and not shutil.which("strace"):
        print("sweep: skipped, there is no strace here")
    elif args.sweep:
        for kind in SWEEPS:
            if args.of and kind.kind not in args.of:
                continue
            sweep = kind(program, root / f"sweep-{kind.kind.replace(' ', '-')}")
            try:
                kills = sweep.run(*map(int, args.sweep.split(":")), args.first)
            except Failure as failure:
                print(f"FAILED: {failure}\n  its folder is kept in {root}")
                return 1
            words = ", ".join(f"{kills[c]} of {sweep.counts[c]} {c}" for c in Sweep.calls if kills[c])
            print(f"sweep {args.sweep} of {kind.kind}: {sum(kills.values())} kills, all ended as undisturbed; in front of: {words}",
                  flush=True)
    shutil.rmtree(root)
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
