#!/usr/bin/env python3
"""Times the batched simulator against the same batch in NumPy and in torch's elementwise operations, one thread each, taking
turns in one run; prints our replica-parameter updates per second and the ratios of the times: medians with 95 % intervals by
order statistics. The peers work in double precision on arrays [parameters, replicas]: NumPy once as one writes the formulas and
once in place without temporaries (`out=`), torch in place.

    python bench/simulator_peer.py build/dev/bin/bench_simulator [TURNS]        # NumPy, torch 2.11; 9 turns by default
"""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from interval import median_interval

torch.set_num_threads(1)
# job, replicas, weights per replica, steps of ours, steps of a peer
CASES = [("adamw", 4096, 1, 2000, 200), ("adamw", 4096, 16, 200, 40), ("toy", 4096, 16, 100, 15), ("toy", 65536, 16, 60, 3)]
WORDS = {"adamw": "AdamW update", "toy": "toy: noise, gradients, update"}
PEERS = {
    "numpy": (f"NumPy {np.__version__}, as written", 10),
    "numpy_in_place": (f"NumPy {np.__version__}, in place", 10),
    "torch": (f"torch {torch.__version__}, in place", 3),
}


def hyperparameters(replicas):
    x = (np.arange(replicas) % 97) / 97.0
    return 1e-3 * (1 + x), 0.1 * x, 0.8 + 0.1 * x, 0.99 + 0.009 * x


class WrittenAdamW:
    def __init__(self, rows, replicas):
        self.lr, self.decay, self.b1, self.b2 = hyperparameters(replicas)
        self.p = np.ones((rows, replicas))
        self.m, self.v = np.zeros_like(self.p), np.zeros_like(self.p)
        self.t = 0

    def step(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g**2
        m_hat = self.m / (1 - self.b1**self.t)
        v_hat = self.v / (1 - self.b2**self.t)
        self.p = self.p - self.lr * (m_hat / (np.sqrt(v_hat) + 1e-8) + self.decay * self.p)


class NumpyAdamW:
    def __init__(self, rows, replicas):
        self.lr, decay, self.b1, self.b2 = hyperparameters(replicas)
        self.keep = 1 - self.lr * decay
        self.p = np.ones((rows, replicas))
        self.m, self.v, self.a, self.b = (np.zeros_like(self.p) for _ in range(4))
        self.c1, self.c2 = 1 - self.b1, 1 - self.b2
        self.t = 0

    def step(self, g):
        self.t += 1
        size = self.lr / (1 - self.b1**self.t)
        inverse = 1 / np.sqrt(1 - self.b2**self.t)
        np.subtract(g, self.m, out=self.a)
        np.multiply(self.a, self.c1, out=self.a)
        np.add(self.m, self.a, out=self.m)
        np.multiply(g, g, out=self.a)
        np.multiply(self.a, self.c2, out=self.a)
        np.multiply(self.v, self.b2, out=self.v)
        np.add(self.v, self.a, out=self.v)
        np.sqrt(self.v, out=self.a)
        np.multiply(self.a, inverse, out=self.a)
        np.add(self.a, 1e-8, out=self.a)
        np.multiply(self.m, size, out=self.b)
        np.divide(self.b, self.a, out=self.b)
        np.multiply(self.p, self.keep, out=self.p)
        np.subtract(self.p, self.b, out=self.p)


class TorchAdamW:
    def __init__(self, rows, replicas):
        self.lr, decay, self.b1, self.b2 = (torch.from_numpy(x) for x in hyperparameters(replicas))
        self.keep = 1 - self.lr * decay
        self.p = torch.ones((rows, replicas), dtype=torch.float64)
        self.m, self.v, self.a = (torch.zeros_like(self.p) for _ in range(3))
        self.c1, self.c2 = 1 - self.b1, 1 - self.b2
        self.t = 0

    def step(self, g):
        self.t += 1
        size = self.lr / (1 - self.b1**self.t)
        inverse = 1 / torch.sqrt(1 - self.b2**self.t)
        self.m.lerp_(g, self.c1)
        torch.mul(g, self.c2, out=self.a)
        self.v.mul_(self.b2).addcmul_(self.a, g)
        torch.sqrt(self.v, out=self.a)
        self.a.mul_(inverse).add_(1e-8)
        torch.div(self.m, self.a, out=self.a)
        self.p.mul_(self.keep).addcmul_(self.a, size, value=-1)


def update_alone(library, rows, replicas, steps):
    g = np.sin(np.arange(rows * replicas, dtype=float)).reshape(rows, replicas)
    optimizer = {"numpy": WrittenAdamW, "numpy_in_place": NumpyAdamW, "torch": TorchAdamW}[library](rows, replicas)
    g = torch.from_numpy(g) if library == "torch" else g
    for _ in range(3):
        optimizer.step(g)
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.step(g)
    return time.perf_counter() - start


def toy(library, rows, replicas, steps):
    """½‖γw − e₁‖² with unit noise on θ's gradient; NumPy draws by ziggurat from Philox, torch by its own generator."""
    if library == "numpy":
        weights, scale = WrittenAdamW(rows, replicas), WrittenAdamW(1, replicas)
        weights.p[:] = 0
        target = np.zeros((rows, 1))
        target[0] = 1
        random = np.random.Generator(np.random.Philox(1))
        start = time.perf_counter()
        for _ in range(steps):
            g = scale.p * weights.p - target + random.standard_normal((rows, replicas))
            grad = (weights.p * g).sum(axis=0, keepdims=True)
            weights.step(scale.p * g)
            scale.step(grad)
        return time.perf_counter() - start
    if library == "numpy_in_place":
        weights, scale = NumpyAdamW(rows, replicas), NumpyAdamW(1, replicas)
        weights.p[:] = 0
        random = np.random.Generator(np.random.Philox(1))
        g, gw = np.empty((rows, replicas)), np.empty((rows, replicas))
        start = time.perf_counter()
        for _ in range(steps):
            random.standard_normal(out=g)
            np.multiply(weights.p, scale.p, out=gw)
            gw[0] -= 1
            np.add(g, gw, out=g)
            np.multiply(g, scale.p, out=gw)
            np.multiply(g, weights.p, out=g)
            grad = g.sum(axis=0, keepdims=True)
            weights.step(gw)
            scale.step(grad)
        return time.perf_counter() - start
    weights, scale = TorchAdamW(rows, replicas), TorchAdamW(1, replicas)
    weights.p.zero_()
    g, gw = torch.empty_like(weights.p), torch.empty_like(weights.p)
    start = time.perf_counter()
    for _ in range(steps):
        g.normal_()
        g.addcmul_(weights.p, scale.p)
        g[0] -= 1
        torch.mul(g, scale.p, out=gw)
        grad = g.mul_(weights.p).sum(0, keepdim=True)
        weights.step(gw)
        scale.step(grad)
    return time.perf_counter() - start


def main():
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and (not sys.argv[2].isdigit() or int(sys.argv[2]) < 6)):
        sys.exit("usage: simulator_peer.py BENCH_SIMULATOR [TURNS]; TURNS at least 6")
    turns = int(sys.argv[2]) if len(sys.argv) == 3 else 9
    process = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ours(job, replicas, rows, steps):
        print(job, replicas, rows, steps, file=process.stdin, flush=True)
        return float(process.stdout.readline()) / steps

    print("| job | replicas × parameters | ours, 10⁶ updates/s per core | peer | peer's time / ours [95 %] | target |")
    print("|---|---|---|---|---|---|")
    for job, replicas, rows, steps, peer_steps in CASES:
        params = rows + (job == "toy")
        run = update_alone if job == "adamw" else toy
        ours(job, replicas, rows, steps)
        for library, (name, target) in PEERS.items():
            pairs = []
            for _ in range(turns):
                pairs.append((ours(job, replicas, rows, steps), run(library, rows, replicas, peer_steps) / peer_steps))
            ratio, low, high = median_interval([theirs / mine for mine, theirs in pairs])
            rate = replicas * params / statistics.median(mine for mine, _ in pairs) / 1e6
            print(f"| {WORDS[job]} | {replicas} × {params} | {rate:.0f} | {name} | {ratio:.1f} [{low:.1f}, {high:.1f}] "
                  f"| ≥ {target}: {'met' if ratio >= target else 'missed'} |", flush=True)


if __name__ == "__main__":
    main()
