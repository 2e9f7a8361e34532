#!/usr/bin/env python3
"""The comparison of all methods: its grid, its runs, and the small file of results that the page is made of.

  scripts/optimizer_comparison.py config                                   writes experiments/configs/optimizers.json
  scripts/optimizer_comparison.py run --program scalevec --out DIR         tunes and trains, stage by stage; can be repeated
  scripts/optimizer_comparison.py speed --program scalevec --out DIR       times a training step of each method, on a quiet machine
  scripts/optimizer_comparison.py collect --out DIR                        writes docs/optimizers/comparison.json; reads data/gcide4

Every cell is one of the grid's, so that `scalevec compare experiments/configs/optimizers.json --out DIR` trains the rest.
"""
import argparse
import array
import collections
import json
import math
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = ROOT / "experiments/configs/optimizers.json"
RESULTS = ROOT / "docs/optimizers/comparison.json"
FACTORS = [0.03, 0.1, 0.3, 1, 3, 10, 30]  # of a method's middle learning rate
FIRST = [0.3, 1, 3]
TUNING_RUNS = 4
TUNING_SEED = 101
SEEDS = [1, 2, 3, 4, 5]
LR_KEY = "optimizer.rules.0.lr_mult"
TRACED = [10, 20, 30, 50, 70, 100, 130, 160, 190]  # steps whose traces the page shows
ADAMW_LR = 4e-3  # of what AdamW trains beside the method

ADAM_BETA2 = {"beta2": 0.99}
FLOAT32 = {"lr_scaling": "match_rms_adamw", "precision": "float32"}
MATRIX = {"matrix": True, "scales": False}
# method: middle learning rate, options, the alternative that one tuning run is for, what else differs
METHODS = {
    "adamw": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adam": (4e-3, {"beta2": 0.95}, None, {"same": "adamw"}),
    "nadam": (4e-3, {"beta2": 0.95}, None, {"same": "nadamw"}),
    "nadamw": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "radam": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adamax": (6e-3, {"beta2": 0.99}, {"beta2": 0.95}, {}),
    "laprop": (2e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adopt": (4e-3, {"beta2": 0.99}, {"beta2": 0.9999}, {}),
    "ademamix": (4e-3, {"beta2": 0.99, "beta3": 0.999, "alpha": 2, "alpha_warmup": 200, "beta3_warmup": 200},
                 {"alpha": 5}, {}),
    "adam_mini": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adamw8bit": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adafactor": (3e-2, {}, None, {}),
    "adagrad": (2e-2, {}, None, {}),
    "adadelta": (3, {}, {"eps": 1e-5}, {}),
    "rmsprop": (3e-3, {"alpha": 0.95}, {"alpha": 0.99}, {}),
    "rprop": (1e-3, {}, None, {}),
    "sgd": (0.3, {"momentum": 0.9}, {"momentum": 0.98}, {}),
    "asgd": (1, {}, None, {}),
    "signum": (1e-3, {"momentum": 0.9}, {"momentum": 0.95}, {}),
    "lion": (1e-3, {}, {"beta1": 0.95, "beta2": 0.98}, {}),
    "lion8bit": (1e-3, {}, {"beta1": 0.95, "beta2": 0.98}, {}),
    "mars_adamw": (4e-3, {}, {"gamma": 0.05}, {}),
    "mars_lion": (1e-3, {}, {"gamma": 0.05}, {}),
    "sophia": (2e-3, {"gamma": 0.05}, {"gamma": 0.01}, {}),
    "prodigy": (1, {"beta2": 0.99, "safeguard_warmup": True}, {"d_coef": 2}, {}),
    "schedulefree_adamw": (1e-2, {"beta2": 0.95}, {"beta1": 0.95}, {"constant": True}),
    "schedulefree_sgd": (2, {}, {"momentum": 0.95}, {"constant": True}),
    "muon": (6e-3, FLOAT32, {"momentum": 0.9}, MATRIX),
    "normuon": (6e-3, FLOAT32, {"momentum": 0.9}, MATRIX),
    "soap": (4e-3, {}, {"precondition_frequency": 3}, MATRIX),
    "dion": (1e-2, {}, {"rank_fraction": 0.25}, MATRIX),
    "scion": (3e-4, {"scale": 50, "precision": "float32"}, {"momentum": 0.95}, {"matrix": True}),
    "kron": (3e-3, {}, {"precond_lr": 0.3}, {}),
}
BASE = {
    "model": {"vocab_size": 256, "width": 64, "layers": 2, "heads": 2, "qk_norm": True},
    "data": {"dir": "data/gcide4"},
    "sequence_length": 64,
    "batch_size": 4,
    "steps": 200,
    "threads": 1,
    "optimizer": {"lr": ADAMW_LR, "max_norm": 1.0, "rules": [{"match": {"kind": "matrix"}, "lr_mult": 1}]},
    "schedule": {"shape": "cosine", "warmup_steps": 20, "final_factor": 0.05},
    "validation": {"sequences": 256},
    "log": {"every": 10, "traces_every": 10},
    "checkpoint": {"minutes": 0, "keep": 1},
}


def variant_name(method, alternative=False, own=False):
    option = METHODS[method][2]
    text = " " + " ".join(f"{k}={v}" for k, v in option.items()) if alternative else ""
    return method + text + (", own scales" if own else "")


def has_scales(method):
    return METHODS[method][3].get("scales", True)


def variant(method, alternative, own):
    lr, options, option, more = METHODS[method]
    kinds = ["matrix"] if more.get("matrix") else ["matrix", "embedding"]
    rest = ["embedding"] if more.get("matrix") else []
    (kinds if own else rest).append("scale")
    rules = [{"match": {"kind": kinds}, "method": method, "lr_mult": 1, **options, **(option if alternative else {})}]
    if rest:
        rules.append({"match": {"kind": rest}, "method": "adamw", "beta2": 0.95, "lr_mult": float(f"{ADAMW_LR / lr:.6g}")})
    out = {"optimizer.lr": lr, "optimizer.rules": rules}
    if more.get("constant"):
        out["schedule.shape"] = "constant"
        out["schedule.final_factor"] = None
    return out


def grid():
    variants = {}
    for method, (_, _, option, more) in METHODS.items():
        for own in [False, True] if has_scales(method) else [False]:
            for alternative in [False, True] if option else [False]:
                variants[variant_name(method, alternative, own)] = variant(method, alternative, own)
    return {"name": "every method on one small decoder", "base": BASE, "variants": variants, "baseline": "adamw",
            "tuning_seeds": [TUNING_SEED], "grid": {LR_KEY: FACTORS, "seed": SEEDS}, "lr_key": LR_KEY}


def config_text():
    whole = grid()
    lines = ["{",
             "  // Written by scripts/optimizer_comparison.py config, which also says which of these cells the page",
             "  // docs/optimizers/comparison.md has: four tuning runs per method, and fresh seeds at the best. The axis is the",
             "  // learning rate over the middle one of the method, which is the variant's optimizer.lr.",
             f'  "name": {json.dumps(whole["name"])},', '  "base": {']
    lines += [f"    {json.dumps(k)}: {json.dumps(v)}," for k, v in BASE.items()]
    lines[-1] = lines[-1][:-1]
    lines += ["  },", '  "variants": {']
    lines += [f"    {json.dumps(k)}: {json.dumps(v)}," for k, v in whole["variants"].items()]
    lines[-1] = lines[-1][:-1]
    lines += ["  },", f'  "baseline": {json.dumps(whole["baseline"])},', f'  "lr_key": {json.dumps(LR_KEY)},',
              f'  "tuning_seeds": {json.dumps(whole["tuning_seeds"])},', f'  "grid": {json.dumps(whole["grid"])}', "}"]
    return "\n".join(lines) + "\n"


class Runs:
    def __init__(self, out, program=None, jobs=2):
        self.out, self.program, self.jobs = pathlib.Path(out), program, jobs
        self.index = {}
        self.rescan()

    def rescan(self):
        for cell in self.out.glob("*/*/cell.json"):
            if cell.parent in self.index.values() or not (cell.parent / "summary.json").exists():
                continue
            identity = json.loads(cell.read_text())
            self.index[identity["variant"], identity["setting"][LR_KEY], identity["seed"]] = cell.parent

    def summary(self, name, factor, seed):
        folder = self.index.get((name, factor, seed))
        return json.loads((folder / "summary.json").read_text()) if folder else None

    def loss(self, name, factor, seed):
        """None: not run; infinite: diverged."""
        summary = self.summary(name, factor, seed)
        if summary is None or summary["status"] == "interrupted":
            return None
        value = summary.get("val_loss")
        return value if summary["status"] == "done" and value is not None else math.inf

    def train(self, wanted):
        """(name, factor, seed) -> trained, those with the same factor and seeds in one call of compare."""
        groups = {}
        for name, factor, seed in wanted:
            if self.loss(name, factor, seed) is None:
                groups.setdefault((factor, seed), []).append(name)
        for (factor, seed), names in groups.items():
            part = grid()
            part["variants"] = {name: part["variants"][name] for name in names}
            part["baseline"] = names[0]
            del part["tuning_seeds"]
            part["grid"] = {LR_KEY: [factor], "seed": [seed]}
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(part, file)
                file.flush()
                code = subprocess.call([self.program, "compare", file.name, "--out", str(self.out), "--jobs", str(self.jobs)],
                                       stdout=subprocess.DEVNULL)
            if code not in (0, 1):
                sys.exit(f"scalevec compare ended with {code}")
        self.rescan()


def beyond(factors, step):
    at = FACTORS.index(factors[-1] if step > 0 else factors[0]) + step
    return FACTORS[at] if 0 <= at < len(FACTORS) else None


class Tuning:
    """What has been tuned of one method: the losses that are there, the best, and the next run."""

    def __init__(self, runs, method):
        self.method = method
        self.lrs = {f: runs.loss(variant_name(method), f, TUNING_SEED) for f in FACTORS}
        self.lrs = {f: x for f, x in self.lrs.items() if x is not None}
        self.alternatives = {}
        if METHODS[method][2]:
            name = variant_name(method, True)
            losses = {f: runs.loss(name, f, TUNING_SEED) for f in FACTORS}
            self.alternatives = {f: x for f, x in losses.items() if x is not None}

    def count(self):
        return len(self.lrs) + len(self.alternatives)

    def best_lr(self):
        return min(self.lrs, key=self.lrs.get)

    def best(self):
        """(alternative?, factor)"""
        best = self.best_lr()
        better = [f for f, x in self.alternatives.items() if x < self.lrs[best]]
        return (True, min(better, key=self.alternatives.get)) if better else (False, best)

    def edge(self):
        factors = sorted(self.lrs)
        best = self.best()[1]
        return "low" if best == factors[0] else "high" if best == factors[-1] else ""

    def next(self):
        """Three learning rates; then one outward if the best is an end, else the alternative, else outward on the better side."""
        for f in FIRST:
            if f not in self.lrs:
                return False, f
        if self.count() >= TUNING_RUNS:
            return None
        factors, best = sorted(self.lrs), self.best_lr()
        inner = best not in (factors[0], factors[-1])
        if inner and self.count() == TUNING_RUNS - 1 and METHODS[self.method][2]:
            return True, best
        if inner:
            at = factors.index(best)
            up = self.lrs[factors[at + 1]] < self.lrs[factors[at - 1]]
        else:
            up = best == factors[-1]
        step = 1 if up else -1
        f = beyond(factors, step) or beyond(factors, -step)
        return (False, f)


def tuned_methods():
    return [m for m in METHODS if "same" not in METHODS[m][3]]


def tune(runs):
    runs.train([(variant_name(m), f, TUNING_SEED) for f in FIRST for m in tuned_methods()])
    while True:
        wanted = [(variant_name(m, n[0]), n[1], TUNING_SEED) for m in tuned_methods() if (n := Tuning(runs, m).next())]
        if not wanted:
            return
        runs.train(wanted)


def chosen(runs, method, own):
    """(name, factor) of a method's best, or of the method that takes the same steps without decay."""
    source = METHODS[method][3].get("same", method)
    alternative, factor = Tuning(runs, source).best()
    return variant_name(source, alternative, own), factor


def compare(runs):
    """In an order that makes the intervals of a run that is stopped early as narrow as they can be."""
    order = [(own, seed) for own in (False, True) for seed in SEEDS[:2]]
    for own, seed in order + [(own, seed) for own in (False, True) for seed in SEEDS[2:]]:
        runs.train([(*chosen(runs, m, own), seed) for m in tuned_methods() if has_scales(m) or not own])


def cell_config(method):
    """The configuration of the method's own best cell without its seed; AdamW trains the scale vectors."""
    config = json.loads(json.dumps(BASE))
    changes = variant(method, False, False)
    config["optimizer"].update(lr=changes["optimizer.lr"], rules=changes["optimizer.rules"])
    return config


def speed(args):
    """Seconds of a training step: the median over a run's log lines of ten steps each. Rounds are added to those of before."""
    file = pathlib.Path(args.out) / "speed.json"
    times = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            config = cell_config(method)
            config.update(steps=60, validation={"sequences": 1}, log={"every": 10, "traces_every": 0})
            path = pathlib.Path(folder) / "config.json"
            path.write_text(json.dumps(config))
            out = pathlib.Path(folder) / method
            subprocess.run([args.program, "train", path, "--out", out], check=True, capture_output=True)
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            rates = [x["tokens_per_second"] for x in lines if x["kind"] == "train" and x["step"] > 10]
            tokens = config["batch_size"] * config["sequence_length"]
            times.setdefault(method, []).append(statistics.median(tokens / rate for rate in rates))
    file.write_text(json.dumps(times, indent=1) + "\n")


def state_bytes(folder):
    """Bytes of optimizer state per element of the linear maps, which the method trains, from the run's last checkpoint."""
    state, elements = 0, 0
    last = sorted((folder / "checkpoints").iterdir())[-1]
    for name in ("weights", "optimizer"):
        with open(last / f"{name}.safetensors", "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        for tensor, entry in header.items():
            if tensor.startswith("layers.") and ".weight" in tensor and not tensor.endswith(("/method", "/step")):
                size = entry["data_offsets"][1] - entry["data_offsets"][0]
                state += size if name == "optimizer" else 0
                elements += math.prod(entry["shape"]) if name == "weights" else 0
    return state / elements


def rounded(x, digits=4):
    return None if x is None or not math.isfinite(x) else float(f"{x:.{digits}g}")


def traces(folder):
    out = {"steps": []}
    for line in (folder / "traces.jsonl").read_text().splitlines():
        line = json.loads(line)
        if line["step"] not in TRACED:
            continue
        out["steps"].append(line["step"])
        for group in line["groups"]:
            for key in ("effective_lr", "rotation"):
                out.setdefault(group["name"], {}).setdefault(key, []).append(rounded(group.get(key)))
    return out


def losses_json(losses):
    return [None if x is None else "diverged" if math.isinf(x) else round(x, 5) for x in losses]


def baseline_lower(runs):
    """The baseline's next lower tuned learning rate, as its factor, and the cells that show what luck in tuning makes."""
    tuned, (_, factor) = Tuning(runs, "adamw").lrs, chosen(runs, "adamw", False)
    lower = max(f for f in tuned if f < factor)
    return lower, [("adamw", lower, seed) for seed in SEEDS[:3]]


def pair_loss(folder):
    """Nats per token of a table of pairs, counted in the training tokens with 0.1 added to each, on the validation tokens."""
    parts = {}
    for part in ("train", "val"):
        tokens = array.array("H")
        for file in sorted(pathlib.Path(folder).glob(f"{part}_*.bin")):
            tokens.frombytes(file.read_bytes()[1024:])
        parts[part] = tokens
    train, val = parts["train"], parts["val"]
    firsts, pairs = collections.Counter(train), collections.Counter(zip(train, train[1:]))
    return -sum(n * math.log((pairs[a, b] + 0.1) / (firsts[a] + 25.6)) for (a, b), n in
                collections.Counter(zip(val, val[1:])).items()) / (len(val) - 1)


def finished_seeds(runs, own):
    """The seeds that every method has been trained with."""
    methods = [m for m in tuned_methods() if has_scales(m) or not own]
    return [seed for seed in SEEDS if all(runs.loss(*chosen(runs, m, own), seed) is not None for m in methods)]


def collect(args):
    runs = Runs(args.out)
    seeds = {own: finished_seeds(runs, own) for own in (False, True)}
    methods, times = [], json.loads((pathlib.Path(args.out) / "speed.json").read_text())
    for method, (lr, options, option, more) in METHODS.items():
        source = more.get("same", method)
        tuning = Tuning(runs, source)
        alternative, factor = tuning.best()
        entry = {"name": method, "lr": lr, "options": options, "alternative": option, **more, "factor": factor,
                 "took_alternative": alternative, "edge": tuning.edge(),
                 "tuning": dict(zip(map(str, sorted(tuning.lrs)), losses_json(tuning.lrs[f] for f in sorted(tuning.lrs)))),
                 "tuning_alternative": dict(zip(map(str, tuning.alternatives), losses_json(tuning.alternatives.values()))),
                 "step_seconds": rounded(statistics.median(times[method]))}
        for own in [False, True] if has_scales(method) else [False]:
            name, factor = chosen(runs, method, own)
            folder = runs.index[name, factor, SEEDS[0]]
            entry["own" if own else "adamw"] = {"losses": losses_json(runs.loss(name, factor, seed) for seed in seeds[own]),
                                                "traces": traces(folder)}
            if not own:
                entry["state_bytes"] = rounded(state_bytes(folder))
        methods.append(entry)
    lower, cells = baseline_lower(runs)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in runs.index.values()]
    one = summaries[0]
    result = {"base": BASE, "tuning_runs": TUNING_RUNS, "tuning_seed": TUNING_SEED, "seeds": seeds[False], "own_seeds": seeds[True], "adamw_lr": ADAMW_LR,
              "baseline_lower": {"factor": lower, "losses": losses_json(runs.loss(*cell) for cell in cells)},
              "runs": len(summaries), "diverged": sum(s["status"] == "diverged" for s in summaries),
              "cpu_seconds": round(sum(s["cpu_seconds"] for s in summaries)), "git_commit": one["git_commit"],
              "machine": one["machine"], "kernels": one["versions"]["kernels"], "parameters": one["parameters"],
              "scale_parameters": one["scale_parameters"], "pair_loss": rounded(pair_loss(BASE["data"]["dir"])), "data": one["data"].split(": ")[1], "data_hash": one["data_hash"]}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}," for k, v in result.items()]
    lines += [' "methods": [', ",\n".join("  " + json.dumps(m) for m in methods), " ]"]
    RESULTS.write_text("{\n" + "\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["config", "run", "speed", "collect"])
    parser.add_argument("--program", default="scalevec")
    parser.add_argument("--out", default="runs/optimizers")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if args.what == "config":
        CONFIG.write_text(config_text())
        return
    if args.what == "run":
        runs = Runs(args.out, args.program, args.jobs)
        tune(runs)
        compare(runs)
        runs.train(baseline_lower(runs)[1])
    if args.what == "speed":
        speed(args)
    if args.what == "collect":
        collect(args)


if __name__ == "__main__":
    main()
