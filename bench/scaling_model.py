"""A model on paper of data-parallel training on 8 to 1,024 GPUs: prints the tables of docs/scaling.md.

    python3 bench/scaling_model.py

Every constant is below, with where it comes from. Nothing here was measured on these GPUs.
"""
import heapq

# H100 SXM in nodes of 8, data sheets: NVIDIA H100 (dense bf16, HBM3, NVLink 4 in one direction), ConnectX-7 (one 400 Gb/s
# adapter a GPU).
PEAK = 989e12
HBM = 3.35e12
NVLINK = 450e9
NETWORK = 50e9
NODE = 8
# Assumptions.
COMPUTE = 0.45        # of the peak, forward and backward of one GPU alone
BUS = 0.8             # of a link's bandwidth that a large collective reaches
SWEEP = 0.8           # of HBM's bandwidth that an elementwise pass reaches
LAUNCH = 15e-6        # seconds of a collective's start, per call
HOP = 4e-6            # seconds a doubling of the nodes adds to a call
HOST_ROUND = 40e-6    # seconds of one round of a small sum over TCP between hosts, Gloo's halving and doubling
BUCKET = 25 * 2**20   # bytes, GradientBuckets::kBytes

# name: layers, width, feed-forward width, vocabulary
MODELS = {"124M": (12, 768, 2048, 50304), "1.3B": (24, 2048, 5632, 50304), "7B": (32, 4096, 11008, 32000)}
GPUS = (8, 32, 128, 512, 1024)
GLOBAL_TOKENS = 2**19   # of the fixed global batch
TOKENS_PER_GPU = 2**14  # of the growing one


def matrices(model):
    layers, d, f, v = MODELS[model]
    shapes = []
    for _ in range(layers):
        shapes += [(d, d)] * 4 + [(f, d)] * 2 + [(d, f)]
    return shapes, [(v, d)] * 2


def parameters(model):
    blocks, tables = matrices(model)
    return sum(r * c for r, c in blocks + tables)


def log2(n):
    return max(0, (n - 1).bit_length())


def bandwidth_of(n):
    """Bytes/s through one GPU of a collective over n: NCCL's rings leave a node by all of its adapters, each with an
    eighth of the bytes."""
    return BUS * (NVLINK if n <= NODE else min(NVLINK, NODE * NETWORK))


def most_loaded(costs, n):
    """The fullest rank of partition_by_cost()."""
    loads = [0.0] * n
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(loads, loads[0] + cost)
    return max(loads)


def muon_seconds(shape):
    m, k = min(shape), max(shape)
    return 5 * (3 * m * m * k + m**3) / (COMPUTE * PEAK) + 28 * m * k / (SWEEP * HBM)


def step(model, n, tokens, muon, changed):
    """Seconds of one step by part, of the design as it is or as it would be changed."""
    size = parameters(model)
    compute = 6 * size * tokens / n / (COMPUTE * PEAK)
    share = (n - 1) / n
    bandwidth = bandwidth_of(n)
    call = LAUNCH + HOP * log2((n + NODE - 1) // NODE)
    gradient_bytes = (2 if changed else 4) * size  # bfloat16 or float32
    buckets = max(1, round(4 * size / BUCKET))
    # As it is: an all-reduce of gradients, then broadcasts from owners. Changed: reduce-scatter, and an all-gather under
    # the next forward pass.
    reduce = (1 if changed else 2) * share * gradient_bytes / bandwidth + buckets * call
    backward = 2 / 3 * compute
    exposed = max(0.0, reduce - backward * (1 - 1 / buckets)) + reduce / buckets
    blocks, tables = matrices(model)
    owners = min(n, len(blocks) + len(tables))
    if changed:
        gather = max(0.0, share * 2 * size / bandwidth + buckets * call - compute / 3)
    else:
        gather = share * 4 * size / bandwidth + max(owners, buckets) * call
    elementwise = [28 * r * c / (SWEEP * HBM) for r, c in tables]
    costs = elementwise + [muon_seconds(s) if muon else 28 * s[0] * s[1] / (SWEEP * HBM) for s in blocks]
    if changed:  # elementwise work in flat slices; a matrix stays whole
        update = sum(elementwise) / n + (most_loaded(costs[2:], n) if muon else sum(costs[2:]) / n)
    else:
        update = most_loaded(costs, n)
    host = 2 * (LAUNCH if changed else HOST_ROUND) * log2(n)
    return {"compute": compute, "reduce": exposed, "share": gather, "update": update, "host": host}


def efficiency(parts):
    return parts["compute"] / sum(parts.values())


def table(title, rows):
    print(f"\n{title}\n")
    print("| model, optimizer | design | " + " | ".join(str(n) for n in GPUS) + " |\n|---|---|" + "---|" * len(GPUS))
    for model in MODELS:
        for muon in (False, True):
            for changed in (False, True):
                cells = [f"{100 * efficiency(step(model, n, rows(n), muon, changed)):.0f} %" for n in GPUS]
                print(f"| {model}, {'Muon and AdamW' if muon else 'AdamW'} | {'changed' if changed else 'as it is'} | " +
                      " | ".join(cells) + " |")


def main():
    print("Bytes of one GPU and step, float32, at many GPUs (each GPU sends as much as it receives):\n")
    print("| model | parameters | gradients, all-reduce | new values, broadcast | memory of weights, gradients and AdamW state: "
          "one GPU | 8 | 1,024 |\n|---|---|---|---|---|---|---|")
    for model in MODELS:
        size = parameters(model)
        memory = [f"{(8 + 8 / n) * size / 1e9:.1f} GB" for n in (1, 8, 1024)]
        print(f"| {model} | {size / 1e9:.3f} G | {8 * size / 1e9:.2f} GB | {4 * size / 1e9:.2f} GB | " + " | ".join(memory) + " |")
    table(f"Efficiency, a global batch of {GLOBAL_TOKENS:,} tokens, by GPUs:", lambda n: GLOBAL_TOKENS)
    table(f"Efficiency, {TOKENS_PER_GPU:,} tokens a GPU, by GPUs:", lambda n: TOKENS_PER_GPU * n)
    print("\nMilliseconds of a step of 1.3B with Muon and AdamW, " + f"{TOKENS_PER_GPU:,} tokens a GPU, as it is:\n")
    print("| GPUs | compute | gradients not hidden | new values | update | small sums between hosts |\n|---|---|---|---|---|---|")
    for n in GPUS:
        parts = step("1.3B", n, TOKENS_PER_GPU * n, True, False)
        print(f"| {n} | " + " | ".join(f"{1000 * value:.1f}" for value in parts.values()) + " |")


main()
