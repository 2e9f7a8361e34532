#!/usr/bin/env python3
"""The PyTorch side of compare_with_pytorch.py: the decoder of CONFIG.json, written the usual way, with torch's fused AdamW
and clip_grad_norm_.

    python bench/pytorch_step.py CONFIG.json THREADS FOLDER [--compile] [--bf16]

FOLDER holds weights.safetensors and batches.safetensors as bench_step's `write` leaves them. Reads and answers the lines
`run N EVERY` and `memory` of bench_step.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F


class Block(torch.nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.attn_norm = torch.nn.RMSNorm(width, eps=1e-5)
        self.ffn_norm = torch.nn.RMSNorm(width, eps=1e-5)
        self.q, self.k, self.v, self.o = (torch.nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (torch.nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = torch.nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        batch, length, width = x.shape
        h = self.attn_norm(x)
        q, k, v = (m(h).view(batch, length, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(batch, length, width))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Decoder(torch.nn.Module):
    def __init__(self, vocab_size, width, layers, heads, length):
        super().__init__()
        hidden = -(-8 * width // 3 // 32) * 32 if (8 * width) % 3 == 0 else ((8 * width) // 3 // 32 + 1) * 32
        self.embed = torch.nn.Embedding(vocab_size, width)
        self.layers = torch.nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.final_norm = torch.nn.RMSNorm(width, eps=1e-5)
        half = width // heads // 2
        angle = torch.arange(length, dtype=torch.float64)[:, None] * 10000.0 ** (
            -torch.arange(half, dtype=torch.float64) / half)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, tokens):
        x = self.embed(tokens[:, :-1])
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.final_norm(x), self.embed.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


def load(model, weights):
    names = {"embed.weight": "embed.weight", "final_norm.weight": "final_norm.gamma"}
    for layer in range(len(model.layers)):
        at = f"layers.{layer}."
        for part, maps in (("attn", "qkvo"), ("ffn", ("gate", "up", "down"))):
            names[f"{at}{part}_norm.weight"] = f"{at}{part}_norm.gamma"
            for m in maps:
                names[f"{at}{m}.weight"] = f"{at}{part}.{m}.weight"
    own = model.state_dict()
    if sorted(names) != sorted(own) or sorted(names.values()) != sorted(weights):
        sys.exit(f"pytorch_step: the weights do not fit: {sorted(set(names.values()) ^ set(weights))[:3]}")
    model.load_state_dict({mine: weights[theirs] for mine, theirs in names.items()})


def main():
    from safetensors.torch import load_file

    config_file, threads, folder, *options = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with open(config_file, encoding="utf-8") as file:
        config = json.load(file)
    shape = config["model"]
    model = Decoder(shape["vocab_size"], shape["width"], shape["layers"], shape["heads"], config["sequence_length"])
    load(model, load_file(folder + "/weights.safetensors"))
    stored = load_file(folder + "/batches.safetensors")
    batches = [stored[f"batch.{i}"] for i in range(len(stored))]
    settings = config["optimizer"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["lr"], fused=True,
                                  weight_decay=settings["rules"][0]["weight_decay"])
    run = torch.compile(model) if "--compile" in options else model
    done = 0

    def step():
        nonlocal done
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled="--bf16" in options):
            loss = run(batches[done % len(batches)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["max_norm"])
        optimizer.step()
        done += 1
        return loss.item()

    for line in sys.stdin:
        verb, *numbers = line.split()
        if verb == "memory":
            with open("/proc/self/statm", encoding="utf-8") as file:
                print(int(file.read().split()[1]) * 4096 / 1048576, flush=True)
            continue
        start = time.perf_counter()
        losses = [step() for _ in range(int(numbers[0]))]
        print(time.perf_counter() - start, *(f"{loss:.10g}" for loss in losses), flush=True)


if __name__ == "__main__":
    main()
