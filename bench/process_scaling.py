"""Two processes of one thread against one process of two threads, and one of one: the same global batch, taking turns.

    python3 bench/process_scaling.py build/cpu/bin/scalevec [--rounds 7] [--steps 40] [--cases abc]

Prints the table of docs/scaling.md: medians over the rounds of each round's median step, and paired ratios with the
range over the rounds. Start it on an idle machine.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile

# The shapes of docs/performance.md.
CASES = {
    "a": ("d=128, 4 layers, vocabulary 256, 16 × 256 tokens", 128, 4, 2, 256, 16, 256),
    "b": ("d=256, 6 layers, vocabulary 4096, 8 × 256 tokens", 256, 6, 4, 4096, 8, 256),
    "c": ("d=512, 4 layers, vocabulary 4096, 4 × 512 tokens", 512, 4, 8, 4096, 4, 512),
}
RUNS = {"1 × 1 thread": (1, 1), "1 × 2 threads": (1, 2), "2 × 1 thread": (2, 1)}


def configuration(case, threads, steps):
    _, width, layers, heads, vocabulary, batch, length = CASES[case]
    return {
        "model": {"vocab_size": vocabulary, "width": width, "layers": layers, "heads": heads},
        "data": {"synthetic": {"validation_windows": batch}},
        "sequence_length": length, "batch_size": batch, "steps": steps, "threads": threads,
        "optimizer": {"lr": 1e-3, "max_norm": 1.0, "rules": [{"match": {}, "weight_decay": 0.1}]},
        "log": {"every": 1, "traces_every": 0}, "validation": {"batches": 1}, "checkpoint": {"every": 0},
    }


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(program, case, processes, threads, steps, folder):
    """Seconds of the median step, without the first quarter."""
    config = folder / "config.json"
    config.write_text(json.dumps(configuration(case, threads, steps)))
    out = folder / "run"
    port = free_port()
    children = []
    for rank in range(processes):
        environment = dict(os.environ)
        if processes > 1:
            environment |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank),
                            "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        children.append(subprocess.Popen([program, "train", config, "--out", out], env=environment, stdout=subprocess.DEVNULL))
    if any([child.wait() for child in children]):
        raise SystemExit(f"the run of case {case} with {processes} processes failed")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [line["tokens_per_second"] for line in lines if line["kind"] == "train"][steps // 4:]
    subprocess.run(["rm", "-r", out], check=True)
    return CASES[case][5] * CASES[case][6] / statistics.median(rates)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--cases", default="abc")
    args = parser.parse_args()
    names = list(RUNS)
    print("| case | " + " | ".join(f"{n}, ms a step" for n in names) +
          " | 2 × 1 over 1 × 2, tokens/s | 2 × 1 over twice 1 × 1 |\n|---|" + "---|" * (len(names) + 2))
    for case in args.cases:
        times = {name: [] for name in names}
        for turn in range(args.rounds):
            for name in names if turn % 2 == 0 else names[::-1]:
                with tempfile.TemporaryDirectory() as folder:
                    times[name].append(run(args.program, case, *RUNS[name], args.steps, pathlib.Path(folder)))
        cells = [f"{1000 * statistics.median(times[name]):.1f}" for name in names]
        for base, factor in (("1 × 2 threads", 1.0), ("1 × 1 thread", 0.5)):
            ratios = [factor * a / b for a, b in zip(times[base], times["2 × 1 thread"])]
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
        print(f"| ({case}) {CASES[case][0]} | " + " | ".join(cells) + " |", flush=True)


main()
