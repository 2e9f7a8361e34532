#!/usr/bin/env python3
"""Gives every integer key of a configuration and of a figure the ends of its range, and what lies beyond: the program refuses
in one line, works, or has not finished after some seconds; it never dies, and a sanitizer finds nothing.

    python3 tests/resilience/limits_harness.py --program build/asan/bin/scalevec --pairs 100 --seed 1

The keys and their ranges are those of `scalevec options --json`. Values: the ends of the range, one beyond each, and 2^31 - 1, 2^31,
2^32, 2^53, 2^63 - 1, -2^63 and 2^64. Beyond the range the status is 2. --pairs: that many random pairs of keys of a run, both with
large values, whose products may overflow. --sample N: only N of the cases, chosen by the seed. A run that is too large for the
memory must say so: a process may have --memory MiB.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import runs

HANG = 120  # seconds: after a request to stop, and to refuse
POWERS = (2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, -2**63, 2**64)
RUN = {**runs.BASE, "steps": 6, "checkpoint": {"every": 4, "keep": 3}, "validation": {"every": 3, "sequences": 8}}
FOUND = re.compile(r"runtime error|ERROR: AddressSanitizer: (?!allocator is out of memory)|Assertion|terminate called|INTERNAL ASSERT")
MATRICES = {"kind": "matrix"}
REST = {"match": {"kind": ["embedding", "unembedding", "scale"]}}


def base_of(table, path):
    """A run in which the keys of a table have an effect."""
    run = json.loads(json.dumps(RUN))
    if path == "model" and table != "decoder":
        run = {"model": {"type": table}, "steps": 6, "optimizer": {"lr": 1e-3, "rules": [{"match": {}, "method": "sgd"}]}}
    elif path == "model.moe":
        run["model"]["moe"] = {"experts": 4, "top_k": 2, "expert_width": 16}
    elif path == "model.rope_scaling":
        run["model"]["rope_scaling"] = {"kind": "llama3", "factor": 8.0}
    elif path == "schedule" or table == "checkpoint":
        run["schedule"] = {"shape": "wsd", "warmup_steps": 1, "decay_steps": 2}
    elif path == "optimizer.rules[]" and table != "rule":
        run["optimizer"] = {"lr": 1e-3, "rules": [{"match": MATRICES, "method": table}, REST]}
    return run


def place(run, path, key, value):
    at = run
    for part in filter(None, path.split(".")):
        name = part.removesuffix("[]")
        at = at.setdefault(name, {})
        if part != name:
            at = at[0]
    at[key] = [value] if key in ("windows", "no_rope") else value


def limits(option):
    """(smallest, largest or None) of an integer key; None of another."""
    allowed = re.match(r"(?:an integer|integers), (?:\[(\S+), (\S+)\]|at least (\S+))", option["allowed"])
    if not allowed:
        return None
    # Printed with 12 digits; a seed ends at 2^53.
    largest = allowed[2] and int(float(allowed[2]))
    return int(float(allowed[1] or allowed[3])), 2**53 if largest and abs(largest - 2**53) < 1e6 else largest


def values(low, high):
    return sorted({low - 1, low, *POWERS, *((high, high + 1) if high is not None else ())})


class Limits:
    def __init__(self, program, root, seconds, memory):
        self.program, self.root, self.seconds = str(pathlib.Path(program).resolve()), root, seconds
        instrumented = b"__asan_init" in pathlib.Path(self.program).read_bytes()
        self.memory = None if instrumented else memory << 20  # address space is not memory under the sanitizer
        self.environment = {**os.environ, "ASAN_OPTIONS": ":".join(filter(None, (
            os.environ.get("ASAN_OPTIONS", "detect_leaks=0:detect_container_overflow=0:alloc_dealloc_mismatch=0"),
            f"allocator_may_return_null=1:max_allocation_size_mb={memory}:soft_rss_limit_mb={memory}")))}

    def call(self, args, seconds):
        """(status or None if it was stopped after `seconds`, stderr)."""
        def bounded():
            if self.memory:
                resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))
        with subprocess.Popen([self.program, *args], cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              env=self.environment, preexec_fn=bounded, start_new_session=True) as process:
            try:
                errors = process.communicate(timeout=seconds)[1]
                return process.returncode, errors
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
            try:
                errors = process.communicate(timeout=HANG)[1]
                died = process.returncode < 0 and process.returncode != -signal.SIGTERM
                return (process.returncode if died else None), errors
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "does not stop", process.communicate()[1]

    def fault(self, args, refused):
        """What is wrong with the end of a command, or None."""
        # A refusal ends by itself, however busy the machine is.
        status, errors = self.call(args, HANG if refused else self.seconds)
        if FOUND.search(errors):
            return "a finding: " + errors[-2000:]
        if status == "does not stop":
            return f"still runs {HANG} s after a request to stop"
        if refused and status != 2:
            return f"is beyond the range and ended with {status}: {errors[-300:]}"
        if status is None or status == 0:
            return None
        # The sanitizer's own `operator new` ends the process where ours would throw.
        if "AddressSanitizer: out-of-memory" in errors:
            return None
        if status < 0 or status > 128:
            return f"ended by a signal, {status}: {errors[-300:]}"
        # The sanitizer warns of allocations that it refuses, which are to be survived.
        lines = [l for l in errors.strip().split("\n") if not l.startswith("note: ") and "WARNING: AddressSanitizer" not in l]
        if len(lines) != 1 or not lines[0].startswith("scalevec: "):
            return f"{status} and not one line: {errors[-1000:]}"
        return None

    def works(self, run):
        """Without this a refusal for another reason would look like the one that is tested."""
        self.root.joinpath("run.json").write_text(json.dumps(run))
        done = subprocess.run([self.program, "train", "run.json", "--out", "sound"], cwd=self.root, capture_output=True, text=True)
        shutil.rmtree(self.root / "sound", ignore_errors=True)
        if done.returncode:
            sys.exit(f"the run without large values ends with {done.returncode}: {done.stderr}")

    def of_run(self, run, refused):
        self.root.joinpath("run.json").write_text(json.dumps(run))
        shutil.rmtree(self.root / "out", ignore_errors=True)
        return (self.fault(["plan", "run.json"], False) or
                self.fault(["train", "run.json", "--out", "out"], refused))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--keys", default="", help="only keys TABLE.KEY that match this expression")
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="after which a command is stopped (default 5)")
    parser.add_argument("--memory", type=int, default=3000, help="MiB (default 3000)")
    args = parser.parse_args()

    tables = json.loads(subprocess.run([args.program, "options", "--json"], capture_output=True, text=True, check=True).stdout)
    singles, large = [], []
    for table, content in tables.items():
        for option in content["options"]:
            found = limits(option)
            if found is None or not re.search(args.keys, f"{table}.{option['key']}"):
                continue
            low, high = found
            path = content["path"]
            singles += [(table, path, option["key"], value, value < low or high is not None and value > high)
                        for value in values(low, high)]
            if not path.startswith("theory") and path != "optimizer.rules[]":
                large.append((table, path, option["key"], [v for v in values(low, high) if v > 1000 and (high is None or v <= high)]))
    rng = random.Random(args.seed)
    large = [key for key in large if key[3] and key[0] in ("run", "decoder", "moe", "synthetic", "schedule", "validation", "log", "checkpoint")]
    cases = [(single,) for single in singles]
    for _ in range(args.pairs):
        cases.append(tuple((table, path, key, rng.choice(choice), False) for table, path, key, choice in rng.sample(large, 2)))
    if args.sample is not None:
        cases = rng.sample(cases, min(args.sample, len(cases)))

    faults, counts = [], collections.Counter()
    with tempfile.TemporaryDirectory(prefix="scalevec-limits-") as root:
        limited = Limits(args.program, pathlib.Path(root), args.seconds, args.memory)
        for table, path in {(case[0][0], case[0][1]) for case in cases if not case[0][1].startswith("theory")}:
            limited.works(base_of(table, path))
        for case in cases:
            name = ", ".join(f"{table}.{key}={value}" for table, _, key, value, _ in case)
            table, path, key, value, refused = case[0]
            if path.startswith("theory"):
                fault = limited.fault(["theory", table, "--set", f"{key}={value}", "--out", "drawn"], refused)
            else:
                moe = [c for c in case if c[1] == "model.moe"]
                run = base_of(*(moe or case)[0][:2])
                for table, path, key, value, _ in case:
                    place(run, path, key, value)
                fault = limited.of_run(run, refused)
            counts["faults" if fault else "pairs" if len(case) > 1 else "beyond" if refused else "within"] += 1
            if fault:
                faults.append(name)
                print(f"{name}: {fault}", flush=True)
    print(f"seed {args.seed}: {len(cases)} cases; " + ", ".join(f"{k}: {v}" for k, v in sorted(counts.items())))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
