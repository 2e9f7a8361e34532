#!/usr/bin/env python3
"""Compares a local Hugging Face model folder in scalevec with transformers: logits of the imported, the folded and the
exported model against theirs, in float32.

    pip install torch transformers
    scripts/check_hf.py DIR [--program build/cpu/bin/scalevec] [--length 32] [--rows 2]

Exit status 0 if each lies within 2e-5 of the logits' scale.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

TOLERANCE = 2e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--program", default="build/cpu/bin/scalevec")
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--rows", type=int, default=2)
    args = parser.parse_args()

    def load(folder):
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()

    reference = load(args.folder)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, reference.config.vocab_size, (args.rows, args.length), generator=generator)
    with torch.no_grad():
        expected = reference(tokens).logits.double()
    scale = expected.abs().max().item()
    worst = 0.0

    def report(what, logits):
        nonlocal worst
        gap = (logits.double() - expected).abs().max().item() / scale
        worst = max(worst, gap)
        print(f"{what:32} {gap:.2e} of the logits' scale")

    with tempfile.TemporaryDirectory() as temporary:
        here = pathlib.Path(temporary)

        def scalevec(*command):
            subprocess.run([args.program, "model", *map(str, command)], check=True, stdout=subprocess.DEVNULL)

        def logits_of(folder):
            scalevec("logits", folder, "--tokens", here / "tokens.json", "--out", here / "logits.json")
            return torch.tensor(json.loads((here / "logits.json").read_text()), dtype=torch.float64)

        (here / "tokens.json").write_text(json.dumps(tokens.tolist()))
        scalevec("import", args.folder, "--out", here / "ours")
        report("imported", logits_of(here / "ours"))
        scalevec("fold", here / "ours", "--out", here / "folded", "--untie")
        report("folded", logits_of(here / "folded"))
        for name in ("ours", "folded"):
            scalevec("export", here / name, "--out", here / f"{name}-hf")
            with torch.no_grad():
                report(f"{name}, exported, transformers", load(here / f"{name}-hf")(tokens).logits)
    print("ok" if worst <= TOLERANCE else f"more than {TOLERANCE}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
