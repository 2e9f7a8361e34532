"""Wrong input to every command ends with status 2 and one line, and changes no file: wrong_input_test.py PROGRAM"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv[1]

RUN = {
    "model": {"vocab_size": 31, "width": 16, "layers": 1, "heads": 2},
    "data": {"synthetic": {"validation_windows": 8}}, "sequence_length": 16, "batch_size": 4, "steps": 4, "threads": 1,
    "optimizer": {"lr": 0.03, "rules": [{"match": {}}]},
}
GRID = {"base": RUN, "variants": {"a": {}}, "grid": {"optimizer.lr": [0.01], "seed": [1]}}


class WrongInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.here = pathlib.Path(cls.folder.name)
        cls.write("run.json", json.dumps(RUN))
        cls.write("grid.json", json.dumps(GRID))
        cls.write("wrong.json", json.dumps({**RUN, "stepz": 3}))
        cls.write("text.txt", "".join(f"line {i} of a small text\n" for i in range(3000)))
        cls.write("bad.txt", b"abc\xff\xfe def\n" + b"some more text\n" * 100)
        cls.write("empty.txt", "")
        cls.write("tokens.json", "[[1, 2, 3]]")
        (cls.here / "mine").mkdir()
        cls.write("mine/index.html", "my page")
        cls.write("mine/page.html", "my page")
        cls.write("mine/page.json", json.dumps({"kind": "mine"}))
        assert cls.call("train", "run.json", "--out", "run").returncode == 0

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, content):
        (cls.here / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    @classmethod
    def call(cls, *command):
        return subprocess.run([PROGRAM, *command], capture_output=True, text=True, cwd=cls.here)

    def files(self):
        return {str(f.relative_to(self.here)): f.read_bytes() for f in self.here.rglob("*") if f.is_file()}

    def refused(self, command, *parts, status=2):
        before = self.files()
        with self.subTest(command):
            done = self.call(*command.split())
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            for part in parts:
                self.assertIn(part, done.stderr)
            self.assertEqual(self.files(), before)

    def test_commands(self):
        self.refused("trane run.json", 'unknown subcommand "trane"; did you mean "train"?')
        self.refused("data frobnicate", "prepare, train-tokenizer, info", "scalevec data --help")
        self.refused("model scale run", 'did you mean "scales"?')
        self.refused("model scales --out x", "DIR is required", "scalevec model scales --help")
        self.refused("compare grid.json --out x --job 2", 'unknown option "--job"; did you mean "--jobs"?')
        self.refused("data prepare --text text.txt --out x --block abc", "--block: got abc; allowed: a number")
        self.assertEqual(self.call("help").returncode, 0)

    def test_configurations(self):
        for command in ("train wrong.json --out x", "plan wrong.json", "probe wrong.json --at 0", "train run.json wrong.json --check"):
            self.refused(command, "wrong.json: stepz: unknown key")
        for command in ("train grid.json --out x", "plan grid.json", "probe grid.json --at 0"):
            self.refused(command, "grid.json: is a comparison", "scalevec compare grid.json")
        self.refused('train run.json --set data:={"dir":"nowhere"} --out x', "nowhere: cannot read as a folder of tokens")
        self.refused("train . --out x", ".: is a folder; allowed: a JSON file")
        self.refused("train none.json --out x", "none.json: cannot be read: No such file or directory")
        self.refused("compare grid.json --set stepz=1 --out x", "stepz: unknown key")
        self.assertIn("right: run.json", self.call("train", "run.json", "--check").stdout)

    def test_a_changed_comparison_names_the_key(self):
        self.assertEqual(self.call("compare", "grid.json", "--out", "grid").returncode, 0)
        self.refused("compare grid.json --set steps=5 --out grid", "it differs at steps (4 there, 5 here)")

    def test_results_replace_results_of_their_kind_only(self):
        self.refused("report run --out run.html", "run.json is there and is no report")
        self.refused("report run --out mine/index.html", "mine/index.html is there and is no page")
        self.refused("report run --out mine/page.html", "is there and is no page")
        self.refused("probe run.json --at 0,2 --out run.json", "run.json is there and is no result of a probe")
        self.refused("model logits run --tokens tokens.json --out tokens.json", "tokens.json is there and is no file of logits")
        self.refused("model scales run --out run", "--out: run holds a run")
        self.refused("model scales run --out mine", "index.html is there and is no page")
        self.refused("theory T3 --out run", "--out: run holds a run")
        self.refused("theory --all --out mine", "index.html is there and is no page")
        self.refused("theory T3 --out text.txt", "--out: text.txt is a file; allowed: a folder")
        for command in ("report run --out out/report.html", "model logits run --tokens tokens.json --out logits.json",
                        "probe run.json --at 0,2 --out probed.json", "model scales run --out atlas"):
            for _ in range(2):
                done = self.call(*command.split())
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_texts(self):
        self.refused("data prepare --text empty.txt --out x", "empty.txt: empty")
        self.refused("data prepare --text tokens.json --out x", "tokens.json: 1 blocks", "a smaller --block gives more")
        # A build without SentencePiece refuses these with another line.
        if "this build has no SentencePiece" in self.call("data", "train-tokenizer", "--text", "text.txt", "--out", "x").stderr:
            return
        self.refused("data train-tokenizer --text bad.txt --vocab 300 --out x", "bad.txt: is not UTF-8 at byte 3")
        self.refused("data train-tokenizer --text text.txt --vocab 300 --out text.txt", "text.txt is there and is no SentencePiece model")
        self.refused("data train-tokenizer --text text.txt --vocab 60000 --out y", "--vocab: got 60000; allowed for these texts: up to ")
        self.assertEqual(self.call("data", "train-tokenizer", "--text", "text.txt", "--vocab", "300", "--out", "m").returncode, 0)
        done = self.call("data", "prepare", "--text", "text.txt", "bad.txt", "--tokenizer", "sentencepiece:m", "--out", "tokens")
        self.assertIn("bad.txt is not UTF-8, first at byte 3", done.stdout)

    def test_figures(self):
        self.refused("theory T1 --set width=33 --out figures", "width: got 33; allowed: a multiple of 32")
        done = self.call("theory", "T3", "--set", "h=1e300", "--out", "figures")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not drawn: T3", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
