#!/usr/bin/env python3
"""The comparison of all methods: its configuration, and the small file of results that the page is made of.

  scripts/optimizer_comparison.py config                                 writes experiments/configs/optimizers.json
  scalevec compare experiments/configs/optimizers.json --out DIR         tunes and trains; repeated, it goes on
  scripts/optimizer_comparison.py speed --program scalevec --out DIR     times a training step of each method, on a quiet machine
  scripts/optimizer_comparison.py collect --out DIR                      writes docs/optimizers/comparison.json; reads data/gcide4
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
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = ROOT / "experiments/configs/optimizers.json"
RESULTS = ROOT / "docs/optimizers/comparison.json"
FACTORS = [0.03, 0.1, 0.3, 1, 3, 10, 30]  # of a method's middle learning rate
START = [0.3, 1, 3]
SETTINGS = 4
TUNING_SEEDS = [101, 102]
SEEDS = [1, 2, 3, 4]
LR_KEY = "optimizer.rules.0.lr_mult"
STEPS = 1200
TRACED = [50, 100, 200, 300, 450, 600, 750, 900, 1050, 1150]  # steps whose traces the page shows
ADAMW_LR = 4e-3  # of what AdamW trains beside the method

ADAM_BETA2 = {"beta2": 0.99}
FLOAT32 = {"lr_scaling": "match_rms_adamw", "precision": "float32"}
MATRIX = {"matrix": True, "scales": False}
# method: middle learning rate, options, the alternative that one setting is for, what else differs
METHODS = {
    "adamw": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adam": (4e-3, {"beta2": 0.95}, None, {"same": "adamw"}),
    "nadam": (4e-3, {"beta2": 0.95}, None, {"same": "nadamw"}),
    "nadamw": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "radam": (4e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adamax": (6e-3, {"beta2": 0.99}, {"beta2": 0.95}, {}),
    "laprop": (2e-3, {"beta2": 0.95}, ADAM_BETA2, {}),
    "adopt": (4e-3, {"beta2": 0.99}, {"beta2": 0.9999}, {}),
    "ademamix": (4e-3, {"beta2": 0.99, "beta3": 0.999, "alpha": 2, "alpha_warmup": STEPS, "beta3_warmup": STEPS},
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
    "batch_size": 8,
    "steps": STEPS,
    "threads": 1,
    "optimizer": {"lr": ADAMW_LR, "max_norm": 1.0, "rules": [{"match": {"kind": "matrix"}, "lr_mult": 1}]},
    "schedule": {"shape": "cosine", "warmup_steps": 60, "final_factor": 0.05},
    "validation": {"sequences": 256},
    "log": {"every": 50, "traces_every": 50},
    "checkpoint": {"minutes": 0, "keep": 1},
}


OWN = ", own scales"  # the suffix of the variants whose scale vectors the method trains itself


def has_scales(method):
    return METHODS[method][3].get("scales", True)


def is_tuned(method):
    return "same" not in METHODS[method][3]


def variant(method, own):
    lr, options, _, more = METHODS[method]
    kinds = ["matrix"] if more.get("matrix") else ["matrix", "embedding"]
    rest = ["embedding"] if more.get("matrix") else []
    (kinds if own else rest).append("scale")
    rules = [{"match": {"kind": kinds}, "method": method, "lr_mult": 1, **options}]
    if rest:
        rules.append({"match": {"kind": rest}, "method": "adamw", "beta2": 0.95, "lr_mult": float(f"{ADAMW_LR / lr:.6g}")})
    out = {"optimizer.lr": lr, "optimizer.rules": rules}
    if more.get("constant"):
        out["schedule.shape"] = "constant"
        out["schedule.final_factor"] = None
    return out


def alternative(method):
    """The overrides of a method's other value of its tuned option."""
    option = METHODS[METHODS[method][3].get("same", method)][2]
    return {f"optimizer.rules.0.{key}": value for key, value in option.items()} if option else None


def comparison():
    variants = {method: variant(method, False) for method in METHODS}
    same_as = {method: METHODS[method][3]["same"] for method in METHODS if not is_tuned(method)}
    for method in METHODS:
        if has_scales(method) and is_tuned(method):
            variants[method + OWN] = variant(method, True)
            same_as[method + OWN] = method
    alternatives = {name: alternative(name.removesuffix(OWN)) for name in variants if alternative(name.removesuffix(OWN))}
    return {"name": "every method on one small decoder", "base": BASE, "variants": variants, "baseline": "adamw",
            "lr_key": LR_KEY, "tuning_seeds": TUNING_SEEDS, "grid": {LR_KEY: FACTORS, "seed": SEEDS},
            "search": {"start": START, "settings": SETTINGS, "alternatives": alternatives, "same_as": same_as}}


def config_text():
    whole = comparison()

    def block(entries, indent):
        inner = [f"{indent}  {json.dumps(k)}: {json.dumps(v)}," for k, v in entries.items()]
        inner[-1] = inner[-1][:-1]
        return "{\n" + "\n".join(inner) + f"\n{indent}}}"

    search = dict(whole["search"])
    parts = {key: json.dumps(value) for key, value in whole.items()}
    parts["base"] = block(whole["base"], "  ")
    parts["variants"] = block(whole["variants"], "  ")
    parts["search"] = ('{"start": ' + json.dumps(search["start"]) + ', "settings": ' + json.dumps(search["settings"]) +
                       ',\n    "alternatives": ' + block(search["alternatives"], "    ") +
                       ',\n    "same_as": ' + block(search["same_as"], "    ") + "}")
    return ("{\n  // Written by scripts/optimizer_comparison.py config. The axis is the learning rate over the middle one of the\n"
            "  // method, which is the variant's optimizer.lr. Results: docs/optimizers/comparison.md.\n" +
            ",\n".join(f'  "{key}": {text}' for key, text in parts.items()) + "\n}\n")


class Runs:
    """The finished runs of a comparison's folder."""

    def __init__(self, out):
        self.index = {}
        for cell in pathlib.Path(out).glob("*/*/cell.json"):
            if (cell.parent / "summary.json").exists():
                identity = json.loads(cell.read_text())
                setting = identity["setting"]
                self.index[identity["variant"], setting[LR_KEY], "alternative" in setting, identity["seed"]] = cell.parent

    def summary(self, *cell):
        return json.loads((self.index[cell] / "summary.json").read_text())

    def losses(self, name, factor, other, seeds):
        """A loss per seed; infinite: diverged. None if one is missing."""
        out = []
        for seed in seeds:
            if (name, factor, other, seed) not in self.index:
                return None
            summary = self.summary(name, factor, other, seed)
            value = summary.get("val_loss")
            out.append(value if summary["status"] == "done" and value is not None else math.inf)
        return out


class Tuning:
    """What was tuned of one method: mean losses over the tuning seeds, by factor, and the choice of `scalevec compare`."""

    def __init__(self, runs, method):
        def means(other):
            found = {f: runs.losses(method, f, other, TUNING_SEEDS) for f in FACTORS}
            return {f: statistics.fmean(x) for f, x in found.items() if x}

        self.lrs, self.alternatives = means(False), means(True)
        settings = [(x, f, False) for f, x in self.lrs.items()] + [(x, f, True) for f, x in self.alternatives.items()]
        _, self.factor, self.other = min(settings)
        factors = sorted(self.lrs)
        self.edge = "low" if self.factor == factors[0] else "high" if self.factor == factors[-1] else ""


def cell_config(method):
    """The configuration of the method's own best cell without its seed; AdamW trains the scale vectors."""
    config = json.loads(json.dumps(BASE))
    changes = variant(method, False)
    config["optimizer"].update(lr=changes["optimizer.lr"], rules=changes["optimizer.rules"])
    return config


def speed(args):
    """Seconds of a training step: the median over a run's log lines of ten steps each. Repeated, it adds a round; the least
    of all rounds counts, since other work on the machine only adds time."""
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


def collect(args):
    runs = Runs(args.out)
    methods, times = [], json.loads((pathlib.Path(args.out) / "speed.json").read_text())
    for method, (lr, options, _, more) in METHODS.items():
        source = more.get("same", method)
        tuning = Tuning(runs, source)
        entry = {"name": method, "lr": lr, "options": options, "alternative": METHODS[source][2], **more, "factor": tuning.factor,
                 "took_alternative": tuning.other, "edge": tuning.edge,
                 "tuning": dict(zip(map(str, sorted(tuning.lrs)), losses_json(tuning.lrs[f] for f in sorted(tuning.lrs)))),
                 "tuning_alternative": dict(zip(map(str, tuning.alternatives), losses_json(tuning.alternatives.values()))),
                 "step_seconds": rounded(min(times[method]))}
        for own in [False, True] if has_scales(method) and is_tuned(method) else [False]:
            name = method + OWN if own else method
            folder = runs.index[name, tuning.factor, tuning.other, SEEDS[0]]
            entry["own" if own else "adamw"] = {"losses": losses_json(runs.losses(name, tuning.factor, tuning.other, SEEDS)),
                                                "traces": traces(folder)}
            if not own:
                entry["state_bytes"] = rounded(state_bytes(folder))
        methods.append(entry)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in runs.index.values()]
    one = summaries[0]
    result = {"base": BASE, "settings": SETTINGS, "speed_rounds": min(map(len, times.values())), "tuning_seeds": TUNING_SEEDS, "seeds": SEEDS, "adamw_lr": ADAMW_LR,
              "runs": len(summaries), "diverged": sum(s["status"] == "diverged" for s in summaries),
              "cpu_seconds": round(sum(s["cpu_seconds"] for s in summaries)), "git_commit": one["git_commit"],
              "machine": one["machine"], "kernels": one["versions"]["kernels"], "parameters": one["parameters"],
              "scale_parameters": one["scale_parameters"], "pair_loss": rounded(pair_loss(BASE["data"]["dir"])),
              "data": one["data"], "data_hash": one["data_hash"]}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}," for k, v in result.items()]
    lines += [' "methods": [', ",\n".join("  " + json.dumps(m) for m in methods), " ]"]
    RESULTS.write_text("{\n" + "\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["config", "speed", "collect"])
    parser.add_argument("--program", default="scalevec")
    parser.add_argument("--out", default="runs/optimizers")
    args = parser.parse_args()
    if args.what == "config":
        CONFIG.write_text(config_text())
    if args.what == "speed":
        speed(args)
    if args.what == "collect":
        collect(args)


if __name__ == "__main__":
    main()
