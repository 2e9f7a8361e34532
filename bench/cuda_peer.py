#!/usr/bin/env python3
"""PyTorch's side of scripts/gpu_check.sh. Prints one JSON object.

    python bench/cuda_peer.py train CONFIG.json [--eager] [--device cuda|cpu] [--steps N] [--rounds N]
    python bench/cuda_peer.py muon [--device cuda|cpu] [--small] [--rounds N]

`train` trains the decoder of CONFIG.json (bench/pytorch_step.py) with torch.compile, bfloat16 autocast, clipping and torch's
fused AdamW on random tokens; `muon` times torch.optim.Muon on the matrices of a decoder of 124M parameters.
"""
import argparse
import json
import statistics
import time

import torch


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def train(args):
    from pytorch_step import Decoder

    with open(args.config, encoding="utf-8") as file:
        config = json.load(file)
    shape, settings = config["model"], config["optimizer"]
    length, batch = config["sequence_length"], config["batch_size"]
    torch.manual_seed(1)
    model = Decoder(shape["vocab_size"], shape["width"], shape["layers"], shape["heads"], length).to(args.device)
    for name, p in model.named_parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["lr"], weight_decay=0.1, fused=True)
    run = model if args.eager else torch.compile(model)
    batches = [torch.randint(shape["vocab_size"], (batch, length + 1)).to(args.device) for _ in range(4)]

    def step(i):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(args.device, dtype=torch.bfloat16):
            loss = run(batches[i % len(batches)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["max_norm"])
        optimizer.step()
        return loss

    for i in range(10):
        loss = step(i)
    rates = []
    for _ in range(args.rounds):
        wait(args.device)
        start = time.perf_counter()
        for i in range(args.steps):
            loss = step(i)
        wait(args.device)
        rates.append(args.steps * batch * length / (time.perf_counter() - start))
    return {"tokens_per_s": spread(rates), "tokens_per_step": batch * length, "loss": loss.item(), "torch": torch.__version__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "peak_bytes": torch.cuda.max_memory_reserved() if args.device == "cuda" else None}


def muon(args):
    layers, width, hidden = (2, 64, 192) if args.small else (12, 768, 2048)
    shapes = layers * ([(width, width)] * 4 + [(hidden, width)] * 2 + [(width, hidden)])
    torch.manual_seed(1)
    params = [torch.nn.Parameter(torch.randn(shape, device=args.device)) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p)
    optimizer = torch.optim.Muon(params, lr=1e-5)
    for _ in range(3):
        optimizer.step()
    took = []
    for _ in range(args.rounds):
        wait(args.device)
        start = time.perf_counter()
        for _ in range(5):
            optimizer.step()
        wait(args.device)
        took.append((time.perf_counter() - start) / 5)
    return {"torch.optim.Muon": spread(took), "matrices": len(params), "torch": torch.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["train", "muon"])
    parser.add_argument("config", nargs="?")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    if (args.what == "train") != (args.config is not None):
        parser.error("train needs CONFIG.json, muon takes none")
    print(json.dumps(train(args) if args.what == "train" else muon(args), indent=2))


if __name__ == "__main__":
    main()
