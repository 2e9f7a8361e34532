"""The model command as a user runs it: model_command_test.py PROGRAM FIXTURES

Every committed Hugging Face model is imported, compared with the logits that transformers gave, folded, exported and
imported again; a run's folder is read; runs start from models and from runs; wrong input ends with status 2, one line, and nothing written.
"""

import hashlib
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM, FIXTURES = sys.argv[1], pathlib.Path(sys.argv[2]) / "hf"
TOLERANCE = 2e-5  # of the logits' scale, in float32

CONFIG = {
    "model": {"vocab_size": 31, "width": 16, "layers": 2, "heads": 2, "scales": {"preset": "hg", "placement": "both", "form": "or"}},
    "data": {"synthetic": {"validation_windows": 8}}, "sequence_length": 16, "batch_size": 4, "steps": 12, "threads": 1,
    "optimizer": {"lr": 0.03, "rules": [{"match": {}}]},
}


def flat(rows):
    return [x for r in rows for x in flat(r)] if isinstance(rows, list) else [rows]


class ModelCommand(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.here = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def run_program(self, *command, status=0):
        done = subprocess.run([PROGRAM, *map(str, command)], capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def logits(self, model, tokens):
        (self.here / "tokens.json").write_text(json.dumps(tokens))
        self.run_program("model", "logits", model, "--tokens", self.here / "tokens.json", "--out", self.here / "logits.json")
        return flat(json.loads((self.here / "logits.json").read_text()))

    def assert_same_logits(self, ours, theirs):
        self.assertEqual(len(ours), len(theirs))
        gap = max(abs(a - b) for a, b in zip(ours, theirs))
        self.assertLessEqual(gap, TOLERANCE * max(map(abs, theirs)))

    def test_hugging_face_models(self):
        for source in sorted(FIXTURES.glob("*/config.json")):
            with self.subTest(source.parent.name):
                expected = json.loads((source.parent / "expected.json").read_text())
                base = self.here / source.parent.name
                base.mkdir()
                self.run_program("model", "import", source.parent, "--out", base / "ours")
                self.run_program("model", "fold", base / "ours", "--out", base / "folded", "--untie")
                self.run_program("model", "export", base / "folded", "--out", base / "hf")
                self.run_program("model", "import", base / "hf", "--out", base / "again")
                for model in ("ours", "folded", "again"):
                    self.assert_same_logits(self.logits(base / model, expected["tokens"]), flat(expected["logits"]))
                info = self.run_program("model", "info", base / "ours")
                self.assertIn("final_norm", info)
                self.assertIn("input: the columns of", info)

    def test_a_trained_run(self):
        run = self.here / "run"
        (self.here / "config.json").write_text(json.dumps(CONFIG))
        self.run_program("train", self.here / "config.json", "--out", run)
        self.assertIn("layers.1.attn_norm.q.alpha", self.run_program("model", "info", run))
        message = self.run_program("model", "export", run, "--out", self.here / "refused", status=2)
        self.assertIn("scales.branches", message)
        self.assertEqual(message.count("\n"), 1, message)
        self.assertFalse((self.here / "refused").exists())
        self.run_program("model", "fold", run, "--out", self.here / "folded")
        self.run_program("model", "export", self.here / "folded", "--out", self.here / "hf")
        self.run_program("model", "import", self.here / "hf", "--out", self.here / "again")
        self.assertEqual(json.loads((self.here / "hf" / "config.json").read_text())["model_type"], "llama")
        tokens = [[1, 30, 7, 7, 0, 12]]
        self.assert_same_logits(self.logits(self.here / "again", tokens), self.logits(run, tokens))
        (run / "checkpoints" / "step-00000012").rename(run / "checkpoints" / "step-00000013")
        self.assertIn("is of another step", self.run_program("model", "info", f"{run}@13", status=2))

    def test_what_goes_out_is_what_came_in(self):
        source = self.here / "source"
        shutil.copytree(FIXTURES / "mistral", source)
        companions = {"generation_config.json": '{"temperature": 0.6}', "tokenizer.json": '{"version": "1.0"}', "tokenizer_config.json": "{}"}
        for name, text in companions.items():
            (source / name).write_text(text)
        config = json.loads((source / "config.json").read_text()) | {"unk_token_id": 0, "_model_name_or_path": "x", "made_up": "on"}
        (source / "config.json").write_text(json.dumps(config))
        message = self.run_program("model", "import", source, "--out", self.here / "ours", status=2)
        self.assertIn("made_up", message)
        self.assertIn("--ignore made_up", message)
        self.assertEqual(message.count("\n"), 1, message)
        said = self.run_program("model", "import", source, "--out", self.here / "ours", "--ignore", "made_up", "--dtype", "bfloat16")
        self.assertIn("made_up", said)
        self.run_program("model", "export", self.here / "ours", "--out", self.here / "hf")
        exported = json.loads((self.here / "hf" / "config.json").read_text())
        for key in ("model_type", "sliding_window", "bos_token_id", "eos_token_id", "pad_token_id", "max_position_embeddings", "unk_token_id", "made_up"):
            self.assertEqual(exported[key], config[key], key)
        self.assertEqual(exported["dtype"], "bfloat16")
        for name, text in companions.items():
            self.assertEqual((self.here / "hf" / name).read_text(), text)
        kept = self.here / "ours" / "hugging_face" / "generation_config.json"
        kept.write_text('{"temperature": 0.7}')
        self.assertIn("generation_config.json", self.run_program("model", "export", self.here / "ours", "--out", self.here / "other", status=2))
        kept.write_text(companions["generation_config.json"])
        blob = (self.here / "hf" / "model.safetensors").read_bytes()
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        self.assertEqual(header.pop("__metadata__")["format"], "pt")
        self.assertEqual({t["dtype"] for t in header.values()}, {"BF16"})
        self.run_program("model", "export", self.here / "ours", "--out", self.here / "wide", "--dtype", "float32")
        self.assertEqual(json.loads((self.here / "wide" / "config.json").read_text())["dtype"], "float32")

    def data(self, vocabulary, tokens=4000):
        """A folder of tokens without the program: uint16 shards of llm.c."""
        draw = random.Random(5)
        folder = self.here / "tokens"
        folder.mkdir()
        for name in ("train", "val"):
            ids = [min(int(draw.expovariate(0.3)), vocabulary - 1) for _ in range(tokens)]
            header = struct.pack("<256i", 20240520, 1, len(ids), *[0] * 253)
            (folder / f"{name}_000000.bin").write_bytes(header + struct.pack(f"<{len(ids)}H", *ids))
        return folder

    def test_evaluation_is_the_mean_of_what_the_logits_say(self):
        tokens = self.data(41)
        self.run_program("model", "eval", FIXTURES / "llama-tied", "--data", tokens, "--length", 16, "--sequences", 0, "--out", self.here / "eval.json")
        found = json.loads((self.here / "eval.json").read_text())
        raw = (tokens / "val_000000.bin").read_bytes()[1024:]
        ids = struct.unpack(f"<{len(raw) // 2}H", raw)
        windows = [ids[i : i + 17] for i in range(0, len(ids) - 16, 16)]
        self.assertEqual(found["windows"], len(windows))
        (self.here / "tokens.json").write_text(json.dumps([w[:16] for w in windows]))
        self.run_program("model", "logits", FIXTURES / "llama-tied", "--tokens", self.here / "tokens.json", "--out", self.here / "logits.json")
        total = 0.0
        for window, rows in zip(windows, json.loads((self.here / "logits.json").read_text())):
            for target, row in zip(window[1:], rows):
                top = max(row)
                total += math.log(math.fsum(math.exp(x - top) for x in row)) + top - row[target]
        loss = total / (16 * len(windows))
        self.assertAlmostEqual(found["loss"], loss, delta=1e-6 * loss)
        self.assertAlmostEqual(found["perplexity"], math.exp(loss), delta=1e-5 * math.exp(loss))
        message = self.run_program("model", "eval", FIXTURES / "llama-tied", "--data", self.wide(tokens), status=2)
        self.assertIn("has id 41", message)

    def wide(self, folder):
        ids = [1, 2, 41] + [3] * 400
        (folder / "val_000000.bin").write_bytes(struct.pack("<256i", 20240801, 7, len(ids), *[0] * 253) + struct.pack(f"<{len(ids)}I", *ids))
        return folder

    def started(self, name, model, steps=3, status=0, **more):
        config = CONFIG | {"model": model, "data": {"dir": str(self.here / "tokens")}, "steps": steps, "validation": {"every": steps},
                           "optimizer": {"lr": 1e-3, "rules": [{"match": {}}]}} | more
        (self.here / "config.json").write_text(json.dumps(config))
        out = self.run_program("train", self.here / "config.json", "--out", self.here / name, status=status)
        if status:
            return out
        lines = [json.loads(line) for line in (self.here / name / "metrics.jsonl").read_text().splitlines()]
        # The checksum of a line is of the run's times, too.
        return [{k: v for k, v in line.items() if k != "checksum"} for line in lines if line["kind"] == "val"]

    def test_training_on_from_a_real_model_under_other_scales(self):
        self.data(41)
        source = self.here / "source"
        shutil.copytree(FIXTURES / "llama-tied", source)
        (source / "tokenizer.json").write_text("{}")
        start = {}
        for name, scales in (("plain", None), ("hg", "hg"), ("dp", "dp"), ("or", "or")):
            model = {"from": str(source)} | ({"scales": scales} if scales else {})
            vals = self.started(name, model)
            first, last = vals[0], vals[-1]
            start[name] = first["loss"]
            self.assertLess(last["loss"], start[name])
        for name, loss in start.items():
            self.assertAlmostEqual(loss, start["plain"], delta=1e-5 * loss, msg=name)
        # What it started from stands in the record, and an export has its tokenizer again.
        policy = json.loads((self.here / "or" / "policy.json").read_text())
        self.assertEqual(policy["from"]["path"], str(source))
        self.assertEqual(policy["from"]["sha256"], hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest())
        self.assertEqual(json.loads((self.here / "or" / "config.json").read_text())["model"]["from_sha256"], policy["from"]["sha256"])
        self.run_program("model", "fold", self.here / "plain", "--out", self.here / "folded")
        self.run_program("model", "export", self.here / "folded", "--out", self.here / "hf")
        self.assertTrue((self.here / "hf" / "tokenizer.json").exists())
        # Not exact: refused, with the size, unless asked for.
        message = self.started("dnp", {"from": str(source), "scales": "dnp"}, status=2)
        self.assertIn("a norm behind", message)
        self.assertIn('"exact": false', message)
        self.assertEqual(message.count("\n"), 1, message)
        self.started("dnp", {"from": str(source), "scales": "dnp", "exact": False})
        self.assertGreater(json.loads((self.here / "dnp" / "policy.json").read_text())["from"]["logit_gap"], 1e-3)
        # Architecture and vocabulary come from there; another one, another hash, tokens of another vocabulary are one line.
        for model, part in (({"from": str(source), "width": 32}, "model.width"), ({"from": str(source), "from_sha256": "0" * 64}, "from_sha256"),
                            ({"from": str(self.here / "tokens")}, "model.json"), ({"from": str(source), "optimizer_state": True}, "optimizer_state"),
                            ({"from": str(source), "go_on": True}, "go_on")):
            message = self.started("refused", model, status=2)
            self.assertIn(part, message)
            self.assertEqual(message.count("\n"), 1, message)
            self.assertFalse((self.here / "refused").exists())
        self.started("last", {"from": str(source), "scales": "dp"})
        plan = self.run_program("plan", self.here / "config.json")
        self.assertIn("as the same function", plan)
        self.wide(self.here / "tokens")
        self.assertIn("has id 41", self.started("refused", {"from": str(source)}, status=2))

    def test_branches_of_a_trunk(self):
        self.data(41)
        trunk = {"model": {"vocab_size": 41, "width": 16, "layers": 2, "heads": 2}, "checkpoint": {"every": 4, "keep": 5}}
        constant = {"shape": "constant"}
        # A branch that goes on with state and schedule is the trunk itself.
        whole = self.started("whole", trunk["model"], steps=8, checkpoint=trunk["checkpoint"], schedule=constant)
        branch = {"from": f"{self.here / 'whole'}@4", "optimizer_state": True, "go_on": True}
        again = self.started("again", branch, steps=8, schedule=constant)
        self.assertEqual(again[-1], whole[-1])
        weights = lambda run: (max((self.here / run / "checkpoints").iterdir()) / "weights.safetensors").read_bytes()
        self.assertEqual(weights("again"), weights("whole"))
        # Without the optimizer's state or the count of steps it is another run from the same weights.
        self.started("anew", {"from": f"{self.here / 'whole'}@4"}, steps=4, schedule=constant)
        self.assertNotEqual(weights("anew"), weights("whole"))
        self.assertEqual(json.loads((self.here / "anew" / "policy.json").read_text())["from"]["step"], 4)
        self.assertIn("allowed: 4, 8", self.started("refused", {"from": f"{self.here / 'whole'}@5"}, status=2))
        self.assertIn("steps", self.started("refused", branch, steps=4, status=2))
        self.assertIn("RUN@STEP", self.started("refused", {"from": f"{self.here / 'whole'}@last"}, status=2))
        message = self.started("refused", {"from": f"{self.here / 'whole'}@4", "scales": "or", "optimizer_state": True}, status=2)
        self.assertIn("optimizer_state", message)
        self.run_program("model", "info", f"{self.here / 'whole'}@4")

    def test_comparison_of_branches_of_a_trunk(self):
        self.data(41)
        constant = {"shape": "constant"}
        base = CONFIG | {"model": {"vocab_size": 41, "width": 16, "layers": 2, "heads": 2}, "data": {"dir": str(self.here / "tokens")}, "steps": 8,
                         "validation": {"every": 8}, "schedule": constant, "optimizer": {"lr": 1e-3, "rules": [{"match": {}}]}, "threads": 1, "seed": 1}
        grid = {"base": base, "trunk": {"set": {"steps": 6}, "at": 4}, "variants": {"same": {}, "cooled": {"schedule:": {"shape": "wsd", "decay_steps": 4}},
                "late": {"trunk.at": 6}, "hg": {"model": {"scales": "hg", "optimizer_state": False}}}, "grid": {"seed": [1, 2]}}
        (self.here / "grid.json").write_text(json.dumps(grid))
        compare = ("compare", self.here / "grid.json", "--out", self.here / "out")
        weights = lambda run: (max((run / "checkpoints").iterdir()) / "weights.safetensors").read_bytes()
        # The trunk alone; then a part of the grid, which takes it as it is; then the rest.
        self.run_program(*compare, "--cell", "trunk")
        trunk = weights(self.here / "out" / "trunk")
        self.assertFalse((self.here / "out" / "same").exists())
        self.run_program(*compare, "--shard", "1/2")
        output = self.run_program(*compare)
        self.assertNotIn("missing", output)
        self.assertEqual(weights(self.here / "out" / "trunk"), trunk)
        self.assertEqual(self.run_program(*compare, "--list-cells"), "")
        self.assertIn("go on from one trunk of 6 steps", (self.here / "out" / "report.html").read_text())
        self.run_program(*compare, "--collect")
        # A branch that changes nothing is the run that was never split, wherever it was; others are not.
        (self.here / "config.json").write_text(json.dumps(base))
        self.run_program("train", self.here / "config.json", "--out", self.here / "whole")
        cell = lambda variant, seed=1: weights(self.here / "out" / variant / f"seed={seed}")
        self.assertEqual(cell("same"), weights(self.here / "whole"))
        self.assertEqual(cell("late"), weights(self.here / "whole"))
        self.assertNotEqual(cell("cooled"), cell("same"))
        self.assertNotEqual(cell("same", 2), cell("same"))

    def test_wrong_input(self):
        model = self.here / "ours"
        self.run_program("model", "import", FIXTURES / "llama-tied", "--out", model)
        (self.here / "tokens.json").write_text("[[1, 41]]")
        out = self.here / "out"
        for command, part in (
            (("import", FIXTURES, "--out", out), "config.json"),
            (("import", self.here / "nothing", "--out", out), "nothing"),
            (("import", FIXTURES / "llama-tied", "--out", model), "exists"),
            (("logits", model, "--tokens", self.here / "tokens.json", "--out", out), "41"),
            (("logits", model, "--tokens", self.here / "none.json", "--out", out), "none.json"),
            (("info", self.here), "model.json"),
            (("fold", FIXTURES, "--out", out), "model.json"),
            (("info", f"{model}@3"), "is no run"),
            (("info", f"{model}@x"), "RUN@STEP"),
            (("export", model, "--out", out, "--dtype", "int8"), "--dtype"),
            (("eval", model, "--data", self.here), "train"),
        ):
            with self.subTest(command):
                message = self.run_program("model", *command, status=2)
                self.assertIn(part, message)
                self.assertEqual(message.count("\n"), 1, message)
                self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
