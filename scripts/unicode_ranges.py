#!/usr/bin/env python3
"""Writes experiments/data/unicode_ranges.hpp from Python's Unicode tables: classes of characters that pre-tokenizers'
regular expressions and the normal form NFC ask for."""

import pathlib
import unicodedata

category = lambda c: unicodedata.category(chr(c))
assigned = range(0x110000)

seconds = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))  # of Hangul, which compose by a rule
for code in assigned:
    parts = unicodedata.decomposition(chr(code)).split()
    if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.normalize("NFC", chr(code)) == chr(code):
        seconds.add(int(parts[1], 16))

CLASSES = {
    "kLetters": ("\\p{L}", lambda c: category(c)[0] == "L"),
    "kNumbers": ("\\p{N}", lambda c: category(c)[0] == "N"),
    "kMarks": ("characters with a combining class", lambda c: unicodedata.combining(chr(c)) != 0),
    "kNotAlwaysNfc": ("NFC_Quick_Check is No or Maybe",
                      lambda c: not 0xD800 <= c < 0xE000 and (unicodedata.normalize("NFC", chr(c)) != chr(c) or c in seconds)),
}


def ranges(holds):
    out, start = [], None
    for c in list(assigned) + [None]:
        if c is not None and holds(c):
            start = c if start is None else start
        elif start is not None:
            out.append((start, (0x110000 if c is None else c) - 1))
            start = None
    return out


text = ["#pragma once\n\n// Written by scripts/unicode_ranges.py from Unicode " + unicodedata.unidata_version + ". Inclusive ranges, ascending.",
        "namespace scalevec::unicode {\n\nstruct Range {\n  char32_t low, high;\n};\n\n// clang-format off"]
for name, (what, holds) in CLASSES.items():
    cells = [f"{{0x{a:x}, 0x{b:x}}}" for a, b in ranges(holds)]
    lines, line = [], " "
    for cell in cells:
        if len(line) + len(cell) > 116:
            lines.append(line)
            line = " "
        line += " " + cell + ","
    lines.append(line)
    text.append(f"// {what}\ninline constexpr Range {name}[] = {{\n" + "\n".join(lines) + "};")
text.append("// clang-format on\n\n}  // namespace scalevec::unicode\n")
(pathlib.Path(__file__).parent.parent / "experiments/data/unicode_ranges.hpp").write_text("\n".join(text))
