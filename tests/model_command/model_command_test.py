"""The model command as a user runs it: model_command_test.py PROGRAM FIXTURES

Every committed Hugging Face model is imported, compared with the logits that transformers gave, folded, exported and
imported again; a run's folder is read; wrong input ends with status 2, one line, and nothing written.
"""

import json
import pathlib
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
