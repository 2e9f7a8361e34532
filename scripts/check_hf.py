#!/usr/bin/env python3
"""Compares Hugging Face model folders in scalevec with transformers: logits of the imported, the folded and the exported
model against theirs, in float32; and the mean loss of `model eval`.

    pip install torch transformers
    scripts/check_hf.py DIR [--program build/cpu/bin/scalevec] [--length 32] [--rows 2]
    scripts/check_hf.py --random [NAME…]    # small models with random gains: every architecture, or Qwen3, Gemma2 …;
                                            # tied and untied, in shards, bfloat16

Exit status 0 if each lies within 2e-5 of the logits' scale, and the loss within 1e-5.
"""

import argparse
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import torch
import transformers

TOLERANCE = 2e-5
LOSS_TOLERANCE = 1e-5


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()


def check(source, program, length, rows):
    """The largest gaps of logits and of losses."""
    reference = load(source)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, reference.config.vocab_size, (rows, length + 1), generator=generator)
    with torch.no_grad():
        expected = reference(tokens[:, :-1]).logits.double()
    loss = torch.nn.functional.cross_entropy(expected.flatten(0, 1), tokens[:, 1:].flatten()).item()
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
            subprocess.run([program, "model", *map(str, command)], check=True, stdout=subprocess.DEVNULL)

        def logits_of(folder):
            scalevec("logits", folder, "--tokens", here / "tokens.json", "--out", here / "logits.json")
            return torch.tensor(json.loads((here / "logits.json").read_text()), dtype=torch.float64)

        (here / "tokens.json").write_text(json.dumps(tokens[:, :-1].tolist()))
        scalevec("import", source, "--out", here / "ours")
        report("imported", logits_of(here / "ours"))
        scalevec("fold", here / "ours", "--out", here / "folded", "--untie")
        report("folded", logits_of(here / "folded"))
        for name in ("ours", "folded"):
            scalevec("export", here / name, "--out", here / f"{name}-hf")
            with torch.no_grad():
                report(f"{name}, exported, transformers", load(here / f"{name}-hf")(tokens[:, :-1]).logits)
        # Each row is a shard, so that every one is a window.
        (here / "data").mkdir()
        for i, row in enumerate(tokens.tolist()):
            magic, version, code = (20240801, 7, "I") if reference.config.vocab_size > 65536 else (20240520, 1, "H")
            shard = struct.pack("<256i", magic, version, len(row), *[0] * 253) + struct.pack(f"<{len(row)}{code}", *row)
            for split in ("train", "val"):
                (here / "data" / f"{split}_{i:06}.bin").write_bytes(shard)
        scalevec("eval", source, "--data", here / "data", "--length", length, "--sequences", 0, "--out", here / "eval.json")
        gap = abs(json.loads((here / "eval.json").read_text())["loss"] - loss)
        print(f"{'eval':32} {gap:.2e} nats of {loss:.4f}")
    return worst, gap


SIZES = dict(vocab_size=97, hidden_size=32, intermediate_size=56, num_hidden_layers=4, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, norm_topk_prob=True)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=1000.0)
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=2.0, original_max_position_embeddings=16, rope_theta=500.0)
OWN = {
    "Llama": [{}, dict(rope_parameters=LLAMA3, attention_bias=True), dict(rope_parameters=YARN)], "Mistral": [dict(sliding_window=5), dict(sliding_window=None)],
    "Qwen2": [{}, dict(use_sliding_window=True, sliding_window=5, max_window_layers=2, rope_parameters=YARN)], "Qwen3": [dict(head_dim=12)],
    "Qwen3Moe": [EXPERTS], "Mixtral": [dict(num_local_experts=4, num_experts_per_tok=2)], "SmolLM3": [{}, dict(no_rope_layers=[0, 1, 1, 0])],
    "Granite": [dict(embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.2, logits_scaling=8.0)],
    "Phi3": [{}, dict(sliding_window=6)], "Olmo2": [{}], "Olmo3": [dict(sliding_window=5, rope_parameters=dict(full_attention=YARN, sliding_attention=dict(rope_type="default", rope_theta=1000.0)))],
    "Gemma2": [dict(head_dim=8, sliding_window=5, query_pre_attn_scalar=12)], "Gemma3Text": [dict(head_dim=8, sliding_window=5, query_pre_attn_scalar=12)],
}


def random_models(folder, names):
    seed = 0
    for name, variants in OWN.items():
        for own in variants:
            for tied, dtype, sharded in ((True, torch.float32, False), (False, torch.bfloat16, True)):
                seed += 1
                if names and name not in names:
                    continue
                config = getattr(transformers, name + "Config")(**SIZES, **own, tie_word_embeddings=tied)
                model = transformers.AutoModelForCausalLM.from_config(config)
                generator = torch.Generator().manual_seed(seed)
                with torch.no_grad():
                    for key, p in model.named_parameters():
                        noise = torch.randn(p.shape, generator=generator)
                        p.copy_((0.0 if name.startswith("Gemma") else 1.0) + 0.4 * noise if "norm" in key else 0.2 * noise)
                model.to(dtype).save_pretrained(folder, max_shard_size="40KB" if sharded else "1GB")
                yield f"{name} {'tied' if tied else 'untied'}, {dtype}, {'in shards' if sharded else 'one file'}, {own}", folder
                shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--random", nargs="*", choices=OWN, metavar="NAME")
    parser.add_argument("--program", default="build/cpu/bin/scalevec")
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--rows", type=int, default=2)
    args = parser.parse_args()
    if (args.folder is None) == (args.random is None):
        parser.error("a folder or --random")
    bad = []
    with tempfile.TemporaryDirectory() as temporary:
        models = random_models(pathlib.Path(temporary) / "model", args.random) if args.folder is None else [(args.folder, args.folder)]
        for name, folder in models:
            print(name)
            logits, loss = check(folder, args.program, args.length, args.rows)
            if not (logits <= TOLERANCE and loss <= LOSS_TOLERANCE):
                bad.append(name)
    print("ok" if not bad else "out of tolerance: " + "; ".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
