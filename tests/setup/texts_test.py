#!/usr/bin/env python3
"""scripts/texts.sh on small stand-ins for the two packages: which files, in which order, and what each folder holds; a vocabulary
that is learnt twice is the same; what is there stays, also when the packages have changed; a missing package is named."""
import gzip
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile

ROOT, PROGRAM = pathlib.Path(sys.argv[1]), sys.argv[2]
CODE = {  # in the order of the text; None: left out
    "Documentation/a.rst": b"a guide\n", "Documentation/b/c.rst": b"another\n", "block/x.c": b"int x;\n", "kernel/a.c": b"int a;\n",
    "kernel/a.h": b"extern int a;\n", "kernel/sub/z.c": b"int z;\n", "mm/m.c": b"int m;\n",
    "Documentation/d.txt": None, "Documentation/translations/e.rst": None, "Documentation/f.c": None, "kernel/Makefile": None,
    "drivers/g.c": None, "arch/x86/kernel/h.c": None, "kernel/i.S": None}
FILL = b"/* " + b"more of the same " * 700 + b"*/\n"  # long enough for a block of validation data


def check(condition, *shown):
    if not condition:
        raise AssertionError("\n".join(str(s) for s in shown))


def dictionary(seed):
    words = random.Random(seed)
    lines = ("".join(words.choices("abcdefghijklmnopqrstuvwxyz", k=words.randint(2, 9))) for _ in range(40000))
    return "".join(word + ("\n" if i % 9 == 0 else " ") for i, word in enumerate(lines)).encode()


class Machine:
    def __init__(self, folder):
        self.tree, self.packages = folder / "scale vec", folder / "packages"
        (self.tree / "scripts").mkdir(parents=True)
        self.packages.mkdir()
        (self.tree / "scripts/texts.sh").write_text((ROOT / "scripts/texts.sh").read_text())
        self.stand_in(self.tree / "scripts/bootstrap.sh", 'echo "$*" >"$STATE/bootstrap"; [[ ! -f $STATE/missing ]] || { echo "missing: $*" >&2; exit 1; }')
        bin = folder / "bin"
        bin.mkdir()
        self.stand_in(bin / "dpkg-query", "echo 'linux-source-9.9 (= 9.9-1)'")
        self.stand_in(bin / "dpkg", 'case $2 in dict-gcide) echo "$STATE/gcide.dict.dz" ;; linux-source-9.9) printf "%s\\n" /. "$STATE/linux-source-9.9.tar.xz" ;; esac')
        self.environment = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}", "STATE": str(self.packages), "SCALEVEC": PROGRAM}
        self.ship(1)

    @staticmethod
    def stand_in(path, body):
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def ship(self, seed):
        (self.packages / "gcide.dict.dz").write_bytes(gzip.compress(dictionary(seed)))
        source = self.packages / "linux-source-9.9"
        for name, text in CODE.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((text or b"left out\n") + FILL)
        for name in ("init", "io_uring", "ipc", "lib"):
            (source / name).mkdir(exist_ok=True)
        with tarfile.open(self.packages / "linux-source-9.9.tar.xz", "w:xz") as archive:
            archive.add(source, "linux-source-9.9")

    def call(self, *arguments):
        done = subprocess.run(["bash", self.tree / "scripts/texts.sh", *arguments], env=self.environment, text=True, capture_output=True)
        return done.returncode, done.stdout, done.stderr

    def data(self, name, out="runs/texts"):
        return json.loads((self.tree / out / name / "data.json").read_text())


def tokens(folder, split):
    return b"".join(f.read_bytes()[1024:] for f in sorted(folder.glob(split + "_*.bin")))


with tempfile.TemporaryDirectory(prefix="scalevec-texts-") as scratch:
    m = Machine(pathlib.Path(scratch))
    status, text, error = m.call()
    check(status == 0, text, error)
    lines = text.splitlines()
    check([line.split()[0] for line in lines] == ["english-bytes", "code-bytes", "english-bpe"], text)
    check(all(m.data(line.split()[0])["sha256"] in line for line in lines), text)
    check(set((m.packages / "bootstrap").read_text().split()) >= {"dict-gcide", "linux-source"}, "the packages")

    home = m.tree / "runs/texts"
    check((home / "code.txt").read_bytes() == b"".join(t + FILL for t in CODE.values() if t), "files or order of the code")
    check((home / "english.txt").read_bytes() == dictionary(1), "the dictionary")
    english = m.data("english-bytes")
    check(english["tokenizer"] == "bytes" and english["sources"][0]["sha256"] == hashlib.sha256(dictionary(1)).hexdigest(), english)
    # The vocabulary comes from the training tokens, and from them alone.
    train = tokens(home / "english-bytes", "train")
    check((home / "english-training.txt").read_bytes() == train[::2] and not any(train[1::2]), "the training part")
    check(m.data("english-bpe")["vocab_size"] == 4096, m.data("english-bpe"))

    before = {name: m.data(name) for name in ("english-bytes", "code-bytes", "english-bpe")}
    m.ship(2)
    status, again, error = m.call()
    check(status == 0 and again == text and {name: m.data(name) for name in before} == before, again, error)
    check((m.packages / "bootstrap").read_text().strip() == "", "asks for packages that it does not need")

    m.ship(1)
    status, text, error = m.call("--out", "runs/again", "english-bpe")
    check(status == 0 and m.data("english-bpe", "runs/again") == before["english-bpe"], text, error)

    (m.packages / "missing").touch()
    status, text, error = m.call("--out", "runs/third", "code-bytes")
    check(status == 1 and "linux-source" in error and text == "", status, error)
    status, text, error = m.call("english-words")
    check(status == 2 and "usage" in error, status, error)
