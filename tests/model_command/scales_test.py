"""`scalevec model scales` against a reference of its own: scales_test.py PROGRAM FIXTURES

Every number of scales.csv is computed again here, in plain Python from the safetensors bytes and from a list of what
reads each scale that shares nothing with the program's table: for the committed Hugging Face models, for one in shards,
for one imported, and for a GPT-2, whose matrices stand the other way round. Wrong input ends with status 2, one line.
"""

import csv
import json
import math
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM, FIXTURES = sys.argv[1], pathlib.Path(sys.argv[2]) / "hf"


def read_safetensors(file):
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        a, b = entry["data_offsets"]
        raw = data[8 + length + a : 8 + length + b]
        if entry["dtype"] == "BF16":  # the upper half of a float
            raw = b"".join(b"\0\0" + raw[i : i + 2] for i in range(0, len(raw), 2))
        else:
            assert entry["dtype"] == "F32", entry
        out[name] = (entry["shape"], struct.unpack(f"<{len(raw) // 4}f", raw))
    return out


def write_safetensors(file, tensors, dtype="F32"):
    header, blob = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        if dtype == "BF16":
            raw = b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(raw)]}
        blob += raw
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def columns(tensor, axis=-1):
    """Rows of a matrix, transposed where γ multiplies its first dimension."""
    (rows, cols), values = tensor
    matrix = [values[r * cols : (r + 1) * cols] for r in range(rows)]
    return list(zip(*matrix)) if axis == 0 else matrix


def quantile(values, p):
    ordered = sorted(values)
    at = p * (len(ordered) - 1)
    low = math.floor(at)
    return ordered[low] if low + 1 == len(ordered) else ordered[low] * (low + 1 - at) + ordered[low + 1] * (at - low)


def expected_of(gamma, matrices):
    d, out = len(gamma), {}
    sizes = [abs(g) for g in gamma]
    rms = math.sqrt(math.fsum(g * g for g in gamma) / d)
    out.update(mean=math.fsum(gamma) / d, rms=rms, least=min(gamma), greatest=max(gamma))
    out.update({f"abs_q{p:02}": quantile(sizes, p / 100) for p in (5, 25, 50, 75, 95)})
    out["negative"] = sum(g < 0 for g in gamma) / d
    out["near_zero"] = sum(s < 0.01 * rms for s in sizes) / d
    out["participation"] = math.fsum(g**2 for g in gamma) ** 2 / math.fsum(g**4 for g in gamma) / d
    out["outliers"] = sum(s > 4 * quantile(sizes, 0.5) for s in sizes)
    if not matrices:
        return out
    rows = [row for m in matrices for row in m]
    w2 = [math.fsum(row[j] ** 2 for row in rows) for j in range(d)]
    g2 = [g * g for g in gamma]
    c = len(rows)
    out["rows"] = c
    out["ratio"] = math.sqrt(math.fsum(w2) / math.fsum(g2))
    out["ratio_over_sqrt_rows"] = math.sqrt(math.fsum(w2) / (c * math.fsum(g2)))
    out.update({f"channel_q{p:02}": quantile([w / (c * g) for w, g in zip(w2, g2)], p / 100) for p in (5, 50, 95)})
    out["imbalance"] = math.fsum(g - w for w, g in zip(w2, g2)) / d
    gm, wm = math.fsum(g2) / d, math.fsum(w2) / d
    gg, ww = math.fsum((g - gm) ** 2 for g in g2), math.fsum((w - wm) ** 2 for w in w2)
    out["correlation"] = math.fsum((g - gm) * (w - wm) for w, g in zip(w2, g2)) / math.sqrt(gg * ww)
    out["precond_min"], out["precond_max"] = min(g2), max(g + w for w, g in zip(w2, g2))
    lengths = [math.sqrt(w) for w in w2]
    folded = [math.sqrt(w * g) for w, g in zip(w2, g2)]
    out["spread"] = max(lengths) / quantile(lengths, 0.5)
    out["folded_spread"] = max(folded) / quantile(folded, 0.5)
    return out


def readers_of(model_type, scale, weights):
    """Names of the matrices that read a scale, and γ's offset; None for the output class. From the models' papers."""
    layer = scale.rsplit(".", 2)[0]
    pre_ffn = "pre_feedforward_layernorm" if model_type.startswith("gemma") else "post_attention_layernorm"
    if model_type.startswith("olmo") and "layernorm" in scale:
        return None
    if scale.endswith("input_layernorm.weight"):
        return [n for n in weights if n.startswith(layer + ".self_attn.") and re.search(r"\.(q|k|v|qkv)_proj\.weight$", n)]
    if scale.endswith(pre_ffn + ".weight"):
        return [n for n in weights if n.startswith(layer + ".") and re.search(r"\.(gate_proj|up_proj|gate_up_proj|gate|w1|w3)\.weight$", n)]
    if scale == "model.norm.weight":
        return ["lm_head.weight"] if "lm_head.weight" in weights else ["model.embed_tokens.weight"]
    return None


class Scales(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.here = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def run_program(self, *command, status=0):
        done = subprocess.run([PROGRAM, *map(str, command)], capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def rows(self, *folders, more=()):
        out = self.here / f"atlas-{len(list(self.here.iterdir()))}"
        self.run_program("model", "scales", *folders, "--out", out, *more)
        self.assertIn("</html>", (out / "index.html").read_text())
        with open(out / "scales.csv", newline="") as file:
            return list(csv.DictReader(file)), json.loads((out / "scales.json").read_text())

    def compare(self, row, expected, tolerance=1e-8):
        numbers = {k: v for k, v in row.items() if k not in ("model", "scale", "site", "layer", "class", "size") and v != ""}
        self.assertEqual(set(numbers), set(expected), row["scale"])
        for key, value in expected.items():
            self.assertAlmostEqual(float(numbers[key]), value, delta=tolerance * max(abs(value), 1e-3), msg=f"{row['scale']} {key}")

    def test_hugging_face_models(self):
        for source in sorted(FIXTURES.glob("*/config.json")):
            model_type = json.loads(source.read_text())["model_type"]
            with self.subTest(source.parent.name):
                weights = read_safetensors(source.parent / "model.safetensors")
                rows, _ = self.rows(source.parent)
                vectors = {n for n, (shape, _) in weights.items() if len(shape) == 1 and n.endswith("norm.weight")}
                self.assertEqual({r["scale"] for r in rows}, vectors)
                for row in rows:
                    offset = 1.0 if model_type.startswith("gemma") else 0.0
                    gamma = [x + offset for x in weights[row["scale"]][1]]
                    readers = readers_of(model_type, row["scale"], weights)
                    self.assertEqual(row["class"], "output" if readers is None else "input", row["scale"])
                    self.compare(row, expected_of(gamma, [columns(weights[n]) for n in readers or []]))

    def test_ours_says_the_same_of_an_imported_model(self):
        for name in ("llama-tied", "mixtral", "gemma3", "phi3", "olmo2"):
            with self.subTest(name):
                self.run_program("model", "import", FIXTURES / name, "--out", self.here / name)
                theirs, _ = self.rows(FIXTURES / name)
                ours, _ = self.rows(self.here / name)
                key = lambda row: (row["site"], row["layer"])
                self.assertEqual(sorted(map(key, ours)), sorted(map(key, theirs)))
                other = {key(row): row for row in theirs}
                for row in ours:
                    expected = {k: float(v) for k, v in other[key(row)].items() if k not in ("model", "scale", "site", "layer", "class", "size") and v != ""}
                    self.compare(row, expected, 1e-6)

    def test_own_scales_per_branch_and_behind_a_map(self):
        # γ_b of V is read by V alone, γ_a of V multiplies V's rows.
        config = {"model": {"vocab_size": 31, "width": 16, "layers": 1, "heads": 4, "kv_heads": 2, "scales": {"preset": "hg", "placement": "both"}},
                  "data": {"synthetic": {"validation_windows": 8}}, "sequence_length": 16, "batch_size": 4, "steps": 30, "threads": 1,
                  "optimizer": {"lr": 0.03, "rules": [{"match": {}}]}}
        (self.here / "config.json").write_text(json.dumps(config))
        self.run_program("train", self.here / "config.json", "--out", self.here / "run")
        weights = read_safetensors(max((self.here / "run" / "checkpoints").iterdir()) / "weights.safetensors")
        rows, _ = self.rows(self.here / "run")
        found = {r["scale"]: r for r in rows}
        v = columns(weights["layers.0.attn.v.weight"])
        self.compare(found["layers.0.attn_norm.v.gamma"], expected_of(weights["layers.0.attn_norm.v.gamma"][1], [v]))
        self.compare(found["layers.0.attn.v.out.gamma"], expected_of(weights["layers.0.attn.v.out.gamma"][1], [list(zip(*v))]))
        self.assertEqual(found["layers.0.attn.v.out.gamma"]["site"], "attn.v.out")

    def gpt2(self, folder, prefix="transformer.", dtype="F32", index=False):
        draw = random.Random(3)
        normal = lambda *shape: (list(shape), [draw.gauss(0, 1) for _ in range(math.prod(shape))])
        weights = {f"{prefix}wte.weight": normal(7, 8), f"{prefix}ln_f.weight": normal(8), f"{prefix}ln_f.bias": normal(8)}
        for layer in range(3):
            at = f"{prefix}h.{layer}."
            weights.update({at + "ln_1.weight": normal(8), at + "ln_1.bias": normal(8), at + "ln_2.weight": normal(8),
                            at + "attn.c_attn.weight": normal(8, 24), at + "attn.c_proj.weight": normal(8, 8),
                            at + "mlp.c_fc.weight": normal(8, 32)})
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 8}))
        if index:
            names = sorted(weights)
            halves = names[::2], names[1::2]
            for i, half in enumerate(halves):
                extra = {"stray": normal(3)} if i else {}
                write_safetensors(folder / f"{i}.safetensors", {n: weights[n] for n in half} | extra, dtype)
            where = {n: f"{i}.safetensors" for i, half in enumerate(halves) for n in half}
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
        else:
            write_safetensors(folder / "model.safetensors", weights, dtype)
        return read_safetensors(folder / "model.safetensors") if not index else {n: t for i in range(2) for n, t in read_safetensors(folder / f"{i}.safetensors").items()}

    def test_a_gpt2_in_one_file_in_shards_and_without_its_prefix(self):
        for i, (prefix, dtype, index) in enumerate((("transformer.", "F32", False), ("", "F32", True), ("", "BF16", True))):
            weights = self.gpt2(self.here / f"g{i}", prefix, dtype, index)
            rows, report = self.rows(self.here / f"g{i}")
            self.assertEqual(len(rows), 7)
            for row in rows:
                at = row["scale"].rsplit(".", 2)[0]
                reader = {"attn": (at + ".attn.c_attn.weight", 0), "ffn": (at + ".mlp.c_fc.weight", 0), "final": (prefix + "wte.weight", 1)}[row["site"]]
                self.compare(row, expected_of(weights[row["scale"]][1], [columns(weights[reader[0]], reader[1])]))
            self.assertEqual(any("stray" in n for n in report["models"][0]["notes"]), index)

    def test_several_models_decays_and_names_of_ones_own(self):
        rows, report = self.rows(FIXTURES / "qwen3", FIXTURES / "llama-tied", more=("--decays", "0.1", "0.05"))
        self.assertEqual({r["model"] for r in rows}, {"qwen3", "llama-tied"})
        self.assertEqual(report["decays"]["ratio"], 2)
        words = " ".join(f["text"] for m in report["models"] for f in m["findings"])
        self.assertIn("to 2; it is", words)
        weights = read_safetensors(FIXTURES / "qwen3" / "model.safetensors")
        pairs = report["models"][0]["qk_pairs"]
        self.assertEqual(len(pairs), 2)
        for layer, pair in enumerate(pairs):
            q, k = (weights[f"model.layers.{layer}.self_attn.{x}_norm.weight"][1] for x in "qk")
            half = len(q) // 2
            for i, value in enumerate(pair["rms"]):
                a, b = q[i] * k[i], q[i + half] * k[i + half]
                self.assertAlmostEqual(value, math.sqrt((a * a + b * b) / 2), places=9)
            gaps = [math.log(q[i] * k[i] / (q[i + half] * k[i + half])) for i in range(half) if q[i] * k[i] * q[i + half] * k[i + half] > 0]
            self.assertAlmostEqual(pair["untied"], math.sqrt(math.fsum(g * g for g in gaps) / len(gaps)), places=9)
            self.assertAlmostEqual(pair["opposite"], 1 - len(gaps) / half, places=12)

        own = self.here / "own"
        self.gpt2(own)
        (own / "config.json").write_text(json.dumps({"model_type": "mine"}))
        message = self.run_program("model", "scales", own, "--out", self.here / "out", status=2)
        self.assertIn('got "mine"', message)
        self.assertIn("--names", message)
        self.assertEqual(message.count("\n"), 1)
        names = [{"model_types": ["mine"], "prefix": "transformer.", "scales": [
            {"site": "attn", "scale": "transformer.h.{L}.ln_1.weight", "readers": [{"name": "transformer.h.{L}.attn.c_attn.weight", "axis": 0}], "offset": 1},
            {"site": "ffn", "scale": "transformer.h.{L}.ln_2.weight", "readers": ["transformer.h.{L}.nothing.weight"]}]}]
        (self.here / "names.json").write_text(json.dumps(names))
        rows, report = self.rows(own, more=("--names", self.here / "names.json"))
        weights = read_safetensors(own / "model.safetensors")
        row = next(r for r in rows if r["site"] == "attn" and r["layer"] == "1")
        self.compare(row, expected_of([1 + x for x in weights[row["scale"]][1]], [columns(weights["transformer.h.1.attn.c_attn.weight"], 0)]))
        self.assertEqual([r["rows"] for r in rows if r["site"] == "ffn"], [""] * 3)
        notes = " ".join(report["models"][0]["notes"])
        self.assertIn("none of the maps that read it is in the folder", notes)
        self.assertIn("transformer.ln_f.weight: a vector that the table of names does not have", notes)

    def test_wrong_input(self):
        bad = self.here / "names.json"
        model = self.here / "model"
        shutil.copytree(FIXTURES / "llama-tied", model)
        for text, part in (("{}", "array"), ('[{"model_types": ["x"]}]', "scales"), ('[{"model_types": [], "scales": []}]', "model_types"),
                           ('[{"model_types": ["x"], "scales": [{"site": "{a,b}", "scale": "{c,d,e}"}]}]', "words"),
                           ('[{"model_types": ["x"], "scales": [{"site": "a", "scale": "b", "reader": []}]}]', "reader"),
                           ('[{"model_types": ["llama"], "scales": [{"site": "a", "scale": "b"}]}]', "none of its tensors"),
                           ('[{"model_types": ["llama"], "scales": [{"site": "a", "scale": "model.norm.weight", "readers": ["model.layers.0.mlp.down_proj.weight"]}]}]', "down_proj")):
            with self.subTest(text):
                bad.write_text(text)
                message = self.run_program("model", "scales", model, "--names", bad, "--out", self.here / "out", status=2)
                self.assertIn(part, message)
                self.assertEqual(message.count("\n"), 1, message)
        for folder, part in ((self.here / "absent", "absent"), (self.here, "model.json")):
            message = self.run_program("model", "scales", folder, "--out", self.here / "out", status=2)
            self.assertIn(part, message)
            self.assertEqual(message.count("\n"), 1, message)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
