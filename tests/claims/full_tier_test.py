"""Every variant of `scalevec claims --tier full`, its sizes reduced, is planned and makes ten steps.

    python3 full_tier_test.py PROGRAM
"""
import json
import pathlib
import subprocess
import sys
import tempfile


def reduced(config):
    del config["name"]  # variants that differ in nothing else are one
    model = config["model"]
    head_dim = 8
    model["heads"] = max(1, min(model["heads"], 4) if model["heads"] % 4 == 0 else 2)
    model["width"] = model["heads"] * head_dim
    model["layers"] = min(model["layers"], 2)
    model["vocab_size"] = 64
    if "moe" in model:
        model["moe"]["expert_width"] = 16
    steps = 10
    config["schedule"]["warmup_steps"] = 2
    if "decay_steps" in config["schedule"]:
        config["schedule"]["decay_steps"] = 4
    config.update(steps=steps, batch_size=2, accumulation=2, sequence_length=16, threads=1)
    config["validation"] = {"every": 0, "batches": 1}
    config["checkpoint"] = {"every": 0, "keep": 1}
    config["optimizer"]["lr"] = 1e-3
    return config


def main():
    program = sys.argv[1]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "claims", "--tier", "full", "--plan", "--out", folder], capture_output=True, text=True, check=True)
        configs = {file.stem: json.loads(file.read_text()) for file in pathlib.Path(folder).rglob("*.json")}
    assert len(configs) >= 20, list(configs)

    def run(name, arguments, config, folder):
        file = pathlib.Path(folder) / f"{name}.json"
        file.write_text(json.dumps(config))
        done = subprocess.run([program, arguments[0], str(file), *arguments[1:]], capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: {arguments[0]}: {done.stderr.strip() or done.stdout[-300:]}")
        return done.returncode != 0

    with tempfile.TemporaryDirectory() as folder:
        # At its whole size one is planned: making the weights of the larger ones is more than a test should take.
        smallest = min(configs, key=lambda n: configs[n]["model"]["width"] * configs[n]["model"]["layers"])
        failed += run(smallest, ["plan"], configs[smallest], folder)
        reduced_ones = {}
        for name, config in configs.items():
            reduced_ones.setdefault(json.dumps(reduced(config), sort_keys=True), name)
        for text, name in reduced_ones.items():
            failed += run(name, ["train", "--out", f"{folder}/run-{name}"], json.loads(text), folder)
    print(f"{len(configs)} variants, {len(reduced_ones)} different when reduced, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
