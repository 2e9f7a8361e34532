#!/usr/bin/env python3
"""What a run promises of its records and its end, with the program as a user runs it:

    python3 tests/train/promises_test.py --program build/cpu/bin/scalevec
"""
import argparse
import array
import json
import math
import os
import pathlib
import pty
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

PROGRAM = ROOT = None
BASE = {
    "model": {"vocab_size": 32, "width": 32, "layers": 2, "heads": 2},
    "data": {"synthetic": {"validation_windows": 8}},
    "sequence_length": 32, "batch_size": 4, "steps": 12, "threads": 1,
    "optimizer": {"lr": 1e-2, "rules": [{"match": {}}]}, "log": {"every": 1, "traces_every": 5},
}


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def write(name, **changes):
    file = ROOT / name
    file.write_text(json.dumps({**BASE, **changes}))
    return file


def run(*args, expect=0, **how):
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300, **how)
    check(done.returncode == expect, f"{args}: {done.returncode} in place of {expect}: {done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def refused(*args, parts=(), status=2):
    errors = run(*args, expect=status)[1]
    # Said once of files from before checksums.
    errors = "".join(line for line in errors.splitlines(True) if not line.endswith("are read unchecked\n"))
    check(errors.count("\n") == 1 and errors.startswith("scalevec: "), f"not one line: {errors!r}")
    for part in parts:
        check(part in errors, f"{part!r} is not in {errors!r}")


def summary(out):
    return json.loads((out / "summary.json").read_text())


def wait_for(holds, child, seconds=60):
    end = time.time() + seconds
    while not holds():
        check(time.time() < end and child.poll() is None, f"it never came: {child.poll()}")
        time.sleep(0.01)


def lines(file):
    return file.read_text().splitlines() if file.exists() else []


def make_older(out):
    """The folder as a version before checksums and stored configurations left it."""
    for file in out.rglob("*.json"):
        content = json.loads(file.read_text())
        content.pop("checksum", None)
        if file.name == "state.json":
            del content["config"], content["files"], content["progress"]["logs"]
        file.write_text(json.dumps(content))
    for file in out.glob("*.jsonl"):
        rows = [json.loads(line) for line in lines(file)]
        file.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "checksum"}) + "\n" for row in rows))


def last_step_blows_up():
    """One step of a huge lr: the loss before it is finite, the weights behind it are not."""
    config = write("blow.json", steps=1, optimizer={"lr": 1e42, "rules": [{"match": {}, "method": "sgd"}]})
    run("train", config, "--out", ROOT / "blow", expect=1)
    record = summary(ROOT / "blow")
    check(record["status"] == "diverged" and "validation loss is not finite" in record["reason"], record)
    check(lines(ROOT / "blow/metrics.jsonl")[-1].startswith('{"kind":"diverged"'), lines(ROOT / "blow/metrics.jsonl"))


def foreign_checkpoints():
    """A folder is taken over only by the configuration that its checkpoints and records are of."""
    config, other = write("own.json"), write("other.json", optimizer={"lr": 2e-2, "rules": [{"match": {}}]})
    out = ROOT / "own"
    run("train", config, "--out", out)
    (out / "config.json").unlink()
    (out / "summary.json").unlink()
    refused("train", other, "--out", out, "--resume", parts=["holds a checkpoint of another configuration", "optimizer.lr"])
    refused("train", config, "--out", out, parts=["config.json is missing"])
    run("train", config, "--out", out, "--resume")
    shutil.copytree(out, ROOT / "old")
    make_older(ROOT / "old")
    (ROOT / "old/summary.json").unlink()
    run("train", config, "--out", ROOT / "old", "--resume")
    (ROOT / "old/config.json").unlink()
    refused("train", config, "--out", ROOT / "old", "--resume", parts=["config.json"])
    logs = ROOT / "logs"
    logs.mkdir()
    shutil.copy(out / "metrics.jsonl", logs)
    before = (logs / "metrics.jsonl").read_bytes()
    for how in ([], ["--resume"]):
        refused("train", config, "--out", logs, *how, parts=["metrics.jsonl", "config.json is missing"])
    check((logs / "metrics.jsonl").read_bytes() == before, "a foreign log was written over")


def foreign_folders():
    """Nothing moves into a folder that holds something else, and what is wrong with a value is said first."""
    config, other = write("run.json"), ROOT / "notes"
    other.mkdir()
    (other / "thesis.tex").write_text("begin")
    grid = ROOT / "grid.json"
    grid.write_text(json.dumps({"base": {**BASE, "steps": 2}, "variants": {"a": {}}, "grid": {"seed": [1]}}))
    refused("train", config, "--out", other, parts=["notes: holds thesis.tex, which is of no run"])
    refused("train", config, "--out", other, "--resume", parts=["thesis.tex"])
    refused("train", config, "--out", other, "--set", "optimizer.rules.0.weight_decay=-1", parts=["weight_decay: got -1"])
    refused("compare", grid, "--out", other, parts=["notes: holds thesis.tex, which is not of this comparison"])
    refused("compare", grid, "--out", other, "--collect", parts=["thesis.tex"])
    check([f.name for f in other.iterdir()] == ["thesis.tex"], list(other.iterdir()))
    out = ROOT / "one"
    out.mkdir()
    (out / "job.out").write_text("")  # what a launcher writes there
    run("train", config, "--out", out)
    refused("compare", grid, "--out", out, parts=["which is not of this comparison"])
    refused("train", config, "--out", out, "--set", "optimizer.rules.0.weight_decay=-1", parts=["weight_decay: got -1"])
    refused("train", config, "--out", out, parts=["holds a run already"])
    refused("train", config, "--out", out, "--resume", "--set", "steps=13", parts=["it differs at steps (12 there, 13 here)"])
    run("compare", grid, "--out", ROOT / "cells")
    refused("train", config, "--out", ROOT / "cells", parts=["which is of no run"])
    refused("compare", grid, "--out", ROOT / "cells", "--set", "seed=1", parts=["--set: sets seed, which is an axis"])


def stopped_commands():
    """A command without a checkpoint ends by the signal, with a line."""
    config = write("stop.json", steps=10 ** 6)
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([PROGRAM, "probe", config, "--at", "1000000", "--out", ROOT / "never.json"],
                              stderr=subprocess.PIPE, text=True) as child:
            check("making the run again" in child.stderr.readline(), "no progress")
            child.send_signal(number)
            said = child.stderr.read()
            check(child.wait(60) == -number, child.returncode)
        check(said == f"scalevec: stopped by {number.name} before it was done\n", said)
    check(not (ROOT / "never.json").exists(), "a result of half a probe")


def little_memory():
    """Where memory runs out, the line says which keys decide how much is needed."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    if subprocess.run([PROGRAM, "plan", write("little.json")], capture_output=True, preexec_fn=limit).returncode:
        return print("little_memory: this build needs more address space than the limit leaves", flush=True)
    model = {**BASE["model"], "vocab_size": 65536, "width": 65536, "heads": 2}
    for name, changes, key in (("wide", {"model": model}, "model.width"), ("long", {"batch_size": 1 << 19}, "batch_size")):
        errors = run("train", write(f"{name}.json", **changes), "--out", ROOT / name, expect=1, preexec_fn=limit)[1]
        check(errors.startswith("scalevec: out of memory") and errors.count("\n") == 1 and key in errors, errors)


def older_configurations():
    """A record from before keys were added stands for their defaults, with which it is resumed."""
    config = write("older.json", validation={"batches": 2}, steps=6)
    out = ROOT / "older"
    run("train", config, "--out", out)
    make_older(out)
    record = json.loads((out / "config.json").read_text())
    record["validation"] = {"every": 0, "batches": 2}
    del record["checkpoint"]["minutes"]
    (out / "config.json").write_text(json.dumps(record))
    (out / "summary.json").write_text("")  # and one that is empty is run again
    run("train", config, "--out", out, "--resume")
    check(summary(out)["status"] == "done", summary(out))


def signals():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        config, out = write("long.json", steps=10 ** 6), ROOT / f"signal-{number}"
        with subprocess.Popen([PROGRAM, "train", config, "--out", out], stdout=subprocess.DEVNULL) as child:
            wait_for(lambda: len(lines(out / "metrics.jsonl")) > 3, child)
            child.send_signal(number)
            check(child.wait(60) == 128 + number, f"{number}: {child.returncode}")
        steps = summary(out)["steps"]
        check(summary(out)["status"] == "interrupted" and (out / f"checkpoints/step-{steps:08d}").is_dir(), summary(out))


def closed_pipe():
    """The reader of the output goes away; the first line that finds it gone ends the run, with a checkpoint."""
    config, out = write("pipe.json", steps=10 ** 6), ROOT / "pipe"
    reading, writing = os.pipe()
    with subprocess.Popen([PROGRAM, "train", config, "--out", out], stdout=writing) as child:
        os.close(writing)
        wait_for(lambda: len(lines(out / "metrics.jsonl")) > 3, child)
        os.close(reading)
        check(child.wait(60) == 128 + signal.SIGPIPE, child.returncode)
    steps = summary(out)["steps"]
    check(summary(out)["status"] == "interrupted" and (out / f"checkpoints/step-{steps:08d}").is_dir(), summary(out))


def checkpoints_by_time():
    config, out = write("minutes.json", steps=10 ** 6, checkpoint={"minutes": 0.01}), ROOT / "minutes"
    with subprocess.Popen([PROGRAM, "train", config, "--out", out], stdout=subprocess.DEVNULL) as child:
        wait_for(lambda: len(list(out.glob("checkpoints/step-*"))) > 1, child)
        child.kill()
    run("train", write("default.json"), "--out", ROOT / "default")
    default = json.loads((ROOT / "default/config.json").read_text())["checkpoint"]
    check(default == {"every": 0, "minutes": 10.0, "keep": 2}, default)


def long_steps():
    """A step of minutes is given up within seconds of the signal, and the steps before it are kept."""
    model = {"vocab_size": 256, "width": 128, "layers": 4, "heads": 4}
    config = write("huge.json", model=model, sequence_length=1 << 16, batch_size=1, steps=3,
                   validation={"sequence_length": 32, "sequences": 1, "every": 1})
    plan = run("plan", config)[0]
    check("a step takes about" in plan, plan)
    huge = run("plan", write("million.json", model=model, sequence_length=1 << 20, batch_size=1, steps=3))[0]
    check("warning: a single step takes minutes or more" in huge, huge)
    out = ROOT / "huge"
    with subprocess.Popen([PROGRAM, "train", config, "--out", out], stdout=subprocess.DEVNULL) as child:
        wait_for(lambda: len(lines(out / "metrics.jsonl")) > 0, child)  # the validation before the first step
        time.sleep(1.0)
        start = time.time()
        child.send_signal(signal.SIGINT)
        check(child.wait(60) == 130, child.returncode)
        taken = time.time() - start
    check(summary(out)["status"] == "interrupted", summary(out))
    # Not a bound on speed: the step itself takes far longer than this.
    check(taken < 15, f"{taken:.1f} s from the signal to the end")


def data_and_schedule():
    folder = ROOT / "tokens"
    folder.mkdir()
    for split, count in (("train", 10), ("val", 4)):
        tokens = [i % 32 for i in range(count * 32 + 1)]
        (folder / f"{split}.bin").write_bytes(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253)
                                              + array.array("H", tokens).tobytes())
    refused("train", write("big.json", data={"dir": str(folder)}, batch_size=11), "--out", ROOT / "big",
            parts=["batch_size: got 11; allowed: at most 10"])
    plan = run("plan", write("epochs.json", data={"dir": str(folder)}, batch_size=4, steps=25))[0]
    check("data: 10 sequences of 32 tokens, seen 10 times (epochs)" in plan, plan)
    refused("plan", write("short.json", schedule={"shape": "cosine", "total_steps": 11}),
            parts=["schedule.total_steps: got 11; allowed: at least steps, 12"])
    config = write("linear.json", schedule={"shape": "linear", "final_factor": 0.5})
    run("train", config, "--out", ROOT / "linear")
    rates = [json.loads(line)["lr"] for line in lines(ROOT / "linear/metrics.jsonl") if '"kind":"train"' in line]
    check(rates[0] == 1e-2 and math.isclose(rates[-1], 5e-3, rel_tol=1e-12) and len(rates) == 12, rates)


def rates_and_balance():
    """tokens_per_second is of the whole interval: with times of single steps it could not repeat what the run took."""
    config = write("rate.json", steps=60, log={"every": 20, "traces_every": 0},
                   model={**BASE["model"], "moe": {"experts": 4, "top_k": 2, "expert_width": 16, "balance_loss": 0.3}})
    out = ROOT / "rate"
    run("train", config, "--out", out)
    rows = [json.loads(line) for line in lines(out / "metrics.jsonl") if '"kind":"train"' in line]
    check([r["step"] for r in rows] == [1, 20, 40, 60], rows)
    seconds, before = 0.0, 0
    for row in rows:
        seconds += (row["tokens"] - before) / row["tokens_per_second"]
        before = row["tokens"]
    check(math.isclose(seconds, summary(out)["training_seconds"], rel_tol=1e-6), (seconds, summary(out)))
    # experts·Σ f·P is 1 at balance, and at most the number of experts.
    check(all(0.3 * 0.5 < r["balance_loss"] < 0.3 * 4 and r["balance_loss"] < r["loss"] for r in rows), rows)
    run("train", write("dense.json"), "--out", ROOT / "dense")
    check("balance_loss" not in (ROOT / "dense/metrics.jsonl").read_text(), "a model without experts has no balance")


def results_and_records():
    """No result goes over a record, and a missing folder is found before the measuring."""
    config, out = write("probed.json", steps=2), ROOT / "probed"
    run("train", config, "--out", out)
    before = {f: f.read_bytes() for f in out.glob("*.json*")}
    for name in ("config.json", "summary.json", "metrics.jsonl", "compare.json"):
        refused("probe", config, "--at", "0", "--out", out / name, parts=["allowed: another name"])
        refused("report", out, "--out", out / name, parts=["allowed: "])
    check(before == {f: f.read_bytes() for f in out.glob("*.json*")}, "a record was written over")
    refused("probe", config, "--at", "0", "--out", ROOT / "absent/probe.json", parts=["is no folder"])
    # A run's own configuration is the one that it was trained with.
    text = (out / "config.json").read_text()
    (out / "config.json").write_text(text.replace('"seed": 1', '"seed": 3', 1))
    refused("probe", out / "config.json", "--at", "0", parts=["config.json"], status=1)
    (out / "config.json").write_text(text)


def waiting():
    """Threads wait with short spins, unless the environment says how."""
    config = write("wait.json", steps=10 ** 6)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    for given, expected in (({}, "GOMP_SPINCOUNT=3000"), ({"GOMP_SPINCOUNT": "17"}, "GOMP_SPINCOUNT=17"),
                            ({"OMP_WAIT_POLICY": "passive"}, None)):
        out = ROOT / f"wait-{len(given)}{expected}"
        with subprocess.Popen([PROGRAM, "train", config, "--out", out], stdout=subprocess.DEVNULL, env={**clean, **given}) as child:
            wait_for(lambda: lines(out / "metrics.jsonl"), child)
            environment = pathlib.Path(f"/proc/{child.pid}/environ").read_text().split("\0")
            child.kill()
        counts = [v for v in environment if v.startswith("GOMP_SPINCOUNT=")]
        check(counts == ([expected] if expected else []), (given, counts))


def probe_progress():
    """On a terminal a probe says what it does and how long that takes, on one line that it clears."""
    config = write("probe.json", steps=1000)
    ours, theirs = pty.openpty()
    with subprocess.Popen([PROGRAM, "probe", config, "--at", "0,1000", "--out", ROOT / "probed.json"], stderr=theirs) as child:
        os.close(theirs)
        text = b""
        try:
            while more := os.read(ours, 4096):
                text += more
        except OSError:  # how the end of a terminal reads
            pass
    check(child.returncode == 0, text)
    # Drawn five times a second, so that a short part may be over before.
    parts = (b"making the run again, step ", b"curvature, ", b"gradients for the signal-to-noise ratio")
    check(any(part in text for part in parts) and b" left" in text, text[:2000])
    check(b"\n" not in text and text.endswith(b"\r\x1b[K"), text[-200:])


CASES = [waiting, probe_progress, last_step_blows_up, foreign_checkpoints, foreign_folders, stopped_commands, little_memory,
         older_configurations, signals, closed_pipe, checkpoints_by_time, long_steps,
         data_and_schedule, rates_and_balance, results_and_records]


def main():
    global PROGRAM, ROOT
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    PROGRAM = str(pathlib.Path(options.program).resolve())
    failed = 0
    for case in CASES:
        if options.cases and case.__name__ not in options.cases:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ROOT = pathlib.Path(folder)
            try:
                case()
                print(f"{case.__name__}: passed", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{case.__name__}: FAILED: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
