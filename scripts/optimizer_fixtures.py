#!/usr/bin/env python3
"""Writes tests/fixtures/optim/NAME.json: where other implementations of a method take small parameters in 200 steps, in
float64. tests/optim/fixtures_test.cpp runs ours beside them.

    pip install torch==2.11.0 pytorch_optimizer==4.1.0 prodigyopt==1.1.2 numpy
    scripts/optimizer_fixtures.py [NAME ...]

Written with Python 3.11, torch 2.11.0, pytorch_optimizer 4.1.0, prodigyopt 1.1.2, numpy 2.4.6.

References, per case ("reference" in the file): torch.optim; pytorch_optimizer; prodigyopt; or "paper", the paper's
algorithm written out below in NumPy, where no package has the method or none has it as published. Packages run in double
precision throughout; what had to be changed for that stands in double_precision().

Nothing but end points is stored. With splitmix64's finaliser h, noise(t, k, i) = (h(t·2⁴⁰ + k·2³² + i) >> 11)·2⁻⁵² − 1 is
uniform in [−1, 1), exact in double. Parameter k (by place in "shapes") starts at noise(0, k, i), element i in row-major
order, and its gradient at step t ≥ 1 is

    g = 2⁻ʲ (noise(t, k, i) + ½ noise(0, k + 8, i)) + pull·(p − noise(0, k + 16, i)),  j = i mod 4,

with the case's "pull", by default 0; but element 1 of parameter "gain" has gradient 0 up to step 5. "warmup" W: the lr of
step t is lr·min(1, t/W). "hessian_every" and "samples" (Sophia): before step t with (t − 1) mod hessian_every = 0 the
method gets, as the gradient of a loss on `samples` sampled labels, noise(t, k + 24, i).
"""
import json
import math
import pathlib
import sys
import types

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/fixtures/optim"
STEPS = 200
KEPT = (1, 2, 10, 200)
SHAPES = {"w": [4, 3], "gain": [5], "one": [1]}
MATRICES = {"wide": [3, 5], "tall": [6, 2], "one": [1, 1]}
MASK = 2**64 - 1


def hash64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def noise(t, k, shape):
    n = math.prod(shape)
    return np.array([(hash64((t << 40) + (k << 32) + i) >> 11) * 2.0**-52 - 1.0 for i in range(n)]).reshape(shape)


def gradient(name, k, t, p, pull):
    scale = np.array([2.0 ** -(i % 4) for i in range(p.size)]).reshape(p.shape)
    g = scale * (noise(t, k, p.shape) + 0.5 * noise(0, k + 8, p.shape))
    if pull:
        g = g + pull * (p - noise(0, k + 16, p.shape))
    if name == "gain" and t <= 5:
        g[1] = 0.0
    return g


# Philox4x32-10 and Box-Muller as optim/core/random.hpp documents them, for methods that draw numbers.
def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def stream_of(name):
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = ((h ^ c) * 0x100000001B3) & MASK
    return h


def random_normal(seed, stream, index):
    w = philox([index & 0xFFFFFFFF, index >> 32, stream & 0xFFFFFFFF, stream >> 32], [seed & 0xFFFFFFFF, seed >> 32])
    uniform = lambda bits: ((bits >> 12) + 0.5) * 2.0**-52
    u, v = uniform((w[1] << 32) | w[0]), uniform((w[3] << 32) | w[2])
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


def normals(seed, stream, shape):
    return np.array([random_normal(seed, stream, i) for i in range(math.prod(shape))]).reshape(shape)


def kept(ends, params):
    for name, p in params.items():
        ends[name].append(np.asarray(p).ravel().tolist())


def case(reference, options, run, *, shapes=SHAPES, pull=0.0, warmup=0, hessian_every=0, samples=1.0, **extra):
    """`run(params)` yields before every step and makes it when it is sent the gradients, the lr factor and, if it is due,
    what the Hessian is estimated from."""
    params = {name: noise(0, k, shape) for k, (name, shape) in enumerate(shapes.items())}
    ends = {name: [] for name in params}
    machine = run(params)
    next(machine)
    for t in range(1, STEPS + 1):
        grads = {n: gradient(n, k, t, np.asarray(p), pull) for k, (n, p) in enumerate(params.items())}
        sampled = None
        if hessian_every and (t - 1) % hessian_every == 0:
            sampled = {n: noise(t, k + 24, shapes[n]) for k, n in enumerate(params)}
        params = machine.send((grads, min(1.0, t / warmup) if warmup else 1.0, sampled))
        if t in KEPT:
            kept(ends, params)
    out = {"reference": reference, "options": options, "shapes": {n: list(s) for n, s in shapes.items()}}
    for key, value in (("pull", pull), ("warmup", warmup), ("hessian_every", hessian_every)):
        if value:
            out[key] = value
    if hessian_every:
        out["samples"] = samples
    averages = getattr(run, "averages", None)
    if averages:
        out["averages"] = {n: np.asarray(a).ravel().tolist() for n, a in averages().items()}
    return {**out, **extra, "after": list(KEPT), "ends": ends}


class Package:
    """An optimizer class of a package as `run`. `make(params)` builds it from named torch parameters."""

    def __init__(self, make, hessian=None, average=False):
        self.make, self.hessian = make, hessian
        if average:
            self.averages = self.averaged

    def __call__(self, params):
        self.tensors = {n: torch.nn.Parameter(torch.tensor(p, dtype=torch.float64)) for n, p in params.items()}
        self.optimizer = self.make(self.tensors)
        base = [g["lr"] for g in self.optimizer.param_groups]
        grads, factor, sampled = yield params
        while True:
            for n, p in self.tensors.items():
                p.grad = torch.tensor(grads[n], dtype=torch.float64)
            for group, lr in zip(self.optimizer.param_groups, base):
                group["lr"] = lr * factor
            if self.hessian and sampled:
                self.optimizer.step(hessian=[torch.tensor(self.hessian(sampled[n])) for n in self.tensors])
            else:
                self.optimizer.step()
            grads, factor, sampled = yield {n: p.detach().numpy().copy() for n, p in self.tensors.items()}

    def averaged(self):
        self.optimizer.eval()
        return {n: p.detach().numpy().copy() for n, p in self.tensors.items()}


def paper(step):
    """A `run` from step(t, lr_factor, p, g, state), which changes p and the dict `state` of each parameter in place."""

    def run(params):
        params = {n: p.copy() for n, p in params.items()}
        states = {n: {"name": n} for n in params}
        grads, factor, _ = yield params
        for t in range(1, STEPS + 1):
            for n, p in params.items():
                step(t, factor, p, grads[n], states[n])
            grads, factor, _ = yield {n: p.copy() for n, p in params.items()}

    return run


def double_precision():
    torch.set_default_dtype(torch.float64)
    from pytorch_optimizer.base.optimizer import BaseOptimizer
    from pytorch_optimizer.optimizer import adam_mini, psgd

    # √(v + 1e-15) + eps is this package's own.
    BaseOptimizer.apply_ams_bound.__defaults__ = (0.0,)
    # It keeps everything in torch.float32.
    proxy = types.ModuleType("torch")
    proxy.__dict__.update({**torch.__dict__, "float32": torch.float64})
    adam_mini.torch = proxy
    psgd.solve_triangular_right = lambda x, a: torch.linalg.solve_triangular(
        a, x.reshape(-1, x.size(-1)), upper=True, left=False
    ).reshape_as(x)


METHODS = {}


def method(f):
    METHODS[f.__name__] = f
    return f


def torch_optim(cls, ours, theirs=None, decay="l2", **extra):
    """A case of torch.optim, `ours` the policy's options and `theirs` PyTorch's where they differ."""
    theirs = dict(ours if theirs is None else theirs)
    options = {**ours, "decay_coupling": decay} if "weight_decay" in ours else ours
    return case("torch.optim." + cls, options, Package(lambda p: getattr(torch.optim, cls)(list(p.values()), **theirs)), **extra)


def of_pytorch_optimizer(cls, ours, theirs, decay="lr", hessian=None, average=False, **extra):
    import pytorch_optimizer

    options = {**ours, "decay_coupling": decay} if "weight_decay" in ours else ours
    make = lambda p: getattr(pytorch_optimizer, cls)(list(p.values()), **theirs)
    return case("pytorch_optimizer " + cls, options, Package(make, hessian, average), **extra)


def betas(b1, b2):
    return {"beta1": b1, "beta2": b2}


@method
def nadam():
    return [
        torch_optim("NAdam", {"lr": 2e-3}),
        torch_optim(
            "NAdam",
            {"lr": 1e-2, **betas(0.8, 0.99), "eps": 1e-6, "momentum_decay": 0.02, "weight_decay": 0.1},
            {"lr": 1e-2, "betas": (0.8, 0.99), "eps": 1e-6, "momentum_decay": 0.02, "weight_decay": 0.1},
        ),
    ]


@method
def nadamw():
    common = {"lr": 5e-3, "weight_decay": 0.1}
    return [torch_optim("NAdam", common, {**common, "decoupled_weight_decay": True}, decay="lr")]


@method
def radam():
    common = {"lr": 5e-3, "weight_decay": 0.1}
    return [
        torch_optim("RAdam", {"lr": 1e-3}),
        torch_optim("RAdam", {**common, **betas(0.9, 0.95)}, {**common, "betas": (0.9, 0.95)}),
        torch_optim("RAdam", common, {**common, "decoupled_weight_decay": True}, decay="lr"),
    ]


@method
def adamax():
    other = {"lr": 1e-2, "weight_decay": 0.1}
    return [
        torch_optim("Adamax", {"lr": 2e-3}),
        torch_optim("Adamax", {**other, **betas(0.8, 0.99)}, {**other, "betas": (0.8, 0.99)}),
    ]


@method
def adadelta():
    return [
        torch_optim("Adadelta", {"lr": 1.0}),
        torch_optim("Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-5, "weight_decay": 0.05}),
    ]


@method
def adagrad():
    return [
        torch_optim("Adagrad", {"lr": 1e-2}),
        torch_optim(
            "Adagrad",
            {"lr": 5e-2, "lr_decay": 1e-2, "initial_accumulator_value": 0.1, "eps": 1e-6, "weight_decay": 0.05},
        ),
    ]


@method
def rmsprop():
    return [
        torch_optim("RMSprop", {"lr": 1e-3}),
        torch_optim("RMSprop", {"lr": 1e-3, "centered": True, "alpha": 0.9, "eps": 1e-6}),
        torch_optim("RMSprop", {"lr": 1e-3, "momentum": 0.9}),
        torch_optim("RMSprop", {"lr": 1e-3, "centered": True, "momentum": 0.8, "weight_decay": 0.1}),
    ]


@method
def rprop():
    ours = {"lr": 2e-2, "etaminus": 0.6, "etaplus": 1.1, "step_size_min": 1e-4, "step_size_max": 0.05}
    return [
        torch_optim("Rprop", {"lr": 1e-2}, pull=0.5),
        torch_optim("Rprop", ours, {"lr": 2e-2, "etas": (0.6, 1.1), "step_sizes": (1e-4, 0.05)}),
    ]


@method
def asgd():
    other = {"lr": 5e-2, "lambd": 1e-2, "alpha": 0.6, "t0": 50.0, "weight_decay": 0.05}
    return [torch_optim("ASGD", {"lr": 1e-2}), torch_optim("ASGD", other)]


@method
def adafactor():
    plain = {"lr": 1e-2}
    other = {"lr": 2e-2, "beta2_decay": -0.6, "d": 2.0, "weight_decay": 0.1}
    return [
        torch_optim("Adafactor", {**plain, "eps1": 1e-12, "eps2": 1e-3}, {**plain, "eps": (1e-12, 1e-3)}),
        torch_optim("Adafactor", {**other, "eps1": 1e-3, "eps2": 1e-2}, {**other, "eps": (1e-3, 1e-2)}, decay="lr"),
    ]


@method
def adam():
    return [torch_optim("Adam", {"lr": 5e-3, "amsgrad": True}), torch_optim("Adam", {"lr": 5e-3, "amsgrad": True, "weight_decay": 0.1, "eps": 1e-4})]


@method
def adamw():
    return [
        torch_optim("AdamW", {"lr": 5e-3, "amsgrad": True, "weight_decay": 0.1}, decay="lr"),
        torch_optim("AdamW", {"lr": 5e-3, "weight_decay": 0.1}, decay="lr", warmup=20),
    ]


@method
def adopt():
    # The paper's clip is t^¼ at the t-th step that moves, as in the authors' code; pytorch_optimizer counts the step that
    # sets v too.
    clip = {"clip_lambda": lambda step: (step - 1) ** 0.25}
    other = {"lr": 1e-2, "eps": 1e-4, "weight_decay": 0.1}
    return [
        of_pytorch_optimizer("ADOPT", {"lr": 1e-3}, {"lr": 1e-3, **clip}),
        of_pytorch_optimizer("ADOPT", {**other, **betas(0.8, 0.99)},
                             {**other, **clip, "betas": (0.8, 0.99), "weight_decouple": True}),
        of_pytorch_optimizer("ADOPT", {**other, **betas(0.9, 0.999)}, {**other, **clip, "betas": (0.9, 0.999)},
                             decay="l2"),
    ]


def mars_paper(o, lion):
    """arXiv 2411.10438, algorithms 2 (AdamW) and 3 (Lion) with the clipped c_t of its authors' code, √v̂ + ε."""

    def step(t, factor, p, g, s):
        lr = o["lr"] * factor
        c = g + o["gamma"] * o["beta1"] / (1 - o["beta1"]) * (g - s.get("previous", np.zeros_like(g)))
        s["previous"] = g
        c = c / max(1.0, np.linalg.norm(c))
        s["m"] = o["beta1"] * s.get("m", 0.0) + (1 - o["beta1"]) * c
        s["v"] = o["beta2"] * s.get("v", 0.0) + (1 - o["beta2"]) * c * c
        m_hat, v_hat = s["m"] / (1 - o["beta1"] ** t), s["v"] / (1 - o["beta2"] ** t)
        update = np.sign(s["m"]) if lion else m_hat / (np.sqrt(v_hat) + o["eps"])
        p -= lr * (update + o["weight_decay"] * p)

    return paper(step)


@method
def mars_adamw():
    def one(b1, b2, gamma, eps, decay, **extra):
        ours = {"lr": 3e-3, **betas(b1, b2), "gamma": gamma, "eps": eps, "weight_decay": decay}
        theirs = {"lr": 3e-3, "betas": (b1, b2), "gamma": gamma, "eps": eps, "weight_decay": decay, "optimize_1d": True}
        return of_pytorch_optimizer("MARS", ours, theirs, **extra)

    eps = {"lr": 3e-3, **betas(0.95, 0.99), "gamma": 0.025, "eps": 1e-2, "weight_decay": 0.1}
    # The package divides ε by √(1 − β₂ᵗ), the paper's authors do not.
    return [
        one(0.95, 0.99, 0.025, 1e-30, 0.0),
        one(0.8, 0.95, 0.05, 1e-30, 0.1, warmup=20),
        case("paper", {**eps, "decay_coupling": "lr"}, mars_paper(eps, False)),
    ]


@method
def mars_lion():
    def one(b1, gamma, decay):
        ours = {"lr": 1e-3, "beta1": b1, "gamma": gamma, "weight_decay": decay}
        theirs = {"lr": 1e-3, "betas": (b1, 0.99), "gamma": gamma, "weight_decay": decay, "optimize_1d": True, "mars_type": "lion"}
        return of_pytorch_optimizer("MARS", ours, theirs)

    return [one(0.9, 0.025, 0.0), one(0.8, 0.05, 0.1)]


@method
def sophia():
    def one(gamma, samples, every, b1, b2, eps, decay):
        ours = {"lr": 1e-2, **betas(b1, b2), "gamma": gamma, "eps": eps, "weight_decay": decay}
        # max(γh, ε) of the paper is h' = γh here, and its clip at 1 the package's p.
        theirs = {"lr": 1e-2, "betas": (b1, b2), "p": 1.0, "eps": eps, "weight_decay": decay, "update_period": 10**6}
        return of_pytorch_optimizer("SophiaH", ours, theirs, hessian=lambda g: gamma * samples * g * g, samples=samples, hessian_every=every)

    return [one(0.05, 8.0, 10, 0.96, 0.99, 1e-12, 0.0), one(0.01, 32.0, 5, 0.9, 0.95, 1e-3, 0.2)]


@method
def prodigy():
    def one(ours, theirs, **extra):
        import prodigyopt

        options = {**ours, "decay_coupling": "lr"} if "weight_decay" in ours else ours
        make = lambda p: prodigyopt.Prodigy(list(p.values()), **theirs)
        return case("prodigyopt Prodigy", options, Package(make), **extra)

    other = {"lr": 0.5, "weight_decay": 0.1, "use_bias_correction": True, "safeguard_warmup": True, "d_coef": 2.0, "d0": 1e-5}
    third = {"lr": 1.0, "beta3": 0.9, "growth_rate": 1.05, "eps": 1e-6}
    return [
        one({"lr": 1.0}, {"lr": 1.0}, pull=1.0),
        one({**other, **betas(0.8, 0.99)}, {**other, "betas": (0.8, 0.99)}, pull=0.5, warmup=20),
        one({**third, **betas(0.9, 0.99)}, {**third, "betas": (0.9, 0.99)}, pull=2.0),
    ]


@method
def schedulefree_adamw():
    other = {"lr": 1e-2, "weight_decay": 0.1, "r": 1.0, "weight_lr_power": 1.0, "eps": 1e-4}
    return [
        of_pytorch_optimizer("ScheduleFreeAdamW", {"lr": 2.5e-3}, {"lr": 2.5e-3}, average=True),
        of_pytorch_optimizer(
            "ScheduleFreeAdamW", {**other, **betas(0.95, 0.99)}, {**other, "betas": (0.95, 0.99)}, average=True, warmup=20
        ),
    ]


@method
def schedulefree_sgd():
    other = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05, "r": 0.5, "weight_lr_power": 1.0}
    return [
        of_pytorch_optimizer("ScheduleFreeSGD", {"lr": 0.05}, {"lr": 0.05}, average=True),
        of_pytorch_optimizer("ScheduleFreeSGD", other, other, average=True, warmup=20),
    ]


def laprop_paper(o):
    """arXiv 2002.04839, algorithm 1 with bias corrections, and decoupled decay."""

    def step(t, factor, p, g, s):
        b1, b2 = o["beta1"], o["beta2"]
        s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
        s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g / (np.sqrt(s["v"] / (1 - b2**t)) + o["eps"])
        p -= o["lr"] * factor * (s["m"] / (1 - b1**t) + o["weight_decay"] * p)

    return paper(step)


@method
def laprop():
    o = {"lr": 5e-3, **betas(0.8, 0.99), "eps": 1e-2, "weight_decay": 0.1}
    ours = {"lr": 4e-3, **betas(0.9, 0.999), "eps": 1e-30}
    theirs = {"lr": 4e-3, "betas": (0.9, 0.999), "eps": 1e-30, "foreach": False}
    # The package divides ε by √(1 − β₂ᵗ), the paper does not.
    return [
        of_pytorch_optimizer("LaProp", ours, theirs),
        case("paper", {**o, "decay_coupling": "lr"}, laprop_paper(o)),
    ]


@method
def adam_mini():
    """A vector is one block; "head_dim" are the rows of a head of queries or keys."""
    from pytorch_optimizer.optimizer.adam_mini import AdamMini

    def one(ours, theirs, name, **extra):
        def make(p):
            model = torch.nn.Module()
            for n, tensor in p.items():
                part = torch.nn.Module()
                part.register_parameter("weight", tensor)
                model.add_module(n + name, part)
            return AdamMini(model, **theirs)

        return case("pytorch_optimizer AdamMini", {**ours, "decay_coupling": "lr"}, Package(make), **extra)

    plain = {"lr": 1e-3, "weight_decay": 0.1}
    # Its q_proj block has num_embeds²/num_heads elements: two rows of three.
    heads = {"lr": 5e-3, "weight_decay": 0.1, "num_embeds": 6, "num_heads": 6, "betas": (0.8, 0.99), "eps": 1e-4}
    ours = {"lr": 5e-3, "weight_decay": 0.1, **betas(0.8, 0.99), "eps": 1e-4}
    return [
        one(plain, plain, "", shapes={"gain": [5], "one": [1]}),
        one(ours, heads, "q_proj", shapes={"w": [8, 3]}, head_dim=2),
    ]


@method
def scion():
    from pytorch_optimizer.optimizer.scion import LMONorm

    def one(norm, ours, theirs, **extra):
        return of_pytorch_optimizer("SCION", {**ours, "norm": norm}, theirs, **extra)

    def spectral(o):
        """arXiv 2502.07529: p ← p − η ρ √(rows/cols) UVᵀ of the momentum, by an exact decomposition."""

        def step(t, factor, p, g, s):
            s["m"] = (1 - o["momentum"]) * s.get("m", 0.0) + o["momentum"] * g
            u, _, vt = np.linalg.svd(s["m"], full_matrices=False)
            p -= o["lr"] * factor * math.sqrt(p.shape[0] / p.shape[1]) * (u @ vt)

        return paper(step)

    common = {"lr": 1e-2, "momentum": 0.1}
    kept = {**common, "momentum": 0.9}  # what theirs gives to the new gradient, ours keeps of the old ones
    exact = {"coefficients": "polar_express", "ns_steps": 30, "precision": "auto"}
    return [
        one("sign", kept, {**common, "norm_type": LMONorm.SIGN, "scale": 1.0}, shapes=MATRICES),
        one("col", kept, {**common, "norm_type": LMONorm.COL}, shapes=MATRICES),
        one("row", kept, {**common, "norm_type": LMONorm.ROW}, shapes=MATRICES),
        one("bias", kept, {**common, "norm_type": LMONorm.BIAS}, shapes={"gain": [5], "one": [1]}),
        case("paper", {**kept, **exact, "norm": "spectral"}, spectral(common), shapes=MATRICES),
    ]


@method
def kron():
    """Its probes V of step t are random_normal(t, stream_of("kron"), element); nothing is balanced."""
    from pytorch_optimizer.optimizer import psgd

    def one(ours, theirs, **extra):
        drawn = []

        class Kron(psgd.Kron):
            def step(self, closure=None):
                self.t = getattr(self, "t", 0) + 1
                drawn[:] = [torch.tensor(normals(self.t, stream_of("kron"), p.shape)) for n, p in self.named.items()]
                return super().step(closure)

        def make(p):
            optimizer = Kron(list(p.values()), precondition_dtype=torch.float64, balance_prob=0.0, **theirs)
            optimizer.named = p
            return optimizer

        proxy = types.ModuleType("torch")
        proxy.__dict__.update({**torch.__dict__, "randn_like": lambda x, dtype=None: drawn.pop(0)})
        before, psgd.torch = psgd.torch, proxy
        try:
            return case("pytorch_optimizer Kron", ours, Package(make), **extra)
        finally:
            psgd.torch = before

    return [one({"lr": 1e-3}, {"lr": 1e-3, "pre_conditioner_update_probability": 1.0}, shapes=MATRICES)]


@method
def dion():
    """arXiv 2504.05295, algorithm 1 on one device: Q starts as random_normal(0, stream_of("dion"), i·rank + j)."""

    def of(o):
        def step(t, factor, p, g, s):
            rows, cols = p.shape
            rank = max(1, math.ceil(o["rank_fraction"] * min(rows, cols)))
            q = s.get("q")
            if q is None:
                q = normals(0, stream_of("dion"), (cols, rank))
            b = s.get("m", np.zeros_like(p)) + g
            left, _ = np.linalg.qr(b @ q)
            r = b.T @ left
            s["m"] = b - (1 - o["mu"]) * left @ r.T
            s["q"] = r / np.linalg.norm(r, axis=0, keepdims=True)
            p -= o["lr"] * factor * (math.sqrt(rows / cols) * left @ s["q"].T + o.get("weight_decay", 0.0) * p)

        return paper(step)

    full = {"lr": 1e-2, "mu": 0.95, "rank_fraction": 1.0}
    half = {"lr": 1e-2, "mu": 0.9, "rank_fraction": 0.5, "weight_decay": 0.1}
    return [
        case("paper", {**full, "eps": 0.0}, of(full), shapes=MATRICES),
        case("paper", {**half, "eps": 0.0, "decay_coupling": "lr"}, of(half), shapes=MATRICES),
    ]


def main():
    double_precision()
    OUT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or METHODS:
        cases = METHODS[name]()
        text = ",\n".join(json.dumps(c) for c in cases)
        (OUT / (name + ".json")).write_text('{"method": "%s", "cases": [\n%s\n]}\n' % (name, text))
        print(name, len(cases), "cases", (OUT / (name + ".json")).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
