#!/usr/bin/env python3
"""What the program does when the system fails it: signals, full disks, folders it may not write, too little memory. Each
time one clear line, the right exit status, nothing damaged, and a resume that ends as an undisturbed run.

    python3 tests/resilience/faults_test.py --program build/cpu/bin/scalevec

The full disk is a small tmpfs and the read-only folder a read-only mount: both need root, and are said to be skipped where
mounting is not allowed. Limits on file size and memory need nothing.
"""
import argparse
import contextlib
import glob
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import runs

PROGRAM = None
ROOT = None
checks = 0


def check(holds, what):
    global checks
    checks += 1
    if not holds:
        raise AssertionError(what)


def run(args, cwd=None, limits=(), expect=0, variables={}):
    """Exit status must be `expect`; returns stdout and stderr."""
    def apply():
        for what, value in limits:
            resource.setrlimit(what, (value, value))
    done = subprocess.run([PROGRAM, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | variables,
                          preexec_fn=apply if limits else None)
    check(done.returncode == expect, f"{args} ended with {done.returncode} in place of {expect}: {done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def one_line(errors, *parts):
    check(errors.count("\n") == 1 and errors.startswith("scalevec: "), f"not one line of ours: {errors!r}")
    for part in parts:
        check(part in errors, f"{part!r} is not in {errors!r}")


@contextlib.contextmanager
def mounted(name, *options):
    """A tmpfs at ROOT/name, or None where the system refuses."""
    folder = ROOT / name
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], capture_output=True, text=True)
    try:
        yield folder if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)


def skipped(what):
    print(f"  skipped: {what}")


def config(name, **changes):
    file = ROOT / f"{name}.json"
    file.write_text(json.dumps({**runs.BASE, **changes}))
    return file


def sound(out, whole):
    """Every checkpoint that is there can be resumed: resumed, the run ends as `whole`."""
    run(["train", out.parent / "config.json", "--out", out, "--resume"])
    found = runs.folder_difference(out, whole)
    check(not found, found)


def base_run(folder, **changes):
    """A configuration, an undisturbed run of it, and its checkpoint's size."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**runs.BASE, **changes}))
    run(["train", folder / "config.json", "--out", folder / "whole"])
    newest = max((folder / "whole" / "checkpoints").iterdir())
    return folder / "whole", sum(f.stat().st_size for f in newest.iterdir())


def test_signals():
    """SIGINT and SIGTERM in train and compare: 130 and 143, a checkpoint, and the same end after a resume."""
    folder = ROOT / "signals"
    whole, _ = base_run(folder, steps=400, checkpoint={"every": 0, "keep": 1}, log={"every": 1, "traces_every": 100})
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = folder / str(status)
        process = subprocess.Popen([PROGRAM, "train", folder / "config.json", "--out", out], stdout=subprocess.DEVNULL)
        while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_text()) < 500:
            check(process.poll() is None, "the run ended before the signal")
            time.sleep(0.005)
        process.send_signal(number)
        check(process.wait(60) == status, f"signal {number}: {process.returncode} in place of {status}")
        check(json.loads((out / "summary.json").read_text())["status"] == "interrupted", "the summary says interrupted")
        check(any((out / "checkpoints").glob("step-*")), "there is a checkpoint")
        sound(out, whole)

    (folder / "grid.json").write_text(json.dumps({**runs.GRID, "base": {**runs.BASE, "steps": 4000}}))
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = folder / f"grid{status}"
        process = subprocess.Popen([PROGRAM, "compare", folder / "grid.json", "--out", out, "--jobs", "2"],
                                   stdout=subprocess.PIPE, text=True)
        # glob.glob, since Path.glob raises where a folder goes away while it is looked through.
        while len(glob.glob(f"{out}/*/*/metrics.jsonl")) < 2:
            check(process.poll() is None, "the comparison ended before the signal")
            time.sleep(0.005)
        process.send_signal(number)
        text = process.communicate(timeout=60)[0]
        check(process.returncode == status, f"compare: {process.returncode} in place of {status}")
        check("the same command continues" in text, text)
        cells = [p.parent for p in out.glob("*/*/config-in.json")]
        check(len(cells) == 2, "two cells had begun")
        for cell in cells:
            check(json.loads((cell / "summary.json").read_text())["status"] == "interrupted", f"{cell} is interrupted")


def test_full_disk():
    """A disk that fills up in a checkpoint or a log line: status 1, a line that names the file, no half checkpoint."""
    whole, size = base_run(ROOT / "full-base")
    for room in (0.5, 1.5, 2.2, 2.9, 3.3):  # in checkpoints
        with mounted(f"full{room}", "-o", f"size={int(room * size) // 4096 * 4096}") as folder:
            if folder is None:
                return skipped("no tmpfs may be mounted here")
            shutil.copy(ROOT / "full-base" / "config.json", folder)
            out = folder / "run"
            _, errors = run(["train", folder / "config.json", "--out", out], expect=1)
            one_line(errors, "No space left on device")
            check(not list((out / "checkpoints").glob(".*")), "the half checkpoint's room is given back")
            subprocess.run(["mount", "-o", "remount,size=64M", folder], check=True)
            sound(out, whole)


def test_file_size_limit():
    """A limit on the size of files: an error like a full disk's in place of the end by SIGXFSZ."""
    whole, _ = base_run(ROOT / "limit")
    sizes = sorted(f.stat().st_size for f in whole.rglob("*") if f.is_file())
    for limit in (sizes[-1] - 1, sizes[-1] // 2, 3000):
        out = ROOT / "limit" / f"run{limit}"
        _, errors = run(["train", ROOT / "limit" / "config.json", "--out", out], expect=1,
                        limits=[(resource.RLIMIT_FSIZE, limit)])
        one_line(errors, "File too large")
        sound(out, whole)


def test_read_only():
    """A folder that may not be written: status 2 before anything is done, and 1 for a run that was begun there."""
    whole, _ = base_run(ROOT / "read-only-base")
    with mounted("read-only") as folder:
        if folder is None:
            return skipped("no tmpfs may be mounted here")
        shutil.copy(ROOT / "read-only-base" / "config.json", folder)
        out = folder / "run"
        process = subprocess.Popen([PROGRAM, "train", folder / "config.json", "--out", out, "--set", "steps=4000"],
                                   stdout=subprocess.DEVNULL)
        while not any((out / "checkpoints").glob("step-*")):
            time.sleep(0.005)
        process.kill()
        process.wait()
        before = {f: (out / f).read_bytes() for f in runs.files_of(out)}
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        _, errors = run(["train", folder / "config.json", "--out", folder / "other"], expect=2)
        one_line(errors, "Read-only file system", str(folder / "other"))
        _, errors = run(["train", folder / "config.json", "--out", out, "--resume", "--set", "steps=4000"], expect=1)
        one_line(errors, "Read-only file system", str(out))
        (folder.parent / "grid.json").write_text(json.dumps(runs.GRID))
        _, errors = run(["compare", folder.parent / "grid.json", "--out", folder / "grid"], expect=1)
        one_line(errors, "Read-only file system")
        check(before == {f: (out / f).read_bytes() for f in runs.files_of(out)}, "nothing in it has changed")


def test_out_of_memory():
    """A cell that asks for more memory than it gets: its line says so, the others finish, status 1."""
    folder = ROOT / "memory"
    folder.mkdir()
    base = {**runs.GRID["base"], "validation": {"every": 10, "sequences": 8}}
    grid = {**runs.GRID, "base": base, "variants": {"small": {}, "large": {"batch_size": 4096}},
            "grid": {"optimizer.lr": [1e-2], "seed": [1, 2]}}
    (folder / "grid.json").write_text(json.dumps(grid))
    (folder / "config.json").write_text(json.dumps(grid["base"]))
    out = folder / "grid"
    limit = [(resource.RLIMIT_AS, 1200 << 20)]
    try:
        run(["train", folder / "config.json", "--out", folder / "small"], limits=limit)
    except AssertionError:
        return skipped("this build needs more address space than the limit leaves")
    text, errors = run(["compare", folder / "grid.json", "--out", out], limits=limit, expect=1)
    one_line(errors, "2 of 4 cells failed", "out of memory")
    check(text.count("FAILED: out of memory") == 2, text)
    for cell in (out / "small").iterdir():
        check(json.loads((cell / "summary.json").read_text())["status"] == "done", f"{cell} is done")
    check((out / "report.html").exists(), "there is a report")


def test_full_disk_of_a_comparison():
    """A comparison whose disk fills up: it says so, ends with status 1, and goes on when there is room."""
    grid = ROOT / "full-grid.json"
    grid.write_text(json.dumps(runs.GRID))
    run(["compare", grid, "--out", ROOT / "full-grid-whole"])
    cell = next((ROOT / "full-grid-whole" / "none").iterdir())
    size = sum(f.stat().st_size for f in cell.rglob("*") if f.is_file())
    with mounted("full-grid", "-o", f"size={4 * size // 4096 * 4096}") as folder:
        if folder is None:
            return skipped("no tmpfs may be mounted here")
        text, errors = run(["compare", grid, "--out", folder / "grid"], expect=1)
        check("full" in text or "No space left" in text, text + errors)
        check(errors.count("\n") == 1 and ("full" in errors or "No space left" in errors), errors)
        subprocess.run(["mount", "-o", "remount,size=64M", folder], check=True)
        run(["compare", grid, "--out", folder / "grid"])
        for done in (ROOT / "full-grid-whole").glob("*/*/summary.json"):
            cell = done.parent.relative_to(ROOT / "full-grid-whole")
            found = runs.folder_difference(folder / "grid" / cell, done.parent, ignore={"log.txt"})
            check(not found, found)


def test_damaged_checkpoints():
    """A damaged checkpoint is put aside for the one before; where none can be used, or read, nothing is begun anew."""
    folder = ROOT / "damaged"
    whole, _ = base_run(folder, checkpoint={"every": 10, "keep": 3})

    def copy(name):
        out = folder / name
        shutil.copytree(whole, out)
        (out / "summary.json").unlink()
        return out, ["train", folder / "config.json", "--out", out, "--resume"], sorted((out / "checkpoints").iterdir())

    out, args, checkpoints = copy("newest")
    (checkpoints[-1] / "optimizer.safetensors").write_bytes(b"torn")
    _, errors = run(args)
    check("cannot be used" in errors and "trying the one before" in errors, errors)
    for name in ("weights.safetensors", "optimizer.safetensors"):
        last = pathlib.Path("checkpoints") / checkpoints[-1].name / name
        check((out / last).read_bytes() == (whole / last).read_bytes(), "the resumed run ends as the whole one")
    check((out / "checkpoints" / f".damaged-{checkpoints[-1].name}").exists(), "the damaged one is kept")

    out, args, checkpoints = copy("all")
    for checkpoint in checkpoints:
        (checkpoint / "weights.safetensors").write_bytes(b"torn")
    lines = (out / "metrics.jsonl").read_text()
    for _ in range(2):
        _, errors = run(args, expect=1)
        check("no checkpoint in" in errors.splitlines()[-1], errors)
        check((out / "metrics.jsonl").read_text() == lines, "the log is as it was")
        check(len(list((out / "checkpoints").glob(".damaged-*"))) == 3, "all three are kept")

    # Not damaged, only not to be opened now: a loop of links stands for a permission or a disk that fails.
    out, args, checkpoints = copy("unreadable")
    file = checkpoints[-1] / "optimizer.safetensors"
    file.rename(file.with_suffix(".away"))
    file.symlink_to(file.name)
    _, errors = run(args, expect=1)
    one_line(errors, "cannot be read", "nothing was changed")
    file.unlink()
    file.with_suffix(".away").rename(file)
    run(args)
    found = runs.folder_difference(out, whole)
    check(not found, found)


def test_cells_under_a_launcher():
    """A cell is one process by itself, also where a launcher's variables say that this is one of two."""
    grid = ROOT / "launched.json"
    grid.write_text(json.dumps({**runs.GRID, "variants": {"decay": {}}, "grid": {"optimizer.lr": [1e-2], "seed": [1]}}))
    out = ROOT / "launched"
    run(["compare", grid, "--out", out], variables={"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    for summary in out.glob("*/*/summary.json"):
        check(json.loads(summary.read_text())["processes"] == 1, "one process")
    # What a killed start left, of a process that is gone.
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = out / f".starting-{os.uname().nodename}-{gone.pid}-abcdef"
    left.mkdir()
    run(["compare", grid, "--out", out])
    check(not left.exists(), "a killed start's folder is removed")


def test_same_bits_twice():
    """Two runs with the same configuration and number of threads write the same bits."""
    for name, base in runs.TRAIN.items():
        for threads in (1, 2):
            folder = ROOT / f"twice-{name}-{threads}"
            whole, _ = base_run(folder, **{**base, "threads": threads, "steps": 12})
            again = folder / "again"
            run(["train", folder / "config.json", "--out", again])
            found = runs.folder_difference(again, whole)
            check(not found, found)


def test_two_writers():
    """A second process on a run that is being written leaves it to the first and ends with status 75."""
    folder = ROOT / "two"
    whole, _ = base_run(folder, steps=300)
    out = folder / "run"
    args = ["train", folder / "config.json", "--out", out]
    first = subprocess.Popen([PROGRAM, *args], stdout=subprocess.DEVNULL)
    while not any((out / "checkpoints").glob("step-*")):
        check(first.poll() is None, "the first run ended too early")
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    _, errors = run([*args, "--resume"], expect=75)
    one_line(errors, "at work on it")
    first.send_signal(signal.SIGCONT)
    check(first.wait(60) == 0, "the first run ends as if nothing had been")
    found = runs.folder_difference(out, whole)
    check(not found, found)


def main():
    global PROGRAM, ROOT
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("names", nargs="*", help="only these tests")
    args = parser.parse_args()
    PROGRAM = str(pathlib.Path(args.program).resolve())
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # its syncs wait for no disk
    ROOT = pathlib.Path(tempfile.mkdtemp(prefix="scalevec-faults-", dir=memory))
    failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (args.names and name[5:] not in args.names):
            continue
        print(f"{name[5:]}: {test.__doc__}", flush=True)
        began = time.monotonic()
        try:
            test()
            print(f"  {time.monotonic() - began:.1f} s", flush=True)
        except AssertionError as error:
            failed += 1
            print(f"  FAILED: {error}", flush=True)
    shutil.rmtree(ROOT, ignore_errors=True)
    print(f"{checks} checks, {failed} tests failed")
    return 1 if failed else 0


sys.exit(main())
