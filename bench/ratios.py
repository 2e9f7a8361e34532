"""Prints the table of paired ratios that a benchmark left in its JSON: medians with their 95 % intervals.

    python3 bench/ratios.py optimizers|rounding|training RESULT.json
"""
import json
import sys

# counter: what it says, and the target where there is one
RATIOS = {
    "optimizers": [
        ("sums_over_fused", "AdamW step with every sum / `at::_fused_adamw_`", "≤ 1.03"),
        ("usual_over_whole", "clip, copy, fused step, norms / ours, the whole job", "≥ 2.5"),
        ("torch_over_sums", "`torch::optim::AdamW` / ours with sums", "≥ 4.5 at 10M_in_1000"),
        ("adamw8bit_over_adamw", "AdamW step with states of 8 bits / of float32", "≤ 0.67 on all threads"),
        ("lion8bit_over_lion", "Lion step with states of 8 bits / of float32", ""),
        ("gram_over_matrix", "Muon step on the Gram matrix / on the matrix", ""),
        ("bandwidth_share", "bandwidth of our step (28 bytes a parameter) / of a large x += y", "≥ 0.9"),
    ],
    "rounding": [
        ("stochastic", "stochastic / nearest", ""),
        ("compensated", "compensated / nearest", ""),
    ],
    "training": [
        ("traced_every_10", "traces every 10 steps / none", "≤ 1.02"),
        ("traced_every_step", "traces every step / none", "≤ 1.02"),
    ],
}


def main():
    what, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    print("| case | ratio | median [95 %] | target |\n|---|---|---|---|")
    for run in document["benchmarks"]:
        case = run["name"].split("/iterations")[0]
        for key, words, target in RATIOS[what]:
            if key not in run:
                continue
            print(f"| {case} | {words} | {run[key]:.3f} [{run[key + '_low']:.3f}, {run[key + '_high']:.3f}] | {target} |")
    rates = [f"{run['add_GBps']:.1f}" for run in document["benchmarks"] if "add_GBps" in run]
    context = document["context"]
    print(f"\n{context['num_cpus']} cores at {context['mhz_per_cpu']} MHz." +
          (f" The large x += y: {', '.join(rates)} GB/s, in the order of the cases." if rates else ""))


main()
