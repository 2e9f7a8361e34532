#!/usr/bin/env python3
"""The stages of scripts/gpu_check.sh, which says how it is called."""
import argparse
import ctypes
import glob
import json
import lzma
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEAK = 989e12  # dense bfloat16 FLOP/s of an H100 or H200 by NVIDIA's datasheet


class Failed(Exception):
    """A stage's check did not hold; its result is kept."""

    def __init__(self, why, result=None):
        super().__init__(why)
        self.result = result


class NeedsGpu(Exception):
    """In a rehearsal."""


class Run:
    """Where programs, data and results are, and how a program is started."""

    def __init__(self, args):
        self.dry, self.pack = args.dry, pathlib.Path(args.pack).resolve()
        self.bin = self.pack / "bin"
        self.out = pathlib.Path(args.out).resolve()
        self.work = self.out / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.device = "cpu" if self.dry else "cuda"
        self.deadline = time.monotonic() + 60 * args.minutes
        self.stage_end = self.deadline
        torch = pathlib.Path(args.torch).resolve()
        libraries = [torch / "lib", *sorted(glob.glob(str(torch.parent / "nvidia/*/lib"))), self.pack / "lib"]
        # Python finds its own libraries.
        self.of_python = {**os.environ, "PYTHONPATH": f"{torch.parent}:{self.pack / 'bench'}"}
        path = ":".join(map(str, [*libraries, os.environ.get("LD_LIBRARY_PATH", "")])).rstrip(":")
        self.environment = {**os.environ, "LD_LIBRARY_PATH": path}
        for packed in (self.pack / "tokens").glob("*.xz"):
            shard = self.work / "tokens" / packed.stem
            if not shard.exists():
                shard.parent.mkdir(exist_ok=True)
                shard.write_bytes(lzma.decompress(packed.read_bytes()))
        self.data = {"dir": str(self.work / "tokens")}

    def command(self, command, limit=None, check=True):
        """Standard output and error of a command, which is ended with all its children when the stage's time is over."""
        left = self.stage_end - time.monotonic()
        limit = left if limit is None else min(limit, left)
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.of_python if command[0] == sys.executable else self.environment, cwd=self.work,
                                   start_new_session=True)
        try:
            out, error = process.communicate(timeout=max(limit, 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Failed(f"timed out: {' '.join(map(str, command))[-200:]}") from None
        if check and process.returncode != 0:
            raise Failed(f"status {process.returncode}: {(error or out).strip().splitlines()[-1:] or ['no output']}",
                         {"output": (out + error)[-4000:]})
        return out, error, process.returncode

    def bench(self, what, *options, config=None):
        command = [self.bin / "bench_cuda", what]
        if config is not None:
            command.append(self.write(f"{what}.json", config))
        command += ["--device", self.device, *(["--small", "--rounds", "2"] if self.dry else []), *options]
        return json.loads(self.command(command)[0])

    def peer(self, what, *options, config=None):
        command = [sys.executable, self.pack / "bench/cuda_peer.py", what]
        if config is not None:
            command.append(self.write(f"peer_{what}.json", config))
        small = (["--rounds", "2", "--steps", "2"] if self.dry else []) + (["--small"] if self.dry and what == "muon" else [])
        return json.loads(self.command(command + ["--device", self.device, *small, *options])[0])

    def write(self, name, config):
        path = self.work / name
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def config(self, width=128, layers=4, heads=4, vocab=256, length=128, batch=8, steps=100000, **more):
        out = {"model": {"vocab_size": vocab, "width": width, "layers": layers, "heads": heads}, "data": self.data,
               "sequence_length": length, "batch_size": batch, "steps": steps, "device": self.device,
               "optimizer": {"lr": 1e-3, "max_norm": 1.0, "rules": [{"match": {}, "weight_decay": 0.1}]}}
        for key, value in more.items():
            out[key] = {**out[key], **value} if isinstance(value, dict) and key in out else value
        return out

    def large(self, scales="plain", billions=False):
        """The decoder of 124M parameters (12 layers of 768, 50304 tokens, 1024 positions), or one of about 1B."""
        if self.dry:
            return self.config(64, 2, 2, length=32, batch=4, autocast="bfloat16", model={"scales": scales})
        shape = (2048, 16, 16, 50304, 1024, 16) if billions else (768, 12, 12, 50304, 1024, 32)
        return self.config(*shape, autocast="bfloat16", model={"scales": scales})


def flops_per_token(config):
    """Six per weight, and the causal half of attention's seven products, as bench/compare_with_pytorch.py counts."""
    m, length = config["model"], config["sequence_length"]
    width, layers = m["width"], m["layers"]
    hidden = -(-8 * width // 96) * 32
    return 6 * (layers * (4 * width * width + 3 * width * hidden) + m["vocab_size"] * width) + 7 * layers * length * width


def gap(a, b):
    return max(abs(x - y) / abs(y) for x, y in zip(a, b, strict=True))


def at_most(what, value, limit, result):
    if not value <= limit:
        raise Failed(f"{what}: {value:.3g}; allowed: at most {limit:g}", result)


# Correctness.


def machine(run):
    if run.dry:
        raise NeedsGpu
    out = run.command(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,compute_cap",
                       "--format=csv,noheader"])[0]
    return {"nvidia_smi": out.strip().splitlines()}


def device_tests(run):
    if run.dry:
        raise NeedsGpu
    result, bad = {}, []
    for name in ("test_cuda_device", "test_cuda_ops", "test_cuda_train"):
        out, error, status = run.command([run.bin / name], check=False)
        result[name] = {"status": status, "output": (out + error)[-6000:]}
        if status != 0 or "SKIPPED" in out:
            bad.append(name)
    if bad:
        raise Failed(f"{', '.join(bad)} failed", result)
    return result


def read_values(data):
    """Records of tests/cuda/noted_values.hpp: (bytes per number, values)."""
    at, records = 0, []
    while at < len(data):
        width, count = struct.unpack_from("<2q", data, at)
        records.append((width, struct.unpack_from(f"<{count}d", data, at + 16)))
        at += 16 + 8 * count
    return records


def values_gap(ours, theirs):
    """How many numbers have the same bits, and how many are further apart than the rounding of their type explains."""
    result = {"numbers": 0, "same_bits": 0, "beyond": 0}
    if [(w, len(v)) for w, v in ours] != [(w, len(v)) for w, v in theirs]:
        raise Failed("other records than the emulation's", {"records": [len(ours), len(theirs)]})
    for (width, a), (_, b) in zip(ours, theirs, strict=True):
        limit = {2: 2**-6, 4: 1e-4, 8: 1e-10}[width]
        result["numbers"] += len(a)
        for x, y in zip(a, b, strict=True):
            same = x == y or (x != x and y != y)
            result["same_bits"] += same
            result["beyond"] += not same and not abs(x - y) <= limit * max(abs(x), abs(y))
    return result


def emulation(run):
    """The kernels' numbers on the GPU beside those of the same source on the host, which came with the pack."""
    result = {}
    for program, tests in (("test_cuda", "~on the GPU*"), ("test_cuda_rows", "on the GPU*")):
        theirs = lzma.decompress((run.pack / f"emulation/{program}.xz").read_bytes())
        ours = run.work / f"values_{program}"
        status = 0
        if run.dry:
            ours.write_bytes(theirs)
        else:
            run.environment["SCALEVEC_NOTED_VALUES"] = str(ours)
            try:
                status = run.command([run.bin / "test_cuda_device", tests], check=False)[2]
            finally:
                del run.environment["SCALEVEC_NOTED_VALUES"]
        result[program] = {"status": status, **values_gap(read_values(ours.read_bytes()), read_values(theirs))}
    # Sums of terms of both signs may cancel, so that some numbers are further apart than their type's rounding.
    for program, found in result.items():
        at_most(f"{program}: share of numbers beyond rounding", found["beyond"] / found["numbers"], 0.01, result)
    return result


def losses(run):
    """50 losses in float32 and bfloat16 against the CPU's float32."""
    result, limits = {}, {"float32": 2e-3, "bfloat16": 3e-2}
    for dtype in limits:
        config = run.config(autocast="bfloat16" if dtype == "bfloat16" else "none")
        result[dtype] = run.bench("train", "--steps", "1", "--rounds", "40", config=config)["losses"]
    save = run.device
    run.device = "cpu"
    result["cpu"] = run.bench("train", "--steps", "1", "--rounds", "40", config=run.config())["losses"]
    run.device = save
    result["gaps"] = {dtype: gap(result[dtype], result["cpu"]) for dtype in limits}
    for dtype, limit in limits.items():
        at_most(f"{dtype} against the CPU", result["gaps"][dtype], limit, result)
    return result


def methods(run):
    """Every method, 20 steps against the CPU."""
    result = run.bench("methods", "--steps", "4" if run.dry else "20", config=run.config(64, 2, 2, length=32))
    bad = [name for name, r in result.items() if not r.get("loss_gap", 1) <= 1e-2]
    if bad:
        raise Failed(f"not as on the CPU: {', '.join(bad)}", result)
    return result


def graph(run):
    """Recorded steps against steps enqueued one by one: the same losses, and what recording saves."""
    config = run.config()
    result = {name: run.bench("train", "--steps", "20", *more, config=config)
              for name, more in (("recorded", []), ("enqueued", ["--no-graph"]))}
    result["gap"] = gap(result["recorded"]["losses"][:10], result["enqueued"]["losses"][:10])
    at_most("recorded against enqueued", result["gap"], 1e-3, result)
    return result


def resume(run):
    """A deterministic run that is killed and resumed has the bits of one that is not."""
    config = run.config(128, 2, 4, steps=60 if run.dry else 400, deterministic=True, autocast="bfloat16", checkpoint={"every": 20, "keep": 2}, log={"every": 20})
    for name in ("whole", "killed"):
        shutil.rmtree(run.work / name, ignore_errors=True)
    path = run.write("resume.json", config)
    run.command([run.bin / "scalevec", "train", path, "--out", "whole"])
    process = subprocess.Popen([str(run.bin / "scalevec"), "train", str(path), "--out", "killed"], cwd=run.work,
                               env=run.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not glob.glob(str(run.work / "killed/checkpoints/*")):
        time.sleep(0.02)
    process.kill()
    process.wait()
    run.command([run.bin / "scalevec", "train", path, "--out", "killed", "--resume"])
    lines = [(run.work / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines() for name in ("whole", "killed")]
    logged = [{line["step"]: line["loss"] for line in map(json.loads, of) if line["kind"] == "train"} for of in lines]
    if logged[0].keys() != logged[1].keys():
        raise Failed("the resumed run has other lines", {"steps": [sorted(of) for of in logged]})
    steps = sorted(logged[0])
    result = {"gap": gap([logged[1][s] for s in steps], [logged[0][s] for s in steps]), "same_bits": logged[0] == logged[1]}
    at_most("the resumed run's losses", result["gap"], 0, result)
    return result


def one_line(status, error):
    return status != 0 and error.startswith("scalevec: ") and error.strip().count("\n") == 0


def ends(run):
    """Two runs and two cells at once; one line where memory, a GPU for each rank, or the GPU itself is missing."""
    result, bad = {}, []
    small = run.config(64, 2, 2, length=32, steps=40, deterministic=True, log={"every": 10}, checkpoint={"every": 20, "keep": 1})
    path = run.write("ends.json", small)
    for name in ("alone", "first", "second", "ranks", "memory", "cells"):
        shutil.rmtree(run.work / name, ignore_errors=True)

    def start(out, **environment):
        return subprocess.Popen([str(run.bin / "scalevec"), "train", str(path), "--out", out], cwd=run.work, text=True,
                                env={**run.environment, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end(process, limit=30):
        try:
            return process.communicate(timeout=max(min(limit, run.stage_end - time.monotonic()), 1))[1], process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[1] + "timed out", process.returncode

    def call(command):
        try:
            out, error, status = run.command(command, 30, check=False)
            return out + error, status
        except Failed as e:
            return str(e), None

    def check(name, good, said):
        result[name] = {"good": bool(good), "said": said[-600:]}
        if not good:
            bad.append(name)

    error, status = end(start("alone"))
    check("alone", status == 0, error)
    both = [start("first"), start("second")]
    said = [end(process) for process in both]
    losses = [[json.loads(line).get("loss") for line in (run.work / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
              if (run.work / name / "metrics.jsonl").exists() else [] for name in ("alone", "first", "second")]
    check("two runs at once", losses[0] and losses[0] == losses[1] == losses[2], "".join(error for error, _ in said))
    ranks = [start("ranks", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                   MASTER_PORT="29517", GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo") for rank in (0, 1)]
    said = [end(process) for process in ranks]
    # More GPUs than one, or a rehearsal: they train.
    worked = all(status == 0 for _, status in said)
    check("two ranks", worked or all(one_line(status, error) for error, status in said), "".join(error for error, _ in said))
    grid = {"name": "two at once", "base": small, "baseline": "a", "variants": {"a": {}, "b": {"optimizer.lr": 2e-3}}, "grid": {"seed": [1, 2]}}
    said, status = call([run.bin / "scalevec", "compare", run.write("cells.json", grid), "--out", "cells", "--jobs", "2"])
    check("compare --jobs 2", status == 0, said)
    if not run.dry:
        # 4 million tokens at once: an activation alone has 32 GiB.
        path = run.write("ends.json", run.config(2048, 8, 16, length=256, batch=16384, steps=2))
        error, status = end(start("memory"))
        check("out of memory", one_line(status, error) and "memory" in error, error)
        said, status = call([run.bin / "test_cuda_train", "[lost]"])
        check("a GPU that fails", status == 0, said)
    if bad:
        raise Failed(f"{', '.join(bad)}", result)
    return result


def sanitizers(run):
    """compute-sanitizer over the kernels' tests, then, where time is left, the operators' and a training step's."""
    if run.dry:
        raise NeedsGpu
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    result, bad = {}, []
    for which, program, tests in (("memcheck", "test_cuda_device", []), ("racecheck", "test_cuda_device", []),
                                  ("memcheck", "test_cuda_train", ["ten steps on the GPU*"]), ("memcheck", "test_cuda_ops", []),
                                  ("initcheck", "test_cuda_device", []), ("synccheck", "test_cuda_device", [])):
        name = f"{which} of {program}"
        try:
            out, error, status = run.command([tool, "--tool", which, "--error-exitcode", "9", run.bin / program, *tests], check=False)
        except Failed:
            # Those of the kernels have to be known.
            if len(result) < 2:
                raise Failed(f"{name} timed out", result) from None
            result[name] = {"status": "no time"}
            break
        text = out + error
        result[name] = {"status": status, "summary": re.findall(r"=+ (?:ERROR|RACECHECK) SUMMARY:.*", text), "output": text[-3000:]}
        if status != 0:
            bad.append(name)
    if bad:
        raise Failed(f"{', '.join(bad)} not clean", result)
    return result


# Speed.


def bandwidth(run):
    return run.bench("copy")


def optimizer_step(run):
    return run.bench("step")


def muon(run):
    return {"ours": run.bench("muon")["ours"], **run.peer("muon")}


def operators(run):
    return run.bench("ops")


def rate(run, config, *options):
    result = run.bench("train", "--steps", "10", "--rounds", "5", *options, config=config)
    result.pop("losses")
    result["mfu"] = result["tokens_per_s"]["median"] * flops_per_token(config) / PEAK
    return result


def training(run):
    """The 124M decoder in bfloat16, and the same under torch.compile."""
    config = run.large()
    result = {"ours": rate(run, config), "config": config["model"]}
    peer = run.peer("train", *(["--eager"] if run.dry else ["--rounds", "5", "--steps", "10"]), config=config)
    result["torch.compile"] = {**peer, "mfu": peer["tokens_per_s"]["median"] * flops_per_token(config) / PEAK}
    return result


def traces(run):
    config = run.large()
    return {"off": rate(run, config), "on": rate(run, config, "--traces", "1")}


def unified(run):
    return {scales: rate(run, run.large(scales)) for scales in ("plain", "unified")}


def unified_1b(run):
    return {scales: rate(run, run.large(scales, billions=True)) for scales in ("plain", "unified")}


def profile(run):
    """One line of ncu of the step's kernel."""
    if run.dry:
        raise NeedsGpu
    tool = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
    metrics = ("gpu__time_duration.sum,dram__throughput.avg.pct_of_peak_sustained_elapsed,dram__bytes.sum,"
               "sm__throughput.avg.pct_of_peak_sustained_elapsed,launch__registers_per_thread")
    out = run.command([tool, "--clock-control", "none", "--kernel-name", "regex:step_kernel", "--launch-skip", "2", "--launch-count", "1",
                       "--metrics", metrics, "--csv", run.bin / "bench_cuda", "step", "--rounds", "1"])[0]
    return {"ncu": [line for line in out.splitlines() if line.startswith('"')]}


# With what is left.


def comparison(run):
    """No γ, plain and unified at 10M parameters, three seeds; a later call goes on."""
    base = run.config(64, 2, 2, length=32, steps=20) if run.dry else run.config(
        384, 6, 6, length=256, batch=64, steps=1000, autocast="bfloat16", schedule={"shape": "cosine", "warmup_steps": 100})
    base.update({"validation": {"every": 0, "sequences": 64}, "log": {"every": 10, "traces_every": 10}, "checkpoint": {"every": 200, "keep": 1}})
    grid = {"name": "no gamma, plain, unified at 10M", "base": base, "baseline": "plain",
            "variants": {"no gamma": {"model.scale_vectors": False}, "plain": {}, "unified": {"model.scales": "unified"}},
            "grid": {"seed": [1, 2, 3]}}
    command = [run.bin / "scalevec", "compare", run.write("comparison.json", grid), "--out", "comparison", "--jobs", "1"]
    try:
        run.command(command)
    finally:
        ends = {}
        for summary in glob.glob(str(run.work / "comparison/**/summary.json"), recursive=True):
            with open(summary, encoding="utf-8") as file:
                stored = json.load(file)
            ends[str(pathlib.Path(summary).parent.relative_to(run.work / "comparison"))] = {
                key: stored.get(key) for key in ("status", "val_loss", "best_val_loss", "train_loss")}
    return {"runs": ends}


def ledger(run):
    """The ledger's tier for one GPU; a later call goes on. A rehearsal prints its plan."""
    command = [run.bin / "scalevec", "claims", "--tier", "gpu", "--text", f"english-bytes={run.data['dir']}", "--out", "ledger",
               "--results", run.out / "results"]
    if run.dry:
        return {"plan": run.command([*command, "--plan"])[0].splitlines()[-4:]}
    try:
        return {"output": run.command(command)[0].splitlines()[-20:]}
    except Failed as e:
        raise Failed(f"{e}; its results so far are in {run.out / 'results'}", e.result) from None


CORRECT = {machine: 10, device_tests: 90, emulation: 30, losses: 60, methods: 90, graph: 30, resume: 60, ends: 120, sanitizers: 150}
SPEED = {bandwidth: 20, optimizer_step: 30, training: 120, unified: 60, muon: 40, traces: 60, operators: 60, unified_1b: 90, profile: 60,
         comparison: 600, ledger: 600}
STAGES = {f.__name__: (f, limit) for f, limit in {**CORRECT, **SPEED}.items()}


def why_no_gpu():
    """One line, or nothing."""
    for name in ("libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0:
            return ""
        return "the driver finds no GPU"
    return "no NVIDIA driver"


def run_stages(args):
    run = Run(args)
    chosen = args.stages.split(",") if args.stages else list(STAGES)
    names = [n for word in chosen for n in {"correctness": [f.__name__ for f in CORRECT], "speed": [f.__name__ for f in SPEED]}.get(word, [word])]
    for name in names:
        if name not in STAGES:
            sys.exit(f"gpu_check: no stage {name}; allowed: correctness, speed, {', '.join(STAGES)}")
    whole = run.out / "all.json"
    known = json.loads(whole.read_text(encoding="utf-8")) if whole.exists() else {}
    commit = (run.pack / "commit").read_text(encoding="utf-8").strip() if (run.pack / "commit").exists() else "unknown"
    bad = 0
    for name in names:
        stage, limit = STAGES[name]
        if known.get(name, {}).get("status") == "passed" and known[name].get("commit") == commit and not args.again:
            print(f"{name}: has passed", flush=True)
            continue
        start = time.monotonic()
        left = run.deadline - start
        entry = {"stage": name, "commit": commit, "dry": run.dry}
        if left < 5:
            print(f"{name}: no time left", flush=True)
            bad += 1
            continue
        run.stage_end = start + min(limit, left)
        try:
            entry.update(status="passed", result=stage(run))
        except NeedsGpu:
            entry.update(status="needs a GPU")
        except Failed as e:
            entry.update(status="failed", why=str(e), result=e.result)
        except Exception as e:  # a stage's own mistake stops no other
            entry.update(status="failed", why=f"{type(e).__name__}: {e}")
        entry["seconds"] = round(time.monotonic() - start, 1)
        bad += entry["status"] == "failed"
        known[name] = entry
        for path, text in ((whole, known), *(() if args.one_file else ((run.out / f"{name}.json", entry),))):
            part = path.with_suffix(".part")
            part.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
            part.replace(path)
        print(f"{name}: {entry['status']}, {entry['seconds']} s" + (f": {entry['why']}" if "why" in entry else ""), flush=True)
    sys.exit(1 if bad else 0)


def write_tokens(text, folder):
    """Bytes as compressed token shards of llm.c's format: 8 million to train on, half a million to validate."""
    data = pathlib.Path(text).read_bytes()[:8_500_000]
    split = len(data) * 16 // 17
    for name, part in (("train", data[:split]), ("val", data[split:])):
        header = struct.pack("<256i", 20240520, 1, len(part), *([0] * 253))
        shard = header + b"".join(bytes((b, 0)) for b in part)
        (pathlib.Path(folder) / f"bytes_{name}_000000.bin.xz").write_bytes(lzma.compress(shard))


def main():
    if sys.argv[1:2] == ["list"]:
        for name, (stage, limit) in STAGES.items():
            print(f"{name:16}{limit:5} s  {(stage.__doc__ or '').splitlines()[0] if stage.__doc__ else ''}".rstrip())
        return
    if sys.argv[1:2] == ["tokens"] and len(sys.argv) == 4:
        write_tokens(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="gpu_check.sh --run", description=__doc__)
    parser.add_argument("mode", choices=["run"], help=argparse.SUPPRESS)
    parser.add_argument("pack", metavar="DIR")
    parser.add_argument("--torch", required=True, metavar="PATH")
    parser.add_argument("--out", required=True, metavar="OUT")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--stages")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--one-file", action="store_true")
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args()
    why = "" if args.dry else why_no_gpu()
    if why:
        sys.exit(f"gpu_check: no GPU here: {why}")
    if not (pathlib.Path(args.torch) / "lib/libtorch_cpu.so").exists():
        sys.exit(f"gpu_check: {args.torch}: no LibTorch; allowed: the folder torch of a Python wheel")
    run_stages(args)


if __name__ == "__main__":
    main()
