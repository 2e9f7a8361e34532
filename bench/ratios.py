"""Prints ratio tables from Google Benchmark's JSON: medians of interleaved repetitions, or of paired ratios (training).

    python3 bench/ratios.py optimizers|training RESULT.json
"""
import collections
import json
import statistics
import sys

# (numerator, denominator): what it says, and the target where there is one
OPTIMIZERS = [
    ("ours_with_sums", "fused", "step with every sum / at::_fused_adamw_", "<= 1.03"),
    ("usual_whole_job", "ours_whole_job", "clip + fused + norms / ours, whole job", ">= 2.5"),
    ("torch_adamw", "ours_with_sums", "torch::optim::AdamW / ours with sums", ">= 4.5 at 10M in 1000"),
]


def training(document):
    """Paired ratios, taken inside the benchmark: median and its 95 % interval."""
    print("| case | ratio | measured | target |\n|---|---|---|---|")
    for run in document["benchmarks"]:
        for key, words in (("traced_every_10", "traces every 10 steps / none"), ("traced_every_step", "traces every step / none")):
            low, high = run[key + "_low"], run[key + "_high"]
            target = "<= 1.02" if key == "traced_every_10" else ""
            print(f"| {run['name'].split('/')[0]} | {words} | {run[key]:.3f} [{low:.3f}, {high:.3f}] | {target} |")


def main():
    what, path = sys.argv[1:]
    document = json.load(open(path))
    if what == "training":
        return training(document)
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
        for numerator, denominator, words, target in OPTIMIZERS:
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
