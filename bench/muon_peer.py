#!/usr/bin/env python3
"""Times our Muon against torch.optim.Muon, both with their defaults (five quintic steps in bfloat16), taking turns in one
run on the same number of threads, and prints the ratio of their times: the median over the turns with its 95 % interval
by order statistics.

    python bench/muon_peer.py build/dev/bin/bench_muon [TURNS]        # torch 2.11; 9 turns by default
"""
import statistics
import subprocess
import sys
import time

import torch

from interval import median_interval

SHAPES = [(1024, 1024), (2048, 1024), (4096, 1024)]
TARGET = 0.9


class Ours:
    def __init__(self, binary):
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, shape, threads):
        print(*shape, threads, 1, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


class Peer:
    def __init__(self):
        self.optimizers = {}

    def seconds(self, shape, threads):
        torch.set_num_threads(threads)
        if shape not in self.optimizers:
            torch.manual_seed(1)
            param = torch.nn.Parameter(torch.randn(shape))
            param.grad = torch.randn(shape)
            self.optimizers[shape] = torch.optim.Muon([param])
        start = time.perf_counter()
        self.optimizers[shape].step()
        return time.perf_counter() - start


def main():
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and (not sys.argv[2].isdigit() or int(sys.argv[2]) < 6)):
        sys.exit("usage: muon_peer.py BENCH_MUON [TURNS]; TURNS at least 6")
    turns = int(sys.argv[2]) if len(sys.argv) == 3 else 9
    ours, peer = Ours(sys.argv[1]), Peer()
    print(f"| matrix | threads | ours, ms | torch.optim.Muon {torch.__version__}, ms | ratio | 95 % interval | target |")
    print("|---|---|---|---|---|---|---|")
    for threads in (1, 2):
        for shape in SHAPES:
            ours.seconds(shape, threads), peer.seconds(shape, threads)
            pairs = [(ours.seconds(shape, threads), peer.seconds(shape, threads)) for _ in range(turns)]
            ratio, low, high = median_interval([a / b for a, b in pairs])
            mine, theirs = (1e3 * statistics.median(side) for side in zip(*pairs))
            verdict = "met" if ratio <= TARGET else "missed"
            print(f"| {shape[0]} × {shape[1]} | {threads} | {mine:.1f} | {theirs:.1f} | {ratio:.2f} | {low:.2f} – {high:.2f} "
                  f"| ≤ {TARGET}: {verdict} |", flush=True)


if __name__ == "__main__":
    main()
