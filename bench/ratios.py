"""Prints ratio tables from Google Benchmark's JSON: medians of interleaved repetitions.

    python3 bench/ratios.py optimizers|training RESULT.json
"""
import collections
import json
import statistics
import sys

TARGETS = {  # (numerator, denominator): what it says, and the target where there is one
    "optimizers": [
        ("ours_with_sums", "fused", "step with every sum / at::_fused_adamw_", "<= 1.03"),
        ("usual_whole_job", "ours_whole_job", "clip + fused + norms / ours, whole job", ">= 2.5"),
        ("torch_adamw", "ours_with_sums", "torch::optim::AdamW / ours with sums", ">= 4.5 at 10M in 1000"),
    ],
    "training": [
        ("traced_every_10", "untraced", "traces every 10 steps / none", "<= 1.02"),
        ("traced_every_step", "untraced", "traces every step / none", "<= 1.02"),
    ],
}


def main():
    what, path = sys.argv[1:]
    document = json.load(open(path))
    times, rates = collections.defaultdict(list), collections.defaultdict(list)
    for run in document["benchmarks"]:
        if run.get("run_type") != "iteration":
            continue
        case, job = run["name"].split("/real_time")[0].rsplit("/", 1)
        times[case, job].append(run["real_time"])
        rates[case, job].append(run.get("GB/s", 0.0))
    cases = list(dict.fromkeys(case for case, _ in times))
    print("| case | ratio | measured | target |\n|---|---|---|---|")
    for case in cases:
        for numerator, denominator, words, target in TARGETS[what]:
            if (case, numerator) in times and (case, denominator) in times:
                ratio = statistics.median(times[case, numerator]) / statistics.median(times[case, denominator])
                print(f"| {case} | {words} | {ratio:.3f} | {target} |")
        if (case, "in_place_add") in times and (case, "ours_with_sums") in times:
            roof = statistics.median(rates[case, "in_place_add"])
            share = statistics.median(rates[case, "ours_with_sums"]) / roof
            print(f"| {case} | bandwidth of the step / of x += y ({roof:.1f} GB/s) | {share:.3f} | >= 0.9 |")
    repetitions = len(next(iter(times.values())))
    context = document["context"]
    print(f"\nMedians of {repetitions} interleaved repetitions, {context['num_cpus']} cores at {context['mhz_per_cpu']} MHz.")


main()
