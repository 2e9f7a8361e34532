"""The decoder's loss and gradient anew, on numbers of Python's own (float64): a tape of scalars, of which a dot product is
one. Shares nothing with the program but the names of its tensors and the definitions in docs/scale-designs.md."""
import json
import math
import struct


def read_safetensors(path):
    """{name: (shape, flat list of floats)}; float32 comes back as its exact double."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + o for o in entry["data_offsets"])
        code, width = {"F32": ("f", 4), "F64": ("d", 8), "I64": ("q", 8), "U8": ("B", 1)}[entry["dtype"]]
        out[name] = (tuple(entry["shape"]), list(struct.unpack(f"<{(end - begin) // width}{code}", data[begin:end])))
    return out


class Tape:
    """Scalars with their parents and the derivatives to these."""

    def __init__(self):
        self.value, self.parents = [], []

    def leaf(self, x):
        self.value.append(x)
        self.parents.append(())
        return len(self.value) - 1

    def node(self, x, parents):
        self.value.append(x)
        self.parents.append(parents)
        return len(self.value) - 1

    def dot(self, a, b):
        v = self.value
        return self.node(math.fsum(v[i] * v[j] for i, j in zip(a, b)),
                         [(i, v[j]) for i, j in zip(a, b)] + [(j, v[i]) for i, j in zip(a, b)])

    def sum(self, a):
        return self.node(math.fsum(self.value[i] for i in a), [(i, 1.0) for i in a])

    def times(self, a, b):
        return self.node(self.value[a] * self.value[b], [(a, self.value[b]), (b, self.value[a])])

    def scaled(self, a, factor):
        return self.node(self.value[a] * factor, [(a, factor)])

    def function(self, a, f, df):
        return self.node(f(self.value[a]), [(a, df(self.value[a]))])

    def gradient(self, of):
        """Of every scalar the derivative, and the sum of the absolute values of the terms that it is a sum of."""
        grad, size = [0.0] * len(self.value), [0.0] * len(self.value)
        grad[of] = 1.0
        for n in range(of, -1, -1):
            if grad[n] != 0.0:
                for parent, d in self.parents[n]:
                    grad[parent] += grad[n] * d
                    size[parent] += abs(grad[n] * d)
        return grad, size


class Decoder:
    """`model` is the run's resolved "model"; `tensors` what read_safetensors() gives."""

    def __init__(self, model, tensors):
        self.model, self.tensors = model, tensors

    def loss_and_gradient(self, sequences):
        """Mean cross-entropy over all positions, and {name: flat gradient}; leaves the terms' sizes in `term_sizes`."""
        self.t = Tape()
        self.leaves = {name: [self.t.leaf(x) for x in values] for name, (_, values) in self.tensors.items()}
        terms = []
        for tokens in sequences:
            logits = self.forward(tokens[:-1])
            for row, target in zip(logits, tokens[1:]):
                terms.append(self.cross_entropy(row, target))
        loss = self.t.scaled(self.t.sum(terms), 1.0 / len(terms))
        grad, size = self.t.gradient(loss)
        self.term_sizes = {name: [size[i] for i in leaves] for name, leaves in self.leaves.items()}
        return self.t.value[loss], {name: [grad[i] for i in leaves] for name, leaves in self.leaves.items()}

    def rows(self, name):
        (_, columns), leaves = self.tensors[name][0], self.leaves[name]
        return [leaves[i:i + columns] for i in range(0, len(leaves), columns)]

    def gamma(self, path):
        """The scale in effect of the parameters below `path`, or None."""
        t, leaves = self.t, self.leaves
        if path + ".gamma" in leaves:
            return leaves[path + ".gamma"]
        if path + ".delta" in leaves:
            return [t.node(t.value[i] + 1.0, [(i, 1.0)]) for i in leaves[path + ".delta"]]
        if path + ".log_gamma" in leaves:
            return [t.function(i, math.exp, math.exp) for i in leaves[path + ".log_gamma"]]
        if path + ".log_alpha" in leaves:
            magnitude = leaves[path + (".log_beta" if path + ".log_beta" in leaves else ".beta")][0]
            combine = ((lambda i: t.sum([i, magnitude])) if path + ".log_beta" in leaves
                       else (lambda i: t.times(i, magnitude)))
            return [t.function(combine(i), math.exp, math.exp) for i in leaves[path + ".log_alpha"]]
        if path + ".alpha" not in leaves:
            return None
        alpha = leaves[path + ".alpha"]
        if self.form == "product":
            return [t.times(i, leaves[path + ".beta"][0]) for i in alpha]
        magnitude = (leaves[path + ".beta"][0] if path + ".beta" in leaves
                     else t.function(leaves[path + ".log_beta"][0], math.exp, math.exp))
        square = t.scaled(t.dot(alpha, alpha), 1.0 / len(alpha))
        factor = t.times(magnitude, t.function(square, lambda x: x ** -0.5, lambda x: -0.5 * x ** -1.5))
        return [t.times(i, factor) for i in alpha]

    def norm(self, x, gamma=None):
        t, eps = self.t, self.model["norm_eps"]
        mean = t.scaled(t.dot(x, x), 1.0 / len(x))
        factor = t.function(mean, lambda m: (m + eps) ** -0.5, lambda m: -0.5 * (m + eps) ** -1.5)
        out = [t.times(i, factor) for i in x]
        return out if gamma is None else [t.times(i, g) for i, g in zip(out, gamma)]

    def map(self, name, x, columns=None, normed=False):
        """W(γ_b ⊙ x), then what stands behind it: γ_a, and before that a norm where `normed`."""
        t = self.t
        if columns is not None:
            x = [t.times(i, g) for i, g in zip(x, columns)]
        y = [t.dot(row, x) for row in self.rows(name + ".weight")]
        if normed:
            y = self.norm(y)
        out = self.gamma(name + ".out")
        return y if out is None else [t.times(i, g) for i, g in zip(y, out)]

    def rotate(self, head, position):
        t, half = self.t, len(head) // 2
        out = [None] * len(head)
        for i in range(half):
            angle = position * self.model["rope_theta"] ** (-2.0 * i / len(head))
            c, s = math.cos(angle), math.sin(angle)
            a, b = head[i], head[i + half]
            out[i] = t.node(t.value[a] * c - t.value[b] * s, [(a, c), (b, -s)])
            out[i + half] = t.node(t.value[b] * c + t.value[a] * s, [(b, c), (a, s)])
        return out

    def forward(self, tokens):
        m, t = self.model, self.t
        scales = m["scales"]
        self.form = scales["input"]["form"]
        normed = scales["placement"] in ("both_normed", "output")
        behind = {site.split(".")[1] for site in scales["maps"]} if normed else set()
        if m["qk_norm"]:
            behind = behind - {"q", "k"}
        embed = self.rows("embed.weight")
        stream = [embed[token] for token in tokens]
        for layer in range(m["layers"]):
            path = f"layers.{layer}."
            stream = self.add(stream, self.attention(path, stream, behind))
            stream = self.add(stream, [self.mlp(path, x, behind) for x in stream])
        final = self.gamma("final_norm")
        unembed = embed if m["tie_embeddings"] else self.rows("unembed.weight")
        return [[t.dot(row, x) for row in unembed] for x in (self.norm(x, final) for x in stream)]

    def add(self, stream, more):
        return [[self.t.sum([i, j]) for i, j in zip(x, y)] for x, y in zip(stream, more)]

    def columns(self, path, letter):
        own = self.gamma(f"{path}.{letter}")
        return own if own is not None else self.gamma(path)

    def attention(self, path, stream, behind):
        m, t, dim = self.model, self.t, self.model["head_dim"]
        queries, keys, values = [], [], []
        for position, x in enumerate(stream):
            h = self.norm(x)
            heads = {}
            for letter, count in (("q", m["heads"]), ("k", m["kv_heads"]), ("v", m["kv_heads"])):
                y = self.map(f"{path}attn.{letter}", h, self.columns(path + "attn_norm", letter), letter in behind)
                heads[letter] = [y[i * dim:(i + 1) * dim] for i in range(count)]
                if m["qk_norm"] and letter != "v":
                    gamma = self.gamma(f"{path}attn.{letter}_norm")
                    heads[letter] = [self.norm(head, gamma) for head in heads[letter]]
                if letter != "v":
                    heads[letter] = [self.rotate(head, position) for head in heads[letter]]
            queries.append(heads["q"])
            keys.append(heads["k"])
            values.append(heads["v"])
        shared = m["heads"] // m["kv_heads"]
        out = []
        for position, heads in enumerate(queries):
            joined = []
            for h, q in enumerate(heads):
                scores = [t.scaled(t.dot(q, keys[j][h // shared]), dim ** -0.5) for j in range(position + 1)]
                weights = self.softmax(scores)
                for i in range(dim):
                    joined.append(t.dot(weights, [values[j][h // shared][i] for j in range(position + 1)]))
            out.append(self.map(path + "attn.o", joined))
        return out

    def softmax(self, scores):
        t = self.t
        most = max(t.value[i] for i in scores)
        powers = [math.exp(t.value[i] - most) for i in scores]
        total = math.fsum(powers)
        p = [x / total for x in powers]
        return [t.node(p[i], [(s, p[i] * ((i == j) - p[j])) for j, s in enumerate(scores)]) for i in range(len(p))]

    def mlp(self, path, x, behind):
        t = self.t
        h = self.norm(x)
        gate, up = (self.map(f"{path}ffn.{name}", h, self.columns(path + "ffn_norm", name), name in behind)
                    for name in ("gate", "up"))

        def silu(z):
            return z / (1.0 + math.exp(-z))

        def slope(z):
            s = 1.0 / (1.0 + math.exp(-z))
            return s * (1.0 + z * (1.0 - s))
        hidden = [t.times(t.function(g, silu, slope), u) for g, u in zip(gate, up)]
        return self.map(path + "ffn.down", hidden)

    def cross_entropy(self, logits, target):
        t = self.t
        most = max(t.value[i] for i in logits)
        powers = [math.exp(t.value[i] - most) for i in logits]
        total = math.fsum(powers)
        return t.node(most + math.log(total) - t.value[logits[target]],
                      [(i, p / total - (k == target)) for k, (i, p) in enumerate(zip(logits, powers))])
