#!/usr/bin/env python3
"""Computes anew, in Python, what runs leave: losses, gradients, steps of eight methods, traces, schedules and a comparison's
statistics, over scale designs, methods and both dtypes. Bounds are those of rounding: 1e-9 relative in float64, 3e-5 in
float32 (where not said otherwise), which a false factor or a missing term does not meet.

    python3 tests/recompute/recompute_test.py --program build/cpu/bin/scalevec          # some runs of each kind
    python3 tests/recompute/recompute_test.py --program build/cpu/bin/scalevec --all    # every design × method × dtype
"""
import argparse
import array
import itertools
import json
import math
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import statistics_anew
from decoder import Decoder, read_safetensors

BATCH, VALIDATION, LENGTH, VOCAB, STEPS = 3, 2, 5, 11, 5
DESIGNS = {
    "plain": {"qk_norm": True}, "none": {"scales": "none"}, "hg": {"scales": "hg"}, "dp": {"scales": "dp"},
    "dnp": {"scales": "dnp"}, "or": {"scales": "or", "qk_norm": True}, "unified": {"scales": "unified"},
    "zero_centred": {"scales": {"preset": "plain", "form": "zero_centred"}},
    "exp": {"scales": {"preset": "plain", "form": "exp"}}, "product": {"scales": {"preset": "plain", "form": "product"}},
    "er": {"scales": {"preset": "hg", "form": "er"}, "kv_heads": 1},
    "exp_sum": {"scales": {"preset": "plain", "form": "exp_sum"}, "tie_embeddings": False},
    "exp_product": {"scales": {"preset": "plain", "form": "exp_product"}},
}
METHODS = {
    "adamw": {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6},
    "sgd": {"momentum": 0.9, "nesterov": True},
    "lion": {"beta1": 0.9, "beta2": 0.98},
    "signum": {"momentum": 0.7},
    "ademamix": {"beta1": 0.8, "beta2": 0.95, "beta3": 0.97, "alpha": 3, "alpha_warmup": 3, "beta3_warmup": 3, "eps": 1e-6},
    "muon": {"precision": "auto"},
    "normuon": {"precision": "auto", "beta2": 0.9},
    "soap": {"beta1": 0.9, "beta2": 0.95, "eps": 1e-6, "precondition_frequency": 2},
}
MATRIX_METHODS = ("muon", "normuon", "soap")  # the other tensors are AdamW's then
SCHEDULES = [
    {"shape": "linear", "warmup_steps": 2, "final_factor": 0.25},
    {"shape": "cosine", "final_factor": 0.1},
    {"shape": "wsd", "warmup_steps": 1, "decay_steps": 2, "decay_shape": "sqrt"},
    {"shape": "wsd", "decay_steps": 1, "decay_shape": "cosine", "final_factor": 0.5},
    {"shape": "constant", "warmup_steps": 3},
]
COUPLINGS = ["l2", "lr", "independent", "lr2"]
LR, DECAY, MAX_NORM = 3e-3, 0.2, 0.7

worst = {}
failures = []


def close(what, got, expected, relative, absolute=0.0):
    """Notes the largest error of each kind, in units of its bound."""
    bound = relative * abs(expected) + absolute
    error = abs(got - expected) / bound if bound > 0 else 0.0 if got == expected else math.inf
    kind = what.split(":")[0]
    worst[kind] = max(worst.get(kind, 0.0), error)
    if not error <= 1.0:  # NaN too
        failures.append(f"{what}: {got!r} in place of {expected!r}")


def check(holds, what):
    if not holds:
        failures.append(what)


def write_tokens(folder):
    """Shards that hold one batch and the validation sequences exactly; returns the sequences of both."""
    folder.mkdir()
    noise, out = random.Random(5), []
    for split, count in (("train", BATCH), ("val", VALIDATION)):
        tokens = [noise.randrange(VOCAB) for _ in range(count * LENGTH + 1)]
        header = struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253)
        (folder / f"{split}_000000.bin").write_bytes(header + array.array("H", tokens).tobytes())
        out.append([tokens[i * LENGTH:(i + 1) * LENGTH + 1] for i in range(count)])
    return out


def factor_at(schedule, t, steps):
    """docs/configuration.md's table."""
    warmup, final = schedule.get("warmup_steps", 0), schedule.get("final_factor", 0.0)
    if t < warmup:
        return (t + 1) / warmup
    shape = schedule["shape"]
    start = steps - schedule["decay_steps"] if shape == "wsd" else max(warmup, 1)
    if shape == "constant" or t < start:
        return 1.0
    x = (t - start + 1) / (steps - start)
    if shape == "wsd":
        shape = schedule.get("decay_shape", "linear")
    left = {"linear": 1 - x, "cosine": (1 + math.cos(math.pi * x)) / 2, "sqrt": 1 - math.sqrt(x)}[shape]
    return final + (1 - final) * left


def product(a, b):
    return [[math.fsum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]


def matrix_of(values, columns):
    return [values[i:i + columns] for i in range(0, len(values), columns)]


def polar(matrix, eps):
    """Five of Jordan's steps on the smaller side."""
    rows, columns = len(matrix), len(matrix[0])
    x = [list(c) for c in zip(*matrix)] if rows > columns else [list(r) for r in matrix]
    norm = math.sqrt(math.fsum(v * v for row in x for v in row))
    x = [[v / max(norm, eps) for v in row] for row in x]
    for _ in range(5):
        gram = product(x, list(zip(*x)))
        square = product(gram, gram)
        mixed = [[-4.7750 * g + 2.0315 * s for g, s in zip(u, v)] for u, v in zip(gram, square)]
        moved = product(mixed, x)
        x = [[3.4445 * v + m for v, m in zip(u, w)] for u, w in zip(x, moved)]
    return [list(c) for c in zip(*x)] if rows > columns else x


def sign(x):
    return (x > 0) - (x < 0)


def stepped(row, p, grad, state, lr, shape, clip):
    """The tensor after a step of its method, from docs/optimizers. Also elements that a sign near 0 leaves open."""
    o = {**METHODS[row["method"]]}
    coupling, ratio = row["decay_coupling"], lr / row["lr"]
    target, decay = row["decay_target"], row["weight_decay"]
    shrink = {"l2": 0.0, "lr": lr * decay, "independent": ratio * decay, "lr2": ratio * lr * decay}[coupling]
    g = [clip * x + (decay * (v - target) if coupling == "l2" else 0.0) for x, v in zip(grad, p)]
    zeros, t = [0.0] * len(p), state.get("step", [0])[0] + 1
    open_signs = set()
    if row["method"] == "adamw":
        m = [o["beta1"] * a + (1 - o["beta1"]) * b for a, b in zip(state.get("exp_avg", zeros), g)]
        v = [o["beta2"] * a + (1 - o["beta2"]) * b * b for a, b in zip(state.get("exp_avg_sq", zeros), g)]
        denominator = [math.sqrt(x / (1 - o["beta2"] ** t)) + o["eps"] for x in v]
        move = [lr * a / (1 - o["beta1"] ** t) / b for a, b in zip(m, denominator)]
        adaptive = math.fsum(lr / b for b in denominator) / len(p)
    else:
        adaptive = None
    if row["method"] == "sgd":
        before = state.get("momentum_buffer")
        b = g if before is None or t == 1 else [o["momentum"] * x + y for x, y in zip(before, g)]
        move = [lr * (y + o["momentum"] * x) for x, y in zip(b, g)]
    if row["method"] in ("lion", "signum"):
        mu = o["beta1"] if row["method"] == "lion" else o["momentum"]
        before = state.get("exp_avg" if row["method"] == "lion" else "momentum_buffer", zeros)
        mixed = [mu * a + (1 - mu) * b for a, b in zip(before, g)]
        scale = max(map(abs, mixed), default=0.0)
        open_signs = {i for i, x in enumerate(mixed) if abs(x) < 1e-4 * scale}
        move = [lr * sign(x) for x in mixed]
    if row["method"] == "ademamix":
        part = min(1.0, t / o["beta3_warmup"])
        beta3 = math.exp(1 / ((1 - part) / math.log(o["beta1"]) + part / math.log(o["beta3"])))
        alpha = o["alpha"] * min(1.0, t / o["alpha_warmup"])
        fast = [o["beta1"] * a + (1 - o["beta1"]) * b for a, b in zip(state.get("exp_avg_fast", zeros), g)]
        slow = [beta3 * a + (1 - beta3) * b for a, b in zip(state.get("exp_avg_slow", zeros), g)]
        v = [o["beta2"] * a + (1 - o["beta2"]) * b * b for a, b in zip(state.get("exp_avg_sq", zeros), g)]
        denominator = [math.sqrt(x / (1 - o["beta2"] ** t)) + o["eps"] for x in v]
        move = [lr * (a / (1 - o["beta1"] ** t) + alpha * b) / c for a, b, c in zip(fast, slow, denominator)]
        adaptive = math.fsum(lr / b for b in denominator) / len(p)
    if row["method"] == "soap":
        rows, columns = shape
        left, right = (matrix_of(state[side + "_basis"], n) for side, n in (("left", rows), ("right", columns)))

        def turned(x):
            return product(product([list(c) for c in zip(*left)], matrix_of(x, columns)), right)
        m = [o["beta1"] * a + (1 - o["beta1"]) * b for a, b in zip(state["exp_avg"], g)]
        new, mean = turned(g), turned(m)
        v = matrix_of(state["exp_avg_sq"], columns)
        taken = t - 1  # the first step only fills the state
        inner = [[a / (1 - o["beta1"] ** taken) /
                  (math.sqrt((o["beta2"] * c + (1 - o["beta2"]) * b * b) / (1 - o["beta2"] ** taken)) + o["eps"])
                  for a, b, c in zip(*lines)] for lines in zip(mean, new, v)]
        move = [lr * x for line in product(product(left, inner), [list(c) for c in zip(*right)]) for x in line]
    if row["method"] in ("muon", "normuon"):
        m = [0.95 * a + 0.05 * b for a, b in zip(state.get("momentum_buffer", zeros), g)]
        mixed = [0.05 * a + 0.95 * b for a, b in zip(g, m)]
        rows, columns = shape
        q = polar(matrix_of(mixed, columns), 1e-7)
        scale = lr * math.sqrt(max(1.0, rows / columns))
        if row["method"] == "normuon":
            v = [o["beta2"] * a + (1 - o["beta2"]) * math.fsum(x * x for x in line) / columns
                 for a, line in zip(state.get("second_momentum_buffer", [0.0] * rows), q)]
            whole = norm(sum(q, []))
            q = [[x / (math.sqrt(a) + 1e-10) for x in line] for a, line in zip(v, q)]
            scale *= whole / (norm(sum(q, [])) + 1e-10)
        move = [scale * x for line in q for x in line]
    return [v - shrink * (v - target) - d for v, d in zip(p, move)], open_signs, adaptive


def norm(x):
    return math.sqrt(math.fsum(v * v for v in x))


def rotation_of(p, q):
    """By what of q is across p, element by element: nothing cancels. `floor`: docs/traces.md, Precision."""
    along = math.fsum(a * b for a, b in zip(p, q)) / math.fsum(a * a for a in p)
    return math.atan2(norm([b - along * a for a, b in zip(p, q)]), along * norm(p))


def check_traces(where, row, p, q, grad, lr, relative, single, terms=0.0):
    """The traces that are formulas of p before, q after and the gradient, of which `terms` is the norm of the sums of its
    terms' absolute values: what remains of large terms has their rounding, 16 units in the last place of float32."""
    rounding = 16 * 2.0 ** -24 * terms if single else 0.0
    delta = [b - a for a, b in zip(p, q)]
    exact = 1e-6 if single else 1e-11  # sums over stored values
    close(f"param_norm: {where}", row["param_norm"], norm(p), exact)
    close(f"update_norm: {where}", row["update_norm"], norm(delta), exact)
    close(f"grad_norm: {where}", row["grad_norm"], norm(grad), relative, relative * 1e-3 + rounding)
    close(f"scheduled_lr: {where}", row["scheduled_lr"], lr, 1e-12)
    close(f"predicted_decrease: {where}", row["predicted_decrease"], -math.fsum(a * b for a, b in zip(grad, delta)),
          relative, (relative * norm(grad) + rounding) * norm(delta))
    if norm(p) > 0:
        close(f"update_ratio: {where}", row["update_ratio"], norm(delta) / norm(p), exact)
    if norm(grad) > 0:
        close(f"effective_lr: {where}", row["effective_lr"], norm(delta) / norm(grad), relative + rounding / norm(grad))
    if norm(p) == 0:
        return
    # What the type's rounding turns the tensor by, and what rounding of double sums leaves.
    floor = max((2.0 ** -23 if single else 2.0 ** -52) / math.sqrt(12.0), math.sqrt(64 * 2.0 ** -52) * norm(delta) / norm(p))
    true = rotation_of(p, q)
    if len(p) == 1:
        check(row.get("rotation") == (0.0 if p[0] * q[0] > 0 else math.pi), f"rotation of one element: {where}: {row}")
    elif "rotation" in row:
        # The sums' last places are 2^-52 of ‖p‖²‖Δ‖², whose root the angle is.
        ratio = norm(delta) / norm(p)
        close(f"rotation: {where}", row["rotation"], true, 7.5e-6 if single else 1e-9, 64 * 2.0 ** -52 * ratio ** 2 / true if true else 0.0)
    elif any(delta):
        check(true < 1.1 * floor, f"rotation: {where}: {true} is left out, above its floor {floor}")


def gammas_of(tensors, path, form):
    decoder = Decoder({"norm_eps": 0.0}, tensors)
    from decoder import Tape
    decoder.t, decoder.form = Tape(), form
    decoder.leaves = {name: [decoder.t.leaf(x) for x in values] for name, (_, values) in tensors.items()}
    return [decoder.t.value[i] for i in decoder.gamma(path)]


def quantile(values, at):
    values = sorted(values)
    position = at * (len(values) - 1)
    low = int(position)
    return values[low] + (position - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def check_run(program, root, tokens, train, val, design, method, dtype, schedule, coupling):
    name = f"{design}-{method}-{dtype}-{schedule['shape']}-{coupling}"
    out = root / name
    rule = {"weight_decay": DECAY, "decay_coupling": coupling}
    own = {**METHODS[method], "method": method}
    rules = [{"match": {}, **own, **rule}]
    alone = method in MATRIX_METHODS
    if alone:
        rules = [{"match": {"kind": "matrix"}, **own, **rule},
                 {"match": {"kind": ["embedding", "unembedding", "scale"]}, "method": "adamw", **METHODS["adamw"], **rule}]
    rules.append({"match": {"kind": "scale", "norm_class": "input"}, "method": "adamw" if alone else method,
                  **METHODS["adamw" if alone else method], **rule, "decay_target": 1, "lr_mult": 2})
    if alone:
        rules[1]["match"] = {"kind": ["embedding", "unembedding"]}
        rules.append({"match": {"kind": "scale", "norm_class": "output"}, "method": "adamw", **METHODS["adamw"], **rule})
    scales = DESIGNS[design].get("scales")
    if scales == "unified" or (isinstance(scales, str) and scales == "dnp"):
        scales = {"preset": scales, "allow_inert": True}
    config = {
        "model": {"vocab_size": VOCAB, "width": 8, "layers": 1, "heads": 2, "mlp_width": 12, "init_std": 0.4,
                  **DESIGNS[design], **({"scales": scales} if scales else {})},
        "data": {"dir": str(tokens)}, "sequence_length": LENGTH, "batch_size": BATCH, "steps": STEPS, "dtype": dtype,
        "threads": 1, "device": "cpu", "seed": 3, "schedule": schedule,
        "optimizer": {"lr": LR, "max_norm": MAX_NORM, "rules": rules},
        "log": {"every": 1, "traces_every": 1}, "validation": {"every": 1, "sequences": 100},
        "checkpoint": {"every": 1, "keep": 100}}
    (root / (name + ".json")).write_text(json.dumps(config))
    done = subprocess.run([program, "train", root / (name + ".json"), "--out", out], capture_output=True, text=True)
    if done.returncode != 0:
        failures.append(f"{name}: {done.stderr.strip()}")
        return
    single = dtype == "float32"
    relative = 3e-5 if single else 1e-9
    model = json.loads((out / "config.json").read_text())["model"]
    policy = {row["name"]: row for row in json.loads((out / "policy.json").read_text())["rows"]}
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    traces = {t["step"]: t for t in map(json.loads, (out / "traces.jsonl").read_text().splitlines())}
    logged = {m["step"]: m for m in metrics if m["kind"] == "train"}
    validated = {m["step"]: m["loss"] for m in metrics if m["kind"] == "val"}
    for t in range(STEPS):
        close(f"schedule: {name} step {t}", logged[t + 1]["lr"], LR * factor_at(schedule, t, STEPS), 1e-12, 1e-18)
    for k in (1, STEPS - 1):
        folder, after = (out / "checkpoints" / f"step-{s:08d}" for s in (k, k + 1))
        p, q = read_safetensors(folder / "weights.safetensors"), read_safetensors(after / "weights.safetensors")
        flat = read_safetensors(folder / "optimizer.safetensors")
        where = f"{name} step {k + 1}"
        decoder = Decoder(model, p)
        loss, grad = decoder.loss_and_gradient(train)
        close(f"train loss: {where}", logged[k + 1]["loss"], loss, relative)
        close(f"validation loss: {where}", validated[k], Decoder(model, p).loss_and_gradient(val)[0], relative)
        total = math.sqrt(math.fsum(x * x for n, g in grad.items() if policy[n]["clip"] for x in g))
        clip = min(1.0, MAX_NORM / (total + 1e-6))
        close(f"global norm: {where}", logged[k + 1]["grad_norm"], total, relative)
        close(f"clip factor: {where}", logged[k + 1]["clip_factor"], clip, relative)
        rows = {row["name"]: row for row in traces[k + 1]["params"]}
        factor = factor_at(schedule, k, STEPS)
        groups = {}
        for n, (shape, values) in p.items():
            row, lr = policy[n], policy[n]["lr"] * factor
            state = {key.split("/")[1]: v for key, (_, v) in flat.items() if key.split("/")[0] == n}
            expected, open_signs, adaptive = stepped(row, values, grad[n], state, lr, shape, clip)
            size = max(map(abs, values)) + 1e-3
            # Where the gradient is rounding (an inert magnitude), so is Adam's direction.
            inert = norm(grad[n]) < (1e-5 if single else 1e-6)
            for i, (got, want) in enumerate(zip(q[n][1], expected)):
                if i not in open_signs and not inert:
                    slack = 3e-3 * lr if single else 1e-7 * lr
                    close(f"step: {where} {n}[{i}]", got, want, 0.0, (4e-7 if single else 1e-14) * size + slack)
            if not inert:
                check_traces(f"{where} {n}", rows[n], values, q[n][1], grad[n], lr, relative, single,
                             norm(decoder.term_sizes[n]))
            if "directional_lr" in rows[n]:
                close(f"directional_lr: {where} {n}", rows[n]["directional_lr"],
                      lr / norm(values) ** (2 if row["method"] == "sgd" else 1), 1e-6 if single else 1e-12)
            check(not model["qk_norm"] or not n.endswith("attn.q.weight") or "directional_lr" in rows[n],
                  f"directional_lr: {where} {n} stands before a norm and has none")
            if adaptive is not None and not inert:
                close(f"adaptive_lr: {where} {n}", rows[n]["adaptive_lr"], adaptive, 30 * relative)
            g = groups.setdefault(row["group"], ([], [], [], []))
            g[0].extend(values), g[1].extend(q[n][1]), g[2].extend(grad[n]), g[3].extend([lr] * len(values))
        for row in traces[k + 1]["groups"]:
            before, behind, gradient, lrs = groups[row["name"]]
            check_traces(f"{where} group {row['name']}", row, before, behind, gradient, math.fsum(lrs) / len(lrs), relative, single)
        check_model_traces(where, model, p, q, rows)


def check_snr(program, root, tokens, train):
    """The signal-to-noise ratio over the gradients of four steps, each anew from the weights before it."""
    out, steps = root / "snr", 5
    config = {
        "model": {"vocab_size": VOCAB, "width": 8, "layers": 1, "heads": 2, "mlp_width": 12, "init_std": 0.4},
        "data": {"dir": str(tokens)}, "sequence_length": LENGTH, "batch_size": BATCH, "steps": steps, "dtype": "float64",
        "threads": 1, "device": "cpu", "optimizer": {"lr": 0.05, "rules": [{"match": {}}]},
        "log": {"every": 1, "traces_every": 5, "snr": True}, "checkpoint": {"every": 1, "keep": 100}}
    (root / "snr.json").write_text(json.dumps(config))
    done = subprocess.run([program, "train", root / "snr.json", "--out", out], capture_output=True, text=True)
    check(done.returncode == 0, f"snr: {done.stderr}")
    model = json.loads((out / "config.json").read_text())["model"]
    grads = []
    for k in range(1, steps):
        weights = read_safetensors(out / "checkpoints" / f"step-{k:08d}" / "weights.safetensors")
        grads.append(Decoder(model, weights).loss_and_gradient(train)[1])
    rows = {r["name"]: r for r in json.loads((out / "traces.jsonl").read_text().splitlines()[-1])["params"]}
    n = len(grads)
    for name, row in rows.items():
        ratios = []
        for over_steps in zip(*(g[name] for g in grads)):
            mean = math.fsum(over_steps) / n
            variance = math.fsum((x - mean) ** 2 for x in over_steps) / (n - 1)
            if variance > 0:
                ratios.append(mean ** 2 / variance)
        expected = math.sqrt(max(0.0, (n - 3) / (n - 1) * math.fsum(ratios) / len(ratios) - 1 / n))
        close(f"snr: {name}", row["snr"], expected, 1e-6, 1e-9)


def check_model_traces(where, model, p, q, rows):
    """Of the γ before the final norm's reader, whose maps are one matrix: the unembedding."""
    form = model["scales"]["final"]["form"]
    carriers = [n for n in rows if n.startswith("final_norm.") and n.split(".")[-1] not in ("beta", "log_beta")]
    if not carriers:
        return
    row = rows[carriers[0]]
    before, after = (gammas_of(x, "final_norm", form) for x in (p, q))
    (count, columns), matrix = p["embed.weight" if model["tie_embeddings"] else "unembed.weight"]
    squares = [math.fsum(matrix[i * columns + j] ** 2 for i in range(count)) for j in range(columns)]
    exact = 1e-11  # in double, of the stored values
    gamma_sq = [g * g for g in before]
    for at, got in zip((0, .05, .25, .5, .75, .95, 1), row["gamma_quantiles"]):
        close(f"gamma_quantiles: {where}", got, quantile(before, at), exact)
    step = [b - a for a, b in zip(before, after)]
    # Both γ are rounded to a double.
    close(f"gamma_update_norm: {where}", row["gamma_update_norm"], norm(step), exact, 1e-15 * norm(before))
    close(f"gamma_update_along: {where}", row["gamma_update_along"],
          math.fsum(a * b for a, b in zip(before, step)) / norm(before), 0.0, exact * norm(step) + 1e-15 * norm(before))
    if "imbalance" not in row:
        return
    terms = max(max(gamma_sq), max(squares))
    close(f"imbalance: {where}", row["imbalance"], math.fsum(a - b for a, b in zip(gamma_sq, squares)) / columns, exact, exact * terms)
    close(f"precond_min: {where}", row["precond_min"], min(gamma_sq), exact)
    close(f"precond_max: {where}", row["precond_max"], max(a + b for a, b in zip(gamma_sq, squares)), exact)
    close(f"w_gamma_ratio: {where}", row["w_gamma_ratio"], math.sqrt(math.fsum(squares) / math.fsum(gamma_sq)), exact)
    off = [[v - math.fsum(x) / columns for v in x] for x in (gamma_sq, squares)]
    # Of values that are equal but for rounding there is none.
    spread = min(norm(o) / math.sqrt(columns) / (math.fsum(x) / columns) for o, x in zip(off, (gamma_sq, squares)))
    given = "gamma_w_correlation" in row
    check(given if spread > 1e-11 else not given or spread > 1e-13,
          f"gamma_w_correlation: {where}: {'given' if given else 'left out'} at a relative spread of {spread:.3g}")
    if given and spread > 1e-11:
        close(f"gamma_w_correlation: {where}", row["gamma_w_correlation"],
              math.fsum(a * b for a, b in zip(*off)) / (norm(off[0]) * norm(off[1])), 1e-9, 1e-9 + 1e-14 / spread)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    program = str(pathlib.Path(options.program).resolve())
    if options.all:
        cases = itertools.product(DESIGNS, METHODS, ("float32", "float64"))
    else:
        # Each design and each method, in both dtypes between them.
        cases = [(design, list(METHODS)[i % len(METHODS)], ("float64", "float32")[i % 2]) for i, design in enumerate(DESIGNS)]
        cases += [("plain", method, dtype) for method, dtype in itertools.product(METHODS, ("float32", "float64"))]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        train, val = write_tokens(root / "tokens")
        for i, (design, method, dtype) in enumerate(cases):
            check_run(program, root, root / "tokens", train, val, design, method, dtype,
                      SCHEDULES[i % len(SCHEDULES)], COUPLINGS[i % len(COUPLINGS)])
        check_snr(program, root, root / "tokens", train)
        statistics_anew.check_comparison(program, root, close, check)
    for kind, error in sorted(worst.items()):
        print(f"{kind:20} largest error {error:.3g} of its bound")
    if failures:
        print("\n".join(failures[:20]), f"\n{len(failures)} failures", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
