"""A comparison whose cells run in many processes at once, some of them killed, is the comparison that one process makes.

    spread_test.py PROGRAM SOURCE schedulers|parallel
"""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM, SOURCE = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
EXAMPLES = SOURCE / "examples/comparison"

GRID = {
    "base": {
        "model": {"type": "output_scale", "replicas": 16},
        "threads": 1, "steps": 300,
        "optimizer": {"lr": 1e-2, "rules": [{"match": {}}]},
        "log": {"every": 10, "traces_every": 10}, "checkpoint": {"every": 50},
    },
    "variants": {"plain": {}, "decayed": {"optimizer.rules.0.weight_decay": 0.1}},
    "grid": {"optimizer.lr": [1e-3, 1e-2], "seed": [1]},
    "tuning_seeds": [7],
}
CELLS = 8


def call(folder, *arguments, status=0, **options):
    done = subprocess.run([PROGRAM, *map(str, arguments)], cwd=folder, capture_output=True, text=True, **options)
    assert done.returncode == status, f"{arguments}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands(folder, out, grid="grid.json"):
    return call(folder, "compare", grid, "--out", out, "--list-cells").splitlines()


def cells_of(out):
    return sorted(str(Path(p).parent.relative_to(out)) for p in glob.glob(f"{out}/*/*/cell.json"))


def lines_without_times(file):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second", "checksum")} for line in lines]


def assert_same(out, reference):
    """Every cell's weights, optimizer state and logs are the undisturbed comparison's."""
    assert cells_of(out) == cells_of(reference) and len(cells_of(out)) == CELLS
    for cell in cells_of(reference):
        a, b = out / cell, reference / cell
        for name in ("weights", "optimizer"):
            file = f"checkpoints/step-{steps_of(b):08d}/{name}.safetensors"
            assert (a / file).read_bytes() == (b / file).read_bytes(), f"{cell}: {name} differ"
        assert lines_without_times(a / "metrics.jsonl") == lines_without_times(b / "metrics.jsonl"), cell
        assert lines_without_times(a / "traces.jsonl") == lines_without_times(b / "traces.jsonl"), cell
    assert not glob.glob(f"{out}/.starting-*"), "a start left its scratch folder"


def steps_of(cell):
    return json.loads((cell / "config.json").read_text())["steps"]


def trainers_of(cell):
    found = []
    for file in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            arguments = Path(file).read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if b"train" in arguments and str(cell).encode() in arguments:
            found.append(int(file.split("/")[2]))
    return found


def collected(folder, out):
    text = call(folder, "compare", "grid.json", "--out", out, "--collect")
    assert (out / "report.html").stat().st_size > 1000
    return text


def test_each_command_three_times_at_once(folder, reference):
    out = folder / "thrice"
    lines = commands(folder, out)
    assert len(lines) == CELLS and not out.exists(), "listing cells writes nothing"
    for first in range(0, CELLS, 4):
        # From another folder, through a shell, as a scheduler would.
        workers = [subprocess.Popen(line, shell=True, cwd="/", stdout=subprocess.DEVNULL)
                   for line in lines[first:first + 4] for _ in range(3)]
        assert [w.wait() for w in workers] == [0] * 12, "who comes second ends well"
    assert commands(folder, out) == []
    for cell in cells_of(out):
        log = (out / cell / "log.txt").read_text()
        assert log.count("done: ") == 1, f"{cell} was trained more than once:\n{log}"
    assert "missing" not in collected(folder, out)
    assert_same(out, reference)


def test_a_dead_worker_costs_one_cell(folder, reference):
    out = folder / "dead"
    lines = commands(folder, out)
    victim, rest = lines[0], lines[1:]
    name = victim.split("--cell ")[1]
    log = out / name / "metrics.jsonl"
    for hard in (False, True):
        worker = subprocess.Popen(victim, shell=True, cwd="/", stdout=subprocess.DEVNULL, start_new_session=True)
        reached = log.read_text().count("\n") if log.exists() else 0
        while worker.poll() is None and (not log.exists() or log.read_text().count("\n") < reached + 3):
            time.sleep(0.002)
        if hard:  # the training process too; a dead parent alone stops it with a checkpoint
            for pid in trainers_of(out / name):
                os.kill(pid, signal.SIGKILL)
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    for line in rest:
        subprocess.run(line, shell=True, cwd="/", check=True, stdout=subprocess.DEVNULL)
    left = commands(folder, out)
    if left:  # empty only if the cell ended before its worker was killed
        assert left == [victim]
        assert f"1 of {CELLS} cells are missing" in collected(folder, out)
        subprocess.run(left[0], shell=True, cwd="/", check=True, stdout=subprocess.DEVNULL)
    assert commands(folder, out) == []
    assert_same(out, reference)


def test_the_slurm_script_with_a_task_twice(folder, reference):
    out = folder / "slurm"
    workers = [subprocess.Popen(["bash", EXAMPLES / "slurm.sbatch", "grid.json", out], cwd=folder,
                                stdout=subprocess.DEVNULL,
                                env=os.environ | {"SCALEVEC": str(PROGRAM), "SLURM_ARRAY_TASK_ID": str(task)})
               for task in (1, 2, 3, 4, 5, 6, 7, 8, 2)]
    assert [w.wait() for w in workers] == [0] * 9
    assert "missing" not in collected(folder, out)
    assert_same(out, reference)


def test_the_line_script(folder, reference):
    out = folder / "line"
    lines = commands(folder, out)
    (folder / "cells.txt").write_text("\n".join(lines) + "\n")
    subprocess.run([EXAMPLES / "line.sh", "cells.txt", "3"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    assert commands(folder, out) == lines[:3] + lines[4:]
    assert subprocess.run([EXAMPLES / "line.sh", "cells.txt", str(CELLS)], cwd=folder, stderr=subprocess.DEVNULL).returncode == 2
    text = collected(folder, out)
    assert f"{CELLS - 1} of {CELLS} cells are missing" in text and "not started" in text, text


def test_wrong_calls(folder, reference):
    for arguments, message in ((("--shard", "9/8"), "from 1 to N"), (("--cell", "plain/lr=0.01,seed=3"), "did you mean"),
                               (("--collect",), "nothing to collect"), (("--list-cells", "--collect"), "--collect"),
                               (("--list-cells", "--set", "stepz=3"), "stepz: unknown key")):
        done = subprocess.run([PROGRAM, "compare", "grid.json", "--out", "absent", *arguments], cwd=folder,
                              capture_output=True, text=True)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, (arguments, done)
        assert not (folder / "absent").exists()


def test_gnu_parallel(folder, reference):
    out = folder / "parallel"
    env = os.environ | {"SCALEVEC": str(PROGRAM)}
    done = subprocess.run([EXAMPLES / "parallel.sh", "grid.json", out, "3"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing" not in done.stdout and f"report: {out}/report.html" in done.stdout, done.stdout
    assert_same(out, reference)
    again = subprocess.run([EXAMPLES / "parallel.sh", "grid.json", out, "3"], cwd=folder, env=env, capture_output=True, text=True)
    assert again.returncode == 0 and f"{CELLS} of {CELLS} cells are finished" in again.stderr, again.stdout + again.stderr


def main():
    tests = {"schedulers": (test_each_command_three_times_at_once, test_a_dead_worker_costs_one_cell,
                            test_the_slurm_script_with_a_task_twice, test_the_line_script, test_wrong_calls),
             "parallel": (test_gnu_parallel,)}[sys.argv[3]]
    if sys.argv[3] == "parallel":
        version = shutil.which("parallel") and subprocess.run(["parallel", "--version"], capture_output=True, text=True).stdout
        if not version or "GNU parallel" not in version:
            print("skipped: GNU parallel is not installed (apt install parallel)")
            return 77
    with tempfile.TemporaryDirectory(prefix="scalevec spread ") as name:
        folder = Path(name)
        (folder / "grid.json").write_text(json.dumps(GRID))
        call(folder, "compare", "grid.json", "--out", "reference", "--jobs", "4")
        for test in tests:
            start = time.monotonic()
            test(folder, folder / "reference")
            print(f"{test.__name__}: {time.monotonic() - start:.1f} s")
    return 0


sys.exit(main())
