"""A comparison's choices and intervals anew: own best by leave-one-out, paired differences, Student's t by integration."""
import json
import math
import subprocess


def t_quantile(probability, freedom):
    """Where the distribution function of Student's t reaches `probability` > ½: bisection on Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def beyond_half(x, pieces=4000):
        # With t = √ν tan φ the integrand is smooth on a finite range.
        top = math.atan(x / math.sqrt(freedom))
        h = top / pieces
        values = [math.cos(i * h) ** (freedom - 1) for i in range(pieces + 1)]
        return scale * math.sqrt(freedom) * h / 3 * (values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2]))
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond_half(middle) < probability - 0.5 else (low, middle)
    return (low + high) / 2


def check_comparison(program, root, close, check):
    """A grid over an lr that is too high, two further axes, and a variant that always diverges."""
    lrs, seeds = [0.02, 0.3, 2.5], [1, 2, 3, 4]
    rule = {"match": {}, "method": "sgd"}
    grid = {"base": {"model": {"type": "output_scale", "replicas": 4, "sigma": 1.0}, "steps": 40, "threads": 1,
                     "optimizer": {"lr": 0.1, "rules": [rule]}},
            "variants": {"plain": {}, "decay": {"optimizer.rules.0.weight_decay": 0.2, "optimizer.rules.0.decay_coupling": "lr"},
                         "dead": {"model.curvature": 1e12}},
            "grid": {"optimizer.lr": lrs, "seed": seeds}}
    (root / "grid.json").write_text(json.dumps(grid))
    out = root / "comparison"
    done = subprocess.run([program, "compare", root / "grid.json", "--out", out], capture_output=True, text=True)
    check(done.returncode == 0, f"compare: {done.stderr}")
    report = json.loads((out / "report.json").read_text())
    cells = {(c["variant"], c["setting"]["optimizer.lr"], c["seed"]): out / c["name"] for c in report["cells"]}
    losses = {}
    for key, folder in cells.items():
        summary = json.loads((folder / "summary.json").read_text())
        losses[key] = summary["val_loss"] if summary["status"] == "done" else math.inf

    def chosen(variant, seed):
        means = [math.fsum(losses[variant, lr, s] for s in seeds if s != seed) / (len(seeds) - 1) for lr in lrs]
        return lrs[means.index(min(means))]
    own = {v: [losses[v, chosen(v, s), s] for s in seeds] for v in grid["variants"]}
    quantile = t_quantile(0.975, len(seeds) - 1)
    by_name = {v["name"]: v for v in report["variants"]}
    for name in ("plain", "decay"):
        check([c["optimizer.lr"] for c in by_name[name]["chosen"]] == [chosen(name, s) for s in seeds], f"choice of {name}")
        for got, expected in zip(by_name[name]["own"]["losses"], own[name]):
            close(f"own loss: {name}", got, expected, 1e-14)
    difference = [a - b for a, b in zip(own["decay"], own["plain"])]
    mean = math.fsum(difference) / len(difference)
    sd = math.sqrt(math.fsum((d - mean) ** 2 for d in difference) / (len(difference) - 1))
    got = by_name["decay"]["own"]["difference"]
    for key, expected in (("mean", mean), ("sd", sd), ("low", mean - quantile * sd / 2), ("high", mean + quantile * sd / 2)):
        close(f"interval: {key}", got[key], expected, 1e-9, 1e-12)
    check(all(math.isinf(losses["dead", lr, s]) for lr in lrs for s in seeds), "the dead variant lives")
    check(by_name["dead"]["edge"] == "none" and by_name["dead"]["diverged"] == 12, f"dead: {by_name['dead']['edge']}")
    check(any("All runs of dead diverged" in line for line in report["findings"]), f"findings: {report['findings']}")
