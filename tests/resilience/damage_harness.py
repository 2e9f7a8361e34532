#!/usr/bin/env python3
"""Damages files that the program wrote and has them read again: the outcome is that of the undamaged folder, or one clear
line and a status other than 0, never another number.

    python3 tests/resilience/damage_harness.py --program build/cpu/bin/scalevec --cases 100 --seed 1

Folders: a run that was killed (resumed; reported and drawn), runs that are done and probed (reported and drawn),
comparisons (collected, or run again), prepared tokens (trained on), model folders (logits, export), and a run's newest
checkpoint (logits, and a run that goes on from it). In each, one file is hit in one way: random bits flipped, a page of zeros,
the tail dropped or doubled, cut to whole pages, exchanged with the file of the same name of another folder, or replaced
by an older copy. Case number n of a seed is always the same one; --only n makes it alone and keeps its folder.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import runs

PAGE = 4096
HANG = 300  # seconds after which a program is taken to hang
RUN = {**runs.BASE, "steps": 24, "checkpoint": {"every": 4, "keep": 3}, "validation": {"every": 8, "batches": 2}}
GRID = {"base": {**runs.BASE, "steps": 6}, "variants": {"decay": {}, "none": {"optimizer.rules.0.weight_decay": 0}},
        "grid": {"optimizer.lr": [1e-2], "seed": [1, 2]}}
MODEL = {"type": "decoder", **runs.BASE["model"]}


class Failure(Exception):
    pass


def flip(data, rng, _):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def zero_page(data, rng, _):
    at = rng.randrange(0, len(data), PAGE)
    return data[:at] + bytes(len(data[at:at + PAGE])) + data[at + PAGE:]


def drop_tail(data, rng, _):
    return data[:-rng.randint(1, len(data))]


def double_tail(data, rng, _):
    return data + data[-rng.randint(1, len(data)):]


def whole_pages(data, rng, _):
    return data[:PAGE * rng.randint(0, max(0, len(data) - 1) // PAGE)]


def replaced(data, rng, others):
    return rng.choice(others) if others else flip(data, rng, others)


DAMAGES = {"bits": flip, "zero page": zero_page, "tail dropped": drop_tail, "tail doubled": double_tail,
           "cut to pages": whole_pages, "another's": replaced}


def stacks(pid):
    """Where the threads of a process are: by gdb, or what the kernel says without it."""
    if shutil.which("gdb"):
        return subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"], capture_output=True, text=True).stdout
    return [(t / "wchan").read_text() + ": " + (t / "syscall").read_text() for t in pathlib.Path(f"/proc/{pid}/task").iterdir()]


class Program:
    def __init__(self, program):
        self.program = str(pathlib.Path(program).resolve())

    def __call__(self, args, cwd):
        with subprocess.Popen([self.program, *map(str, args)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            try:
                out, errors = process.communicate(timeout=HANG)
            except subprocess.TimeoutExpired:
                where = stacks(process.pid)
                process.kill()
                raise Failure(f"{args[0]} still runs after {HANG} s: {where}") from None
        return subprocess.CompletedProcess(args, process.returncode, out, errors)

    def good(self, args, cwd):
        done = self(args, cwd)
        if done.returncode:
            raise Failure(f"{args} ended with {done.returncode}: {done.stderr}")


def one_line(done):
    """The last line on stderr says what is wrong; before it only lines of ours."""
    lines = done.stderr.strip().split("\n")
    return all(line.startswith(("scalevec: ", "note: ")) for line in lines) and re.search(r"[/.:]", lines[-1])


def numbers_of(file):
    """A report's numbers without times, names of folders and machine."""
    elsewhere = runs.MEASURED | {"dir", "command", "label", "title", "of", "reproduction"}

    def clean(value):
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k not in elsewhere}
        return [clean(v) for v in value] if isinstance(value, list) else value
    return clean(json.loads(file.read_text()))


class Folder:
    """One kind of folder: `make()` a sound one and `check()` what the program makes of it."""

    def __init__(self, program, root):
        self.program, self.root = program, root
        self.root.mkdir(parents=True)

    def files(self, folder):
        return [f for f in runs.files_of(folder) if not f.startswith("report") and not f.endswith("log.txt")]

    def others(self, name):
        return [(d / name).read_bytes() for d in self.elsewhere if (d / name).exists()]

    def refused(self, done, where):
        if done.returncode == 0:
            return False
        if done.returncode < 0 or not one_line(done):
            raise Failure(f"{where}: status {done.returncode} and no clear line: {done.stderr!r}")
        return True


class Resumed(Folder):
    """A run that was killed after a checkpoint, and goes on."""
    name = "resume"

    def __init__(self, program, root):
        super().__init__(program, root)
        for name, changes in (("one", {}), ("two", {"seed": 7})):
            (root / f"{name}.json").write_text(json.dumps({**RUN, **changes}))
            program.good(["train", f"{name}.json", "--out", f"whole-{name}"], root)
            shutil.copytree(root / f"whole-{name}", root / name)
            (root / name / "summary.json").unlink()
            shutil.rmtree(root / name / "checkpoints" / "step-00000024")
        self.elsewhere = [root / "two"]
        self.sound = root / "one"

    def others(self, name):
        # An older copy: the same file of the checkpoint before, or the log as it was then.
        older = []
        part = pathlib.PurePath(name)
        if part.parts[0] == "checkpoints":
            older = [f.read_bytes() for f in self.sound.glob(f"checkpoints/*/{part.name}") if f != self.sound / name]
        elif part.suffix == ".jsonl":
            lines = (self.sound / name).read_bytes().splitlines(keepends=True)
            older = [b"".join(lines[:len(lines) // 2])]
        return older + super().others(name)

    def check(self, folder, file, where):
        done = self.program(["train", self.root / "one.json", "--out", folder, "--resume"], self.root)
        if self.refused(done, where):
            return "refused"
        for aside in folder.glob("checkpoints/.damaged-*"):
            shutil.rmtree(aside)
        # An older checkpoint is not read where the newest one is sound.
        if file.startswith("checkpoints/step-00000016") and (folder / file).exists():
            shutil.copy(self.root / "whole-one" / file, folder / file)
        if found := runs.folder_difference(folder, self.root / "whole-one"):
            raise Failure(f"{where}: resumed to another end: {found}")
        return "as undamaged"


class Reported(Folder):
    """A run that is done and probed, its report, a figure over it, and a resume, which has nothing left to do."""
    name = "report"
    unread = ("probe.json",)

    def __init__(self, program, root):
        super().__init__(program, root)
        for name, changes in (("one", {}), ("two", {"seed": 7}), ("before", {})):
            (root / f"{name}.json").write_text(json.dumps({**RUN, **changes}))
            program.good(["train", f"{name}.json", "--out", name], root)
            program.good(["probe", f"{name}/config.json", "--at", "0", "--gradients", "4", "--out", f"{name}/probe.json"], root)
            if name == "one":
                shutil.copytree(root / name, root / "whole")
            self.stop(root / name)
        self.sound = root / "one"
        # The same run of an earlier hour: its times differ.
        self.elsewhere = [root / "two", root / "before"]
        program.good(["report", "one", "--out", "numbers.html"], root)
        program.good(["theory", "T11", "--run", "one", "--out", "figure"], root)
        self.numbers = numbers_of(root / "numbers.json")

    def stop(self, run):
        """What a kill leaves; of a run that is done, all."""

    def files(self, folder):
        return [f for f in super().files(folder) if not f.startswith("checkpoints")]

    def check(self, folder, _, where):
        report = self.program(["report", folder, "--out", folder.parent / "page.html"], self.root)
        theory = self.program(["theory", "T11", "--run", folder, "--out", folder.parent / "figure"], self.root)
        refused = [self.refused(report, where), self.refused(theory, where)]
        # A copy, since a resume mends what it can.
        again = shutil.copytree(folder, folder.parent / "again")
        resumed = self.program(["train", self.root / "one.json", "--out", again, "--resume"], self.root)
        if not self.refused(resumed, where) and (found := runs.folder_difference(again, self.root / "whole", self.unread)):
            raise Failure(f"{where}: resumed to another end: {found}")
        if not refused[0] and numbers_of(folder.parent / "page.json") != self.numbers:
            raise Failure(f"{where}: the report has other numbers")
        if not refused[1] and (folder.parent / "figure/T11.csv").read_text() != (self.root / "figure/T11.csv").read_text():
            raise Failure(f"{where}: the figure has other numbers")
        return "refused" if all(refused) else "as undamaged" if not any(refused) else "refused by its reader"


class Halted(Reported):
    """The same of a run that was killed after a checkpoint."""
    name = "report of a killed run"

    def stop(self, run):
        (run / "summary.json").unlink()
        shutil.rmtree(run / "checkpoints" / "step-00000024")
        ends = json.loads((run / "checkpoints" / "step-00000020" / "state.json").read_text())["progress"]["logs"]
        for log, end in ends.items():
            lines = (run / log).read_text().splitlines(keepends=True)
            (run / log).write_text("".join(lines[:1 + [end in line for line in lines].index(True)]))


class Compared(Folder):
    """A comparison that is done, collected."""
    name = "collect"

    def __init__(self, program, root):
        super().__init__(program, root)
        for name, steps in (("one", 6), ("two", 7)):
            (root / f"{name}.json").write_text(json.dumps({**GRID, "base": {**GRID["base"], "steps": steps}}))
            program.good(["compare", f"{name}.json", "--out", name], root)
        self.sound = root / "one"
        self.elsewhere = [root / "two"]
        self.numbers = numbers_of(self.sound / "report.json")

    def others(self, name):
        # A file of another cell of the same comparison, too.
        part = pathlib.PurePath(name)
        near = [f.read_bytes() for f in self.sound.glob(f"*/*/{part.name}") if f != self.sound / name]
        return super().others(name) + near

    def files(self, folder):
        return [f for f in super().files(folder) if "checkpoints" not in f]

    def check(self, folder, file, where):
        for left in folder.glob("report*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        done = self.program(["compare", self.root / "one.json", "--out", folder, "--collect"], self.root)
        if self.refused(done, where):
            return "refused"
        found = numbers_of(folder / "report.json")
        if found == self.numbers:
            return "as undamaged"
        cell = "/".join(pathlib.PurePath(file).parts[:2])
        if [m.get("cell") for m in found.get("missing", [])] != [cell]:
            raise Failure(f"{where}: the report has other numbers, and names {found.get('missing')} as missing")
        return "cell named"


class Trained(Folder):
    """Prepared tokens, trained on."""
    name = "data"

    def __init__(self, program, root):
        super().__init__(program, root)
        for name, seed in (("one", 1), ("two", 2)):
            rng = random.Random(seed)
            words = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 7))) for _ in range(60)]
            (root / f"{name}.txt").write_text("\n".join(rng.choices(words, k=9000)))
            program.good(["data", "prepare", "--text", f"{name}.txt", "--block", "1024", "--out", name, "--val-fraction", "0.2"], root)
        config = {**runs.BASE, "steps": 2, "schedule": {}, "model": {**runs.BASE["model"], "vocab_size": 256}}
        config["checkpoint"] = {"every": 0}
        (root / "train.json").write_text(json.dumps({**config, "data": {"dir": "one"}}))
        self.sound = root / "one"
        self.elsewhere = [root / "two"]
        program.good(["train", "train.json", "--out", "whole"], root)

    def check(self, folder, _, where):
        config = json.loads((self.root / "train.json").read_text())
        (folder.parent / "train.json").write_text(json.dumps({**config, "data": {"dir": str(folder)}}))
        out = folder.parent / "run"
        done = self.program(["train", folder.parent / "train.json", "--out", out], self.root)
        if self.refused(done, where):
            return "refused"
        weights = "checkpoints/step-00000002/weights.safetensors"
        if (out / weights).read_bytes() != (self.root / "whole" / weights).read_bytes():
            raise Failure(f"{where}: other weights were trained")
        return "as undamaged"


class Opened(Folder):
    """The newest checkpoint of a run: the logits that it gives, and a run that goes on from it."""
    name = "run as model"

    def __init__(self, program, root):
        super().__init__(program, root)
        (root / "tokens.json").write_text("[[1, 2, 3, 4]]")
        # A run with an average of the weights has one file more.
        method = {"method": "schedulefree_adamw"}
        config = {**RUN, "optimizer": {**RUN["optimizer"], "rules": [{**RUN["optimizer"]["rules"][0], **method}]}}
        other = {**config, "model": {**config["model"], "norm_eps": 1e-4}}
        for name, made in (("one", config), ("two", {**config, "seed": 7}), ("three", other)):
            (root / f"{name}.json").write_text(json.dumps(made))
            program.good(["train", f"{name}.json", "--out", name], root)
        for name in ("one", "two", "three"):
            for step in ("16", "20"):
                shutil.rmtree(root / name / "checkpoints" / f"step-000000{step}")
        self.sound = root / "one"
        self.elsewhere = [root / "two", root / "three"]
        program.good(["model", "logits", "one", "--tokens", "tokens.json", "--out", "logits.json"], root)
        program.good(["train", self.branch(root / "one", root), "--out", "branch"], root)

    @staticmethod
    def branch(folder, place):
        config = {k: v for k, v in RUN.items() if k != "optimizer"}
        rule = {**RUN["optimizer"]["rules"][0], "method": "schedulefree_adamw"}
        config.update(steps=2, schedule={}, model={"from": str(folder), "optimizer_state": True},
                      optimizer={**RUN["optimizer"], "rules": [rule]})
        (place / "branch.json").write_text(json.dumps(config))
        return place / "branch.json"

    def files(self, folder):
        return [f for f in super().files(folder) if f.startswith("checkpoints") or f == "config.json"]

    def check(self, folder, _, where):
        out, branch = folder.parent / "logits.json", folder.parent / "branch"
        logits = self.program(["model", "logits", folder, "--tokens", "tokens.json", "--out", out], self.root)
        trained = self.program(["train", self.branch(folder, folder.parent), "--out", branch], self.root)
        refused = [self.refused(logits, where), self.refused(trained, where)]
        if not refused[0] and out.read_text() != (self.root / "logits.json").read_text():
            raise Failure(f"{where}: other logits")
        weights = "checkpoints/step-00000002/weights.safetensors"
        if not refused[1] and (branch / weights).read_bytes() != (self.root / "branch" / weights).read_bytes():
            raise Failure(f"{where}: other weights were trained")
        # A file that one of the two commands does not read.
        return "refused" if all(refused) else "as undamaged" if not any(refused) else "refused by its reader"


class Modelled(Folder):
    """A model folder with a tokenizer, the logits that it gives, and its export."""
    name = "model"

    def __init__(self, program, root):
        super().__init__(program, root)
        (root / "tokens.json").write_text("[[1, 2, 3, 4]]")
        for name, seed in (("one", 1), ("two", 2)):
            (root / f"{name}.json").write_text(json.dumps({**RUN, "steps": 1, "seed": seed, "schedule": {}, "checkpoint": {"every": 0}}))
            program.good(["train", f"{name}.json", "--out", f"run-{name}"], root)
            program.good(["model", "fold", f"run-{name}", "--out", f"folded-{name}"], root)
            program.good(["model", "export", f"folded-{name}", "--out", f"hf-{name}"], root)
            (root / f"hf-{name}" / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {f"{name}-{i}": i for i in range(32)}}}))
            program.good(["model", "import", f"hf-{name}", "--out", name], root)
        self.sound = root / "one"
        self.elsewhere = [root / "two"]
        program.good(["model", "logits", "one", "--tokens", "tokens.json", "--out", "logits.json"], root)
        program.good(["model", "export", "one", "--out", "exported"], root)

    def check(self, folder, _, where):
        out, exported = folder.parent / "logits.json", folder.parent / "exported"
        logits = self.program(["model", "logits", folder, "--tokens", "tokens.json", "--out", out], self.root)
        export = self.program(["model", "export", folder, "--out", exported], self.root)
        refused = [self.refused(logits, where), self.refused(export, where)]
        if not refused[0] and out.read_text() != (self.root / "logits.json").read_text():
            raise Failure(f"{where}: other logits")
        if not refused[1] and (found := runs.folder_difference(exported, self.root / "exported")):
            raise Failure(f"{where}: exported otherwise: {found}")
        return "refused" if all(refused) else "as undamaged" if not any(refused) else "refused by its reader"


KINDS = {k.name: (k, weight) for k, weight in ((Resumed, 5), (Reported, 2), (Halted, 2), (Compared, 1), (Trained, 4), (Modelled, 3), (Opened, 2))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--from", type=int, default=0, dest="begin", metavar="NUMBER", help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", choices=KINDS, action="append", help="only these kinds of folder, other cases than without")
    parser.add_argument("--only", type=int, metavar="N", help="one case of that seed, whose folder is kept")
    parser.add_argument("--folder", help="where the folders are made; default: the system's temporary folder")
    args = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="scalevec-damage-", dir=args.folder))
    program = Program(args.program)
    began = time.monotonic()
    print(f"seed {args.seed}", flush=True)
    made, counts, failed = {}, collections.Counter(), 0
    for number in range(args.begin, args.begin + args.cases) if args.only is None else (args.only,):
        rng = random.Random(f"{args.seed}/{number}")
        wanted = args.of or list(KINDS)
        kind = rng.choices(wanted, [KINDS[k][1] for k in wanted])[0]
        if kind not in made:
            made[kind] = KINDS[kind][0](program, root / kind)
        maker = made[kind]
        case = root / f"case-{number}"
        case.mkdir()
        folder = case / "folder"
        shutil.copytree(maker.sound, folder)
        file = rng.choice(maker.files(folder))
        how = rng.choice(list(DAMAGES))
        before = (folder / file).read_bytes()
        after = DAMAGES[how](before, rng, maker.others(file)) if before else b"\0"
        (folder / file).write_bytes(after)
        where = f"case {number}: {kind}, {file}, {how}"
        try:
            outcome = "nothing changed" if after == before else maker.check(folder, file, where)
            counts[kind, outcome] += 1
        except (Failure, json.JSONDecodeError, OSError) as failure:
            failed += 1
            print(f"FAILED: {failure}\n  kept: {case}; again: --seed {args.seed} --only {number}", flush=True)
            continue
        if args.only is None:
            shutil.rmtree(case)
    for kind in KINDS:
        words = ", ".join(f"{n} {what}" for (k, what), n in sorted(counts.items()) if k == kind)
        if words:
            print(f"{kind}: {words}")
    if not failed and args.only is None:
        shutil.rmtree(root)
    print(f"{sum(counts.values())} cases, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


sys.exit(main())
