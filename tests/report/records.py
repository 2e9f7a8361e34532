"""Comparisons and runs as `scalevec` would leave them, made without training."""
import json
import math
import random
import subprocess

GROUPS = ["embedding", "unembedding", "matrix.attn", "matrix.ffn", "scale.input", "scale.output"]
DONE, DIVERGED = "done", "diverged"


def write_run(folder, loss, seed, noise, status=DONE, steps=200, width=7):
    """A run's records whose validation loss falls to `loss`; `noise` is a random.Random."""
    folder.mkdir(parents=True)
    summary = {"status": status, "seed": seed, "git_commit": "c0ffee", "data_hash": "d1ce", "machine": "2 cores",
               "versions": {"libtorch": "2.11.0"}, "seconds": 21.5, "tokens": 512 * steps, "steps": steps,
               "parameters": 812000, "scale_parameters": 2304, "tokens_per_second": 23456.0}
    if status == DIVERGED:
        (folder / "summary.json").write_text(json.dumps({**summary, "reason": "loss is not finite at step 12"}))
        return
    summary["val_loss"] = loss
    (folder / "summary.json").write_text(json.dumps(summary))
    groups = [{"group": g, "method": "adamw", "tensors": 4, "count": 1234, "lr": 3e-3, "weight_decay": 0.1}
              for g in GROUPS]
    (folder / "policy.json").write_text(json.dumps({"words": "AdamW; decay on <matrices> & input scales.",
                                                    "groups": groups}))
    metrics, traces = [], []
    for step in range(1, steps + 1):
        y = loss + 2.5 * math.exp(-step / (0.12 * steps)) + 0.15 * (1 - step / steps)
        metrics.append({"kind": "train", "step": step, "tokens": 512 * step, "loss": y + noise.gauss(0, 0.03),
                        "grad_norm": math.exp(noise.gauss(0, 0.2)) * (0.4 + 4 / step)})
        if step % (steps // 20) == 0:
            metrics.append({"kind": "val", "step": step, "tokens": 512 * step, "loss": y if step < steps else loss})
            rows = []
            for i, g in enumerate(GROUPS):
                centre = 1 - 0.2 * step / steps
                row = {"name": g, "group": g, "count": 64, "effective_lr": 1e-3 * 3 ** i / (1 + step / 20),
                       "adaptive_lr": 2e-3 * (i + 1), "update_ratio": 1e-3 * 2 ** i / (1 + step / 50)}
                if g.startswith("scale"):
                    row["gamma_quantiles"] = [centre + 0.05 * (k - 3) * (1 + i % 2) for k in range(width)]
                rows.append(row)
            traces.append({"step": step, "params": [r for r in rows if "gamma_quantiles" in r], "groups": rows})
    for name, lines in (("metrics", metrics), ("traces", traces)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_comparison(program, folder, offsets, seeds=(1, 2, 3, 4), tuning=(11, 12), lrs=(1e-3, 2e-3, 4e-3, 8e-3),
                     spread=0.004, fate=None, name="demo"):
    """Runs GRID with `offsets` {variant: loss over the baseline's}, the first being the baseline, into folder/cmp.

    fate(variant, lr, seed) may give DIVERGED, or None for a run that is not there. Returns what the program printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = folder / "grid.json"
    content = {"name": name, "base": {}, "variants": {v: {} for v in offsets},
               "grid": {"optimizer.lr": list(lrs), "seed": list(seeds)}}
    if tuning:
        content["tuning_seeds"] = list(tuning)
    grid.write_text(json.dumps(content))
    out = folder / "cmp"
    out.mkdir()
    command = [program, "compare", str(grid), "--out", str(out), "--collect"]
    subprocess.run(command, check=True, capture_output=True)  # makes compare.json, which names the cells
    noise = random.Random(7)
    best = math.log(lrs[len(lrs) // 2])
    for cell in json.loads((out / "compare.json").read_text())["cells"]:
        lr, seed, variant = cell["setting"]["optimizer.lr"], cell["seed"], cell["variant"]
        status = fate(variant, lr, seed) if fate else DONE
        loss = 3.2 + 0.03 * math.sin(seed) + offsets[variant] + 0.03 * (math.log(lr) - best) ** 2
        loss += noise.gauss(0, spread) if spread else 0.0
        if status:
            write_run(out / cell["name"], loss, seed, noise, status)
            (out / cell["name"] / "cell.json").write_text(json.dumps({"hash": cell["hash"]}))
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
