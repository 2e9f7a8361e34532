#!/usr/bin/env python3
"""Trains the same decoder with this library and with PyTorch, checks that their losses agree for 20 steps, then lets them
take turns and prints the ratios of their tokens per second: medians over the turns with 95 % intervals.

    python bench/compare_with_pytorch.py BUILD_FOLDER [--cases a,b,c] [--rounds 9] [--threads 2] [--side-by-side] [--memory-steps N]

BUILD_FOLDER holds bin/bench_step and bin/libbench_tuned_process.so (scripts/build.sh dev bench_step bench_tuned_process).
Needs torch 2.11, numpy and safetensors. PyTorch runs as installed (eager, torch.compile) and with our allocator settings and
MKL path (tuned). --memory-steps makes that many steps of the first case on both sides and prints resident memory.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from interval import median_interval

CASES = {  # vocabulary, width, layers, heads, batch, length
    "a": (256, 128, 4, 4, 16, 256),
    "b": (4096, 256, 6, 4, 8, 256),
    "c": (4096, 512, 4, 8, 4, 512),
}
# peer: options of pytorch_step.py, tuned, our dtype, targets by case
PEERS = {
    "eager, as installed": ([], False, "float32", {"a": 1.6, "b": 1.4, "c": 1.35}),
    "torch.compile, as installed": (["--compile"], False, "float32", {"a": 1.3, "b": 1.25, "c": 1.25}),
    "torch.compile, tuned": (["--compile"], True, "float32", {"a": 1.05, "b": 1.05, "c": 1.05}),
    "torch.compile, tuned, bf16 autocast": (["--compile", "--bf16"], True, "bf16", {"a": 1.0, "b": 1.0, "c": 1.0}),
}
CEILING = {"a": 0.65, "b": 0.78, "c": 0.80}


class Side:
    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})})

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"compare_with_pytorch: {' '.join(map(str, self.process.args))} ended at '{line}'")
        return answer.split()

    def run(self, steps, every=0):
        seconds, *losses = map(float, self.ask(f"run {steps} {every}"))
        return seconds, losses

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def config_of(case, dtype):
    vocab, width, layers, heads, batch, length = CASES[case]
    return {"model": {"vocab_size": vocab, "width": width, "layers": layers, "heads": heads},
            **({"autocast": "bfloat16"} if dtype == "bf16" else {}), "data": {"synthetic": {}}, "sequence_length": length, "batch_size": batch, "steps": 1_000_000, "device": "cpu",
            "optimizer": {"lr": 1e-3, "max_norm": 1.0, "rules": [{"match": {}, "weight_decay": 0.1}]}}


def flops(case):
    """Of one step's products: 6 per weight and token, and the causal half of the attention's seven."""
    vocab, width, layers, heads, batch, length = CASES[case]
    hidden = -(-8 * width // 96) * 32
    weights = layers * (4 * width * width + 3 * width * hidden) + vocab * width
    return 6 * weights * batch * length + 7 * layers * batch * length * length * width


def check_losses(what, ours, theirs, tolerance):
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
    if worst > tolerance:
        sys.exit(f"compare_with_pytorch: {what}: losses differ by {worst:.1e} of their size; allowed: {tolerance:.0e}")
    return worst


def side_by_side(program, folder, rounds):
    """Steps per second of two one-thread processes at once over those of one alone."""
    path = f"{folder}/side.json"
    pathlib.Path(path).write_text(json.dumps(config_of("a", "float32")), encoding="utf-8")
    sides = [Side([program, path, "1"]) for _ in range(2)]
    for side in sides:
        side.run(5)
    ratios = []
    for _ in range(rounds):
        alone = sides[0].run(10)[0]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            both = max(seconds for seconds, _ in pool.map(lambda side: side.run(10), sides))
        ratios.append(2 * alone / both)
    for side in sides:
        side.close()
    return median_interval(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--cases", default="a,b,c")
    parser.add_argument("--peers", default="0,1,2,3", help="which of the peers, by number")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side-by-side", action="store_true", help="also two one-thread runs at once against one")
    parser.add_argument("--memory-steps", type=int, default=0)
    args = parser.parse_args()
    here = pathlib.Path(__file__).parent
    program, preload = args.build / "bin/bench_step", args.build / "bin/libbench_tuned_process.so"
    chosen = [list(PEERS)[int(i)] for i in args.peers.split(",")]
    print("| case | against PyTorch | ratio of tokens/s [95 %] | target | ours, tokens/s | largest loss gap, 20 steps |")
    print("|---|---|---|---|---|---|", flush=True)
    shares, memory = [], []
    for case in args.cases.split(","):
        tokens = CASES[case][4] * CASES[case][5]
        with tempfile.TemporaryDirectory() as folder:
            ours, first = {}, {}
            for dtype in sorted({PEERS[p][2] for p in chosen}):
                path = f"{folder}/{dtype}.json"
                pathlib.Path(path).write_text(json.dumps(config_of(case, dtype)), encoding="utf-8")
                ours[dtype] = Side([program, path, str(args.threads)])
                ours[dtype].ask(f"write {folder}")
                first[dtype] = ours[dtype].run(20)[1]
            steps = max(1, round(1.0 / (ours[sorted(ours)[-1]].run(3)[0] / 3)))
            for name in chosen:
                options, tuned, dtype, targets = PEERS[name]
                peer = Side([sys.executable, here / "pytorch_step.py", f"{folder}/{dtype}.json", str(args.threads), folder, *options],
                            {"LD_PRELOAD": str(preload.resolve())} if tuned else None)
                gap = check_losses(f"{case}, {name}", first[dtype], peer.run(20)[1], 1e-4 if dtype == "float32" else 2e-2)
                ours[dtype].run(steps), peer.run(steps)
                rates, mine = [], []
                for turn in range(args.rounds):
                    if turn % 2:
                        theirs = peer.run(steps)[0]
                        mine.append(ours[dtype].run(steps)[0])
                    else:
                        mine.append(ours[dtype].run(steps)[0])
                        theirs = peer.run(steps)[0]
                    rates.append(theirs / mine[-1])
                ratio, low, high = median_interval(rates)
                rate = steps * tokens / statistics.median(mine)
                verdict = "met" if ratio >= targets[case] else "missed"
                print(f"| {case} | {name} | {ratio:.2f} [{low:.2f}, {high:.2f}] | ≥ {targets[case]} {verdict} | {rate:,.0f} | {gap:.0e} |",
                      flush=True)
                if args.memory_steps and not memory:
                    memory = [(who, side.ask("memory")[0], side.run(args.memory_steps) and side.ask("memory")[0])
                              for who, side in (("ours", ours[dtype]), (name, peer))]
                peer.close()
            if "float32" in ours:
                pairs = [(float(ours["float32"].ask("gemm")[0]), ours["float32"].run(steps)[0]) for _ in range(args.rounds)]
                share, low, high = median_interval([flops(case) * steps / seconds / 1e9 / gemm for gemm, seconds in pairs])
                traced = [(ours["float32"].run(steps)[0], ours["float32"].run(steps, 1)[0]) for _ in range(2 * args.rounds)]
                trace, trace_low, trace_high = median_interval([plain / with_traces for plain, with_traces in traced])
                shares.append(f"| {case} | {statistics.median(g for g, _ in pairs):.0f} | {share:.2f} [{low:.2f}, {high:.2f}] | ≥ {CEILING[case]} "
                              f"{'met' if share >= CEILING[case] else 'missed'} | {trace:.3f} [{trace_low:.3f}, {trace_high:.3f}] | "
                              f"≥ 0.98 {'met' if trace >= 0.98 else 'missed'} |")
            for side in ours.values():
                side.close()
    if shares:
        print("\n| case | float32 product of 2048², GFLOP/s | a step's share of it [95 %] | target | speed with traces every step [95 %] | target |")
        print("|---|---|---|---|---|---|")
        print("\n".join(shares))
    if args.side_by_side:
        with tempfile.TemporaryDirectory() as folder:
            ratio, low, high = side_by_side(program, folder, args.rounds)
        print(f"\ntwo one-thread runs at once: {ratio:.2f} [{low:.2f}, {high:.2f}] × the steps of one; target 1.9: "
              f"{'met' if ratio >= 1.9 else 'missed'}")
    for who, before, after in memory:
        print(f"\nresident memory, {who}: {float(before):.0f} MiB, after {args.memory_steps} steps more {float(after):.0f} MiB")


if __name__ == "__main__":
    main()
