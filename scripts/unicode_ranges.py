#!/usr/bin/env python3
"""Writes experiments/data/unicode_ranges.hpp: the classes of characters and the canonical decompositions with which
Hugging Face's tokenizers works. Its regular expressions, its digits and its NFC each follow a Unicode version of their
own, so every entry is asked of tokenizers itself.

    pip install tokenizers==0.23.3
    scripts/unicode_ranges.py
"""

import pathlib
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
nfc = normalizers.NFC().normalize_str


def matched(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in CODES if not split.pre_tokenize_str(chr(c))}


def digits():
    split = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODES if len(split.pre_tokenize_str("!" + chr(c))) == 2}


def combining_class(c):
    """Python's, or 0 where tokenizers leaves the character where it is."""
    text = "e\u0301\u0327" + chr(c) + "\u0327\u0301"
    return unicodedata.combining(chr(c)) if nfc(text) == unicodedata.normalize("NFC", text) else 0


def ranges(holds):
    """(first, last, value) of the runs of codes with the same value, zero left out."""
    out = []
    for c in CODES:
        value = int(holds(c))
        if value and out and out[-1][1] == c - 1 and out[-1][2] == value:
            out[-1][1] = c
        elif value:
            out.append([c, c, value])
    return out


def table(name, what, type_name, cells):
    lines, line = [], " "
    for cell in cells:
        cell = "{" + ", ".join(cell) + "}"
        if len(line) + len(cell) > 116:
            lines.append(line)
            line = " "
        line += " " + cell + ","
    return f"// {what}\ninline constexpr {type_name} {name}[] = {{\n" + "\n".join(lines + [line]) + "};"


def main():
    letters, numbers, numeric = matched(r"\p{L}"), matched(r"\p{N}"), digits()
    classes = {c: combining_class(c) for c in CODES if unicodedata.combining(chr(c))}
    decompositions = []
    for c in CODES:
        parts = unicodedata.decomposition(chr(c)).split()
        if not parts or parts[0].startswith("<"):
            continue
        first, second = int(parts[0], 16), int(parts[1], 16) if len(parts) > 1 else 0
        if nfc(chr(c) + "\u0327") != unicodedata.normalize("NFC", chr(c) + "\u0327"):
            raise SystemExit(f"U+{c:04X}: tokenizers decomposes it otherwise")
        composes = second != 0 and nfc(chr(first) + chr(second)) == chr(c)
        decompositions.append((f"0x{c:x}", f"0x{first:x}", f"0x{second:x}", "true" if composes else "false"))
    plain = lambda codes: [(f"0x{a:x}", f"0x{b:x}") for a, b, _ in ranges(lambda c: c in codes)]
    marks = [(f"0x{a:x}", f"0x{b:x}", str(v)) for a, b, v in ranges(lambda c: classes.get(c, 0))]
    text = [
        "#pragma once\n",
        f"// Written by scripts/unicode_ranges.py as tokenizers {tokenizers.__version__} has them. Ascending; ranges inclusive.",
        "namespace scalevec::experiments::unicode {\n",
        "struct Range {\n  char32_t low, high;\n};",
        "struct Mark {\n  char32_t low, high;\n  unsigned char combining_class;\n};",
        "// One step of the canonical decomposition; second is 0 where there is one character. composes: NFC makes it again.",
        "struct Decomposition {\n  char32_t code, first, second;\n  bool composes;\n};\n",
        "// clang-format off",
        table("kLetters", "\\p{L}", "Range", plain(letters)),
        table("kNumbers", "\\p{N}", "Range", plain(numbers)),
        table("kNumeric", "what the pre-tokenizer Digits takes for a digit", "Range", plain(numeric)),
        table("kMarks", "characters with a canonical combining class", "Mark", marks),
        table("kDecompositions", "without Hangul, which has a rule", "Decomposition", decompositions),
        "// clang-format on\n\n}  // namespace scalevec::experiments::unicode\n",
    ]
    (pathlib.Path(__file__).parent.parent / "experiments/data/unicode_ranges.hpp").write_text("\n".join(text))


main()
