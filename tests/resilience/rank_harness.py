#!/usr/bin/env python3
"""Kills and stops ranks of `scalevec train` in 2 to 4 processes at random instants, with ZeRO and with Muon.

    python3 tests/resilience/rank_harness.py --program build/cpu/bin/scalevec --chains 200 --seed 1

A chain is one folder. Once to three times its ranks are started and disturbed: SIGKILL to one or more of them, SIGSTOP to
one for good (which then goes on, or is killed), or SIGSTOP for a moment. Half of the instants are spread over a run's
length, the other half follow a file event. The ranks that are left must end within the time-out, with the reason in one
line each at most; a rank that was stopped for a moment must change nothing. Then the run is resumed and left to finish,
and must equal an undisturbed run of that number of processes, bit for bit apart from times. --only NUMBER runs one chain
again.

--faults adds what can happen to rank 0: a disk that is full, a disk that takes SECONDS for one call, a clock that jumps
(both by a preloaded library, made with cc), and two launchers on one folder. What needs root or cc is said to be skipped
without it.
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
import socket
import subprocess
import sys
import tempfile
import time

import runs
from kill_harness import Failure, Train, after, in_write
from watch import CREATE, MOVED_TO

# Divisible by 2, 3 and 4 processes with two parts of a batch.
SIZE = {"sequence_length": 16, "batch_size": 24, "data": {"synthetic": {"validation_windows": 48}}}
CONFIGS = {"zero": {**runs.BASE, **SIZE, "steps": 40},
           "muon": {**runs.TRAIN["muon"], **SIZE, "threads": 1}}
SLACK = 20    # the time-out counts from the start of the last rank, and a busy machine starts and ends processes late
HANG = 240    # of runs that nothing disturbs
LOST = re.compile(r"scalevec: (rank \d+ .*(died|hangs|failed|cannot reach|a collective failed)|of \d ranks, .* did not come|"
                  r"rank 0 .*(did not come|ended before|cannot be reached))")

# Preloaded into rank 0. The wall clock jumps by JUMP seconds, AFTER seconds after the process has begun. The WHEN-th CALL
# (write, fsync, rename or mkdir) on what lies under the folder UNDER takes SECONDS.
FAULTS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name, type, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static long offset(void) {
  static double begun;
  struct timespec now;
  const char *after = getenv("AFTER"), *jump = getenv("JUMP");
  if (!after || !jump) return 0;
  REAL(clock_gettime, int, clockid_t, struct timespec*)(CLOCK_MONOTONIC, &now);
  const double t = now.tv_sec + 1e-9 * now.tv_nsec;
  if (begun == 0) begun = t;
  return t - begun > atof(after) ? atol(jump) : 0;
}
int clock_gettime(clockid_t id, struct timespec* t) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = REAL(clock_gettime, int, clockid_t, struct timespec*);
  const int status = real(id, t);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) t->tv_sec += offset();
  return status;
}
int gettimeofday(struct timeval* restrict t, void* restrict zone) {
  struct timespec now;
  const int status = clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return status;
}
time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

static void may_wait(const char* call, const char* path) {
  static int count;
  const char *slow = getenv("CALL"), *under = getenv("UNDER");
  if (!slow || strcmp(slow, call) || strncmp(path, under, strlen(under))) return;
  if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) == atoi(getenv("WHEN"))) sleep(atoi(getenv("SECONDS")));
}
static void may_wait_for(const char* call, int fd) {
  char link[64], path[4096];
  if (!getenv("CALL")) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = 0;
  may_wait(call, path);
}
ssize_t write(int fd, const void* data, size_t size) {
  may_wait_for("write", fd);
  return REAL(write, ssize_t, int, const void*, size_t)(fd, data, size);
}
ssize_t writev(int fd, const struct iovec* parts, int count) {
  may_wait_for("write", fd);
  return REAL(writev, ssize_t, int, const struct iovec*, int)(fd, parts, count);
}
int fsync(int fd) {
  may_wait_for("fsync", fd);
  return REAL(fsync, int, int)(fd);
}
int rename(const char* from, const char* to) {
  may_wait("rename", from);
  return REAL(rename, int, const char*, const char*)(from, to);
}
int mkdir(const char* path, mode_t mode) {
  may_wait("mkdir", path);
  return REAL(mkdir, int, const char*, mode_t)(path, mode);
}
"""
# Some of each of these calls that a run of CONFIGS makes.
CALLS = {"fsync": 60, "write": 60, "rename": 14, "mkdir": 8}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Ranks:
    """The processes of one run as a launcher starts them; what each says on stderr is in a file."""

    def __init__(self, program, size, args, words, variables={}):
        """`variables` are rank 0's alone."""
        words.mkdir(parents=True, exist_ok=True)
        self.words = [words / f"rank{rank}.err" for rank in range(size)]
        common = {**os.environ, "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                  "MASTER_PORT": str(free_port())}
        self.processes = []
        for rank in range(size):
            own = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank), **({} if rank else variables)}
            with open(self.words[rank], "w") as errors:
                self.processes.append(subprocess.Popen([program, *map(str, args)], env=own,
                                                       stdout=subprocess.DEVNULL, stderr=errors))

    def poll(self):
        """None while any of them runs."""
        statuses = [p.poll() for p in self.processes]
        return None if None in statuses else max(statuses)

    def running(self):
        return [r for r, p in enumerate(self.processes) if p.poll() is None]

    def send(self, rank, number):
        if self.processes[rank].poll() is None:
            self.processes[rank].send_signal(number)

    def wait(self, ranks, seconds):
        """Their statuses; a Failure names those that still run after so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(self.processes[r].poll() is None for r in ranks):
            time.sleep(0.01)
        left = [r for r in ranks if self.processes[r].poll() is None]
        if left:
            self.end()
            raise Failure(f"ranks {left} still run after {seconds} s")
        return [self.processes[r].returncode for r in ranks]

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def said(self, rank):
        return self.words[rank].read_text()


class Harness:
    def __init__(self, program, root, sizes, timeout):
        self.program, self.root, self.sizes, self.references = str(pathlib.Path(program).resolve()), root, sizes, {}
        self.timeout = timeout
        self.slowest = 0.0

    def args(self, folder, out, timeout, *more):
        return ["train", folder / "config.json", "--out", out, "--rank-timeout", timeout, *more]

    def undisturbed(self, size, args, words, variables={}):
        ranks = Ranks(self.program, size, args, words, variables)
        statuses = ranks.wait(range(size), HANG)
        if any(statuses):
            raise Failure(f"nothing disturbed the ranks of {args[4]}, and they ended with {statuses}: "
                          f"{[ranks.said(r) for r in range(size)]}")

    def reference(self, name, size):
        """Folder with `whole` and `every` (all checkpoints kept), and the seconds that a run takes."""
        if (name, size) not in self.references:
            folder = self.root / f"{name}-{size}"
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
            began = time.monotonic()
            self.undisturbed(size, self.args(folder, folder / "whole", 60), folder / "words")
            self.undisturbed(size, self.args(folder, folder / "every", 60, "--set", "checkpoint.keep=100000"), folder / "words")
            length = 0.5 * (time.monotonic() - began)
            self.references[name, size] = folder, length
            print(f"{name}, {size} processes: {length:.1f} s undisturbed", flush=True)
        return self.references[name, size]

    def finish(self, size, folder, out):
        """Resumes, and holds the end against the undisturbed run's."""
        self.undisturbed(size, self.args(folder, out, 60, "--resume"), self.root / "words")
        found = runs.folder_difference(out, folder / "whole")
        if found:
            raise Failure(found)

    def survivors(self, ranks, lost, out):
        """All ranks but the lost ones end in time, and one says which rank is lost unless the run was done."""
        left = [r for r in range(len(ranks.processes)) if r not in lost]
        began = time.monotonic()
        statuses = ranks.wait(left, self.timeout + SLACK)
        self.slowest = max(self.slowest, time.monotonic() - began)
        said = {r: ranks.said(r) for r in left}
        if any(s not in (0, 1) for s in statuses):
            raise Failure(f"the ranks that were left ended with {statuses}: {said}")
        if any(text.count("\n") > 1 for text in said.values()):
            raise Failure(f"more than one line: {said}")
        if any(statuses) and not any(LOST.match(text) for text in said.values()):
            raise Failure(f"ranks {sorted(lost)} were lost and nobody says it; {dict(zip(left, statuses))}, {said}")
        if left and not any(statuses) and not self.done(out):
            raise Failure(f"status 0 of ranks {left}, and the run is not done")

    @staticmethod
    def done(out):
        summary = out / "summary.json"
        return summary.exists() and json.loads(summary.read_text())["status"] == "done"

    def disturb(self, ranks, rng, out):
        """One disturbance, now; returns its name."""
        size = len(ranks.processes)
        kind = rng.choice(["kill", "kill", "kill", "kill more", "stop", "pause"])
        victim = rng.randrange(size)
        if kind == "pause":
            ranks.send(victim, signal.SIGSTOP)
            time.sleep(rng.uniform(0.05, 0.5 * self.timeout))
            ranks.send(victim, signal.SIGCONT)
            statuses = ranks.wait(range(size), HANG)
            if any(statuses):
                raise Failure(f"rank {victim} was stopped for a moment, and the ranks ended with {statuses}: "
                              f"{[ranks.said(r) for r in range(size)]}")
        elif kind == "stop":
            ranks.send(victim, signal.SIGSTOP)
            self.survivors(ranks, {victim}, out)
            if rng.random() < 0.5:
                ranks.send(victim, signal.SIGCONT)
                status = ranks.wait([victim], self.timeout + SLACK)[0]
                if status not in (0, 1) or (status == 0 and not self.done(out)):
                    raise Failure(f"rank {victim} went on after the others had ended, and ended with {status}: {ranks.said(victim)}")
            ranks.end()
        else:
            victims = {victim} if kind == "kill" else set(rng.sample(range(size), rng.randint(2, size)))
            for rank in victims:
                ranks.send(rank, signal.SIGKILL)
            self.survivors(ranks, victims, out)
        return kind

    def chain(self, number, rng):
        name, size = rng.choice(sorted(CONFIGS)), rng.choice(self.sizes)
        folder, length = self.reference(name, size)
        out = self.root / f"chain-{number}"
        (out / "checkpoints").mkdir(parents=True)
        kinds = []
        for turn in range(rng.randint(1, 3)):
            if rng.random() < 0.5:
                instant = after(rng.uniform(0, length))
            else:
                mask, pattern = rng.choice([(CREATE, r"^\.writing-")] * 3 + [(MOVED_TO, r"^\.removing-"), (CREATE, r"\.tmp$")])
                instant = in_write([out, out / "checkpoints"], mask, pattern, rng.randint(1, 6), rng.uniform(0, 0.01))
            ranks = Ranks(self.program, size, self.args(folder, out, self.timeout, "--resume"), self.root / f"words-{number}-{turn}")
            try:
                instant(ranks)
                if (status := ranks.poll()) is not None:
                    if status:
                        raise Failure(f"the ranks ended before anything disturbed them: {[ranks.said(r) for r in range(size)]}")
                    break
                kinds.append(self.disturb(ranks, rng, out))
            except Failure as failure:
                raise Failure(f"{name}, {size} processes, turn {turn}: {failure}") from None
            finally:
                ranks.end()
            Train.check_killed(out, folder / "every")
        self.finish(size, folder, out)
        shutil.rmtree(out)
        for words in self.root.glob(f"words-{number}-*"):
            shutil.rmtree(words)
        return kinds, (name, size)

    # What can happen to rank 0.

    def full_disk(self, name, size):
        folder, _ = self.reference(name, size)
        room = sum(f.stat().st_size for f in max((folder / "whole" / "checkpoints").iterdir()).iterdir())
        for part in (0.5, 1.5, 2.2, 3.3):
            mount = self.root / f"full-{name}-{part}"
            mount.mkdir()
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(part * room) // 4096 * 4096}", "none", mount],
                              capture_output=True).returncode:
                return "skipped: no tmpfs may be mounted here"
            try:
                ranks = Ranks(self.program, size, self.args(folder, mount / "run", self.timeout), self.root / "words")
                statuses = ranks.wait(range(size), HANG)
                said = ranks.said(0)
                if any(s != 1 for s in statuses) or said.count("\n") != 1 or "No space left on device" not in said:
                    raise Failure(f"full disk of {part} checkpoints: {statuses}, {[ranks.said(r) for r in range(size)]}")
                subprocess.run(["mount", "-o", "remount,size=64M", mount], check=True)
                self.finish(size, folder, mount / "run")
            finally:
                subprocess.run(["umount", "-l", mount], check=True)
        return "status 1 on all ranks with the reason, 4 of 4; resumed as undisturbed"

    def faults(self):
        """The library to preload; empty without a compiler."""
        library = self.root / "faults.so"
        if not library.exists():
            source = library.with_suffix(".c")
            source.write_text(FAULTS)
            if not shutil.which("cc") or subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]).returncode:
                return ""
        return str(library)

    def slow_disk(self, name, size, seconds, rng):
        """One call on a file takes so many seconds, five times the time-out: the other ranks wait for it."""
        if not self.faults():
            return "skipped: there is no cc here"
        folder, _ = self.reference(name, size)
        waited = []
        for call, count in CALLS.items():
            out, when = self.root / f"slow-{name}-{call}", rng.randint(1, count)
            began = time.monotonic()
            try:
                self.undisturbed(size, self.args(folder, out, max(2, seconds // 5)), self.root / "words",
                                 {"LD_PRELOAD": self.faults(), "CALL": call, "WHEN": str(when), "SECONDS": str(seconds),
                                  "UNDER": str(out)})
                found = runs.folder_difference(out, folder / "whole")
            except Failure as failure:
                found = str(failure)
            if found:
                raise Failure(f"{call} number {when} took {seconds} s: {found}")
            if time.monotonic() - began < seconds:
                raise Failure(f"there was no {call} number {when}")
            waited.append(f"{call} number {when}")
            shutil.rmtree(out)
        return f"as undisturbed, with {seconds} s for " + ", ".join(waited)

    def jumping_clock(self, name, size):
        if not self.faults():
            return "skipped: there is no cc here"
        folder, length = self.reference(name, size)
        for jump in (-86400, -5, 5, 86400):
            out = self.root / f"clock-{name}{jump}"
            self.undisturbed(size, self.args(folder, out, self.timeout), self.root / "words",
                             {"LD_PRELOAD": self.faults(), "JUMP": str(jump), "AFTER": str(0.6 * length)})
            found = runs.folder_difference(out, folder / "whole")
            if found:
                raise Failure(f"rank 0's clock jumped by {jump} s: {found}")
            shutil.rmtree(out)
        return "as undisturbed, 4 of 4"

    def two_launchers(self, name, size, rng):
        """One of them trains, the other leaves it to the first and ends with 75 on all its ranks."""
        folder, length = self.reference(name, size)
        for case in range(4):
            out = self.root / f"two-{name}-{case}"
            more = ["--resume"] if case % 2 else []
            first = Ranks(self.program, size, self.args(folder, out, 30, *more), self.root / "first")
            time.sleep(rng.uniform(0, 0.8 * length))
            second = Ranks(self.program, size, self.args(folder, out, 30, *more), self.root / "second")
            statuses = [r.wait(range(size), HANG) for r in (first, second)]
            said = [[r.said(i) for i in range(size)] for r in (first, second)]
            # The second may come when the first is done, and then says so; without --resume it is wrong usage to write
            # into a folder that has a run.
            late = 0 if more else 2
            trained = [s for s in statuses if not any(s)]
            other = [s for s in statuses if any(s)]
            if not trained or any(set(s) not in ({75}, {late}, {late, 1}) for s in other):
                raise Failure(f"two launchers{' with --resume' if more else ''}: {statuses}, {said}")
            if any(text.count("\n") > 1 for texts in said for text in texts):
                raise Failure(f"two launchers: more than one line: {said}")
            found = runs.folder_difference(out, folder / "whole")
            if found:
                raise Failure(f"two launchers: {found}")
            shutil.rmtree(out)
        return "one trained as undisturbed, 4 of 4"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--chains", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="begin", metavar="NUMBER", help="number of the first chain")
    parser.add_argument("--sizes", default="2,3,4", help="numbers of processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=6, metavar="SECONDS", help="--rank-timeout of disturbed runs; more on a busy machine")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one chain of that seed")
    parser.add_argument("--faults", type=int, metavar="SECONDS", help="the faults of rank 0, with a write of so many seconds")
    parser.add_argument("--folder", help="where the runs are made; default: the system's temporary folder")
    args = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="scalevec-ranks-", dir=args.folder))
    harness = Harness(args.program, root, [int(s) for s in args.sizes.split(",")], args.timeout)
    began, failed = time.monotonic(), 0
    counts, of = collections.Counter(), collections.Counter()
    numbers = range(args.begin, args.begin + args.chains) if args.only is None else [args.only]
    for number in numbers:
        try:
            kinds, where = harness.chain(number, random.Random(f"{args.seed}/{number}"))
            counts.update(kinds)
            of[where] += 1
            print(f"chain {number}: {where[0]}, {where[1]} processes: {', '.join(kinds) or 'ended before'}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAILED: {failure}\n  chain {number}, kept in {root}; again: --seed {args.seed} --only {number}", flush=True)
    if numbers:
        words = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
        chains = ", ".join(f"{n} of {name} in {size} processes" for (name, size), n in sorted(of.items()))
        print(f"{len(numbers)} chains from {numbers[0]}, seed {args.seed}: {failed} failed; {words}; {chains}; the ranks left "
              f"ended {harness.slowest:.1f} s after the loss at most, --rank-timeout {args.timeout}", flush=True)
    if args.faults:
        rng = random.Random(f"{args.seed}/faults")
        for name in sorted(CONFIGS):
            for what, test in (("full disk", lambda: harness.full_disk(name, 2)),
                               ("slow disk", lambda: harness.slow_disk(name, 2, args.faults, rng)),
                               ("jumping clock", lambda: harness.jumping_clock(name, 2)),
                               ("two launchers", lambda: harness.two_launchers(name, 2, rng))):
                try:
                    print(f"{what}, {name}: {test()}", flush=True)
                except Failure as failure:
                    failed += 1
                    print(f"FAILED: {what}, {name}: {failure}\n  kept in {root}", flush=True)
    if not failed:
        shutil.rmtree(root)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if failed else 0


sys.exit(main())
