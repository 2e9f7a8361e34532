#!/usr/bin/env python3
"""Compares the token ids of `scalevec data prepare --tokenizer FOLDER` with those of Hugging Face's tokenizers, on 10 MB of
text: Django's translations into 100 languages, its Python code, and random characters of all scripts with emoji, marks,
white space and special tokens. Trains a tokenizer of each kind on a part of it: GPT-2's, Llama 3's, Qwen2's, SmolLM2's.

    pip install tokenizers==0.23.3 && pip download --no-deps --no-binary :none: django==5.2.19 -d /tmp
    scripts/check_tokenizer.py /tmp/*jango-5.2.19*.whl [--program build/cpu/bin/scalevec] [--folder models/smollm2]

Exit status 0 if all ids are equal.
"""

import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

SIZE, BLOCK = 10_000_000, 65536
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
KINDS = ["gpt2", "llama3", "qwen2", "smollm2"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start_of|>"]


def real_text(wheel, ending, most):
    with zipfile.ZipFile(wheel) as archive:
        files = sorted(n for n in archive.namelist() if n.endswith(ending))
        random.Random(1).shuffle(files)
        return "".join(archive.read(n).decode() for n in files).encode()[:most].decode(errors="ignore")


def random_text(most):
    draw = random.Random(2)
    assigned = [c for c in range(0x20, 0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    marks = [c for c in assigned if unicodedata.combining(chr(c))]
    scripts = [(0x41, 0x7A), (0x430, 0x44F), (0x621, 0x64A), (0x905, 0x939), (0x4E00, 0x9FA5), (0x3041, 0x30FF), (0xAC00, 0xD7A3), (0x1100, 0x11FF)]
    emoji = ["\U0001F642", "\U0001F469\u200d\U0001F469\u200d\U0001F467", "\U0001F1E9\U0001F1EA", "\u2764\ufe0f", "\U0001F44D\U0001F3FD"]
    spaces = [" ", " ", " ", "  ", "\n", "\n\n", "\r\n", " \n ", "\t", "\u00a0", "\u3000", "\u2028", "\u0085"]
    words = [lambda: "".join(chr(draw.randint(*s)) for _ in range(draw.randint(1, 9))) if (s := draw.choice(scripts)) else "",
             lambda: "".join(chr(draw.choice(assigned)) for _ in range(draw.randint(1, 6))),
             lambda: chr(draw.randint(0x61, 0x7A)) + "".join(chr(draw.choice(marks)) for _ in range(draw.randint(1, 4))),
             lambda: draw.choice(emoji) * draw.randint(1, 3), lambda: str(draw.randint(0, 10**9)), lambda: draw.choice(SPECIAL),
             lambda: draw.choice(["it", "we", "IT", ""]) + draw.choice("'\u2019") + draw.choice(["s", "T", "re", "VE", "m", "ll", "\u017f", "x"])]
    out, size = [], 0
    while size < most:
        out.append(draw.choice(words)() + draw.choice(spaces))
        size += len(out[-1].encode())
    return "".join(out)


def train(folder, kind, text):
    level = lambda regex: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    split = lambda regex: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), level(False)])
    words, normalizer, ignore_merges, size = {
        "gpt2": (level(True), None, False, 20000),
        "llama3": (split(LLAMA3), None, True, 70000),  # beyond 16 bits
        "qwen2": (split(QWEN2), normalizers.NFC(), False, 20000),
        "smollm2": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(True)]), None, False, 20000),
    }[kind]
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = words
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(text.split("\n"), trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))


def blocks(text):
    """As data prepare cuts them: after the first line break from BLOCK bytes on."""
    at = 0
    while at < len(text):
        end = text.find(b"\n", at + BLOCK - 1) + 1 if len(text) - at > BLOCK else 0
        yield text[at : end or len(text)].decode()
        at = end or len(text)


def shards(folder, split):
    ids, wide = [], False
    for file in sorted(folder.glob(f"{split}_*.bin")):
        raw = file.read_bytes()
        magic, version, count = struct.unpack("<3i", raw[:12])
        wide = (magic, version) == (20240801, 7)
        ids += struct.unpack(f"<{count}{'I' if wide else 'H'}", raw[1024:])
    return ids, wide


def compare(program, folder, text_file, text, here):
    out = here / f"out-{len(list(here.iterdir()))}"
    subprocess.run([program, "data", "prepare", "--text", text_file, "--out", out, "--tokenizer", folder, "--block", str(BLOCK), "--val-fraction", "0.5"],
                   check=True, stdout=subprocess.DEVNULL)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = {"train": [], "val": []}
    for i, block in enumerate(blocks(text)):
        expected["val" if i % 2 == 1 else "train"] += tokenizer.encode(block, add_special_tokens=False).ids
    good = True
    for name, ids in expected.items():
        ours, wide = shards(out, name)
        equal = ours == ids
        good = good and equal
        print(f"{folder.name:10} {name:5} {len(ids):8} ids of {tokenizer.get_vocab_size()}, {32 if wide else 16} bits: {'equal' if equal else 'NOT EQUAL'}", flush=True)
        if not equal:
            i = next((i for i, (a, b) in enumerate(zip(ours, ids)) if a != b), min(len(ours), len(ids)))
            print(f"  from {i} on: {[tokenizer.id_to_token(t) for t in ours[i : i + 6]]}, tokenizers: {[tokenizer.id_to_token(t) for t in ids[i : i + 6]]}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="Django's wheel")
    parser.add_argument("--program", default="build/cpu/bin/scalevec")
    parser.add_argument("--folder", type=pathlib.Path, action="append", default=[], help="another folder with tokenizer.json; repeatable")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; repeatable")
    args = parser.parse_args()
    text = real_text(args.wheel, ".po", 5_000_000) + real_text(args.wheel, ".py", 3_000_000)
    text = (text + random_text(SIZE - len(text.encode()))).encode()
    print(f"{len(text)} bytes, {len(set(text.decode()))} different characters")
    with tempfile.TemporaryDirectory() as temporary:
        here = pathlib.Path(temporary)
        (here / "text").write_bytes(text)
        good = True
        for kind in args.kind or KINDS:
            train(here / kind, kind, text[: SIZE // 2].decode(errors="ignore"))
            good = compare(args.program, here / kind, here / "text", text, here) and good
        for folder in args.folder:
            good = compare(args.program, folder, here / "text", text, here) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
