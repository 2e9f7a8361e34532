#!/usr/bin/env python3
"""Draws docs/images/designs.svg: where the scale vectors of each design sit in a block. Blue: input class, a linear map can
take the scale up; orange: output class, none can.

    scripts/design_pictures.py [OUT.svg]
"""

import pathlib
import sys

INPUT, OUTPUT = "#2166ac", "#d6604d"
ROW, TOP = 34, 46
# name, heading, norm before the maps, γ_b (shared, own or None), γ_a's (class by map, or {}), norm behind the maps
READERS = ("q", "k", "v", "gate", "up")
DESIGNS = [
    ("plain", "plain: W(γ_b ⊙ x)", True, "shared", {}, False),
    ("none", "none: W x", True, None, {}, False),
    ("hg", "HG: a γ_b for each map that reads the norm", True, "own", {}, False),
    ("dp", "DP: γ_a ⊙ W(γ_b ⊙ x)", True, "shared", dict.fromkeys(READERS, INPUT), False),
    ("dnp", "DNP: γ_a ⊙ Norm(W(γ_b ⊙ x))", True, "shared", {"q": OUTPUT, "k": OUTPUT, "v": INPUT, "gate": OUTPUT, "up": INPUT}, True),
    ("or", "OR: plain's places, γ = β√d α/‖α‖", True, "shared", {}, False),
    ("unified", "unified: HG + DNP, every γ = β√d α/‖α‖", True, "own",
     {"q": OUTPUT, "k": OUTPUT, "v": INPUT, "gate": OUTPUT, "up": INPUT}, True),
    ("output", "SimpleNorm: γ_a ⊙ Norm(W x), no norm before", False, None,
     {"q": OUTPUT, "k": OUTPUT, "v": INPUT, "gate": OUTPUT, "up": INPUT, "o": OUTPUT, "down": OUTPUT}, True),
]


class Picture:
    def __init__(self):
        self.parts = []

    def line(self, x1, y1, x2, y2):
        self.parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#444"/>')

    def text(self, x, y, text, anchor="middle", colour="#111", weight="normal", size=12):
        if "_" in text and len(text) < 9:  # a subscript: two texts that meet
            head, tail = text.split("_")
            x += (4 if len(head) == 1 and head != "γ" else 2) - 2.6 * len(tail)
            self.text(x, y, head, "end", colour, weight, size)
            self.text(x, y + 3, tail, "start", colour, weight, 9)
            return
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}" font-size="{size}">{text}</text>')

    def box(self, x, y, text, width=44, fill="#eee"):
        self.parts.append(f'<rect x="{x}" y="{y - 11}" width="{width}" height="22" rx="3" fill="{fill}" stroke="#666"/>')
        self.text(x + width / 2, y + 4, text)
        return x + width

    def gamma(self, x, y, colour, text):
        self.parts.append(f'<circle cx="{x + 12}" cy="{y}" r="12" fill="{colour}"/>')
        self.text(x + 12, y + 4, text, colour="#fff")
        return x + 24


def sublayer(p, left, top, maps, last, middle, design):
    _, _, pre, before, after, normed = design
    rows = [top + ROW * i for i in range(len(maps))]
    centre = (rows[0] + rows[-1]) / 2
    p.text(left, centre + 4, "x")
    x = left + 8

    def step(to, y):
        nonlocal x
        p.line(x, y, to, y)
        x = to

    if pre:
        step(left + 20, centre)
        x = p.box(x, centre, "Norm")
        if before == "shared":
            step(x + 10, centre)
            x = p.gamma(x, centre, INPUT, "γ_b")
    fork = max(x + 10, left + 30)
    step(fork, centre)
    p.line(fork, rows[0], fork, rows[-1])
    join = left + (450 if len(maps) == 3 else 395)
    for (name, tail), y in zip(maps, rows):
        x = fork
        if before == "own":
            step(x + 10, y)
            x = p.gamma(x, y, INPUT, f"γ_{name[0]}")
        step(left + 145, y)
        x = p.box(x, y, f"W_{name}", 46)
        if normed:
            step(left + 205, y)
            x = p.box(x, y, "Norm")
        if name in after:
            step(left + 263, y)
            x = p.gamma(x, y, after[name], "γ_a")
        if tail:
            step(left + 305, y)
            x = p.box(x, y, tail)
        step(join, y)
    p.line(join, rows[0], join, rows[-1])
    x = join
    step(x + 10, centre)
    x = p.box(x, centre, middle, 52)
    step(x + 10, centre)
    x = p.box(x, centre, f"W_{last}", 52)
    if normed and last in after:
        step(x + 8, centre)
        x = p.box(x, centre, "Norm")
        step(x + 8, centre)
        x = p.gamma(x, centre, after[last], "γ_a")
    step(x + 14, centre)
    p.text(x + 8, centre + 5, "⊕", size=15)


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "docs/images/designs.svg"
    p = Picture()
    height = 3 * ROW + 40
    for i, design in enumerate(DESIGNS):
        top = i * height + TOP
        p.text(14, top - 24, design[1], anchor="start", weight="bold", size=13)
        sublayer(p, 20, top, [("q", "RoPE"), ("k", "RoPE"), ("v", "")], "o", "attend", design)
        sublayer(p, 730, top + ROW / 2, [("gate", "silu"), ("up", "")], "down", "⊙", design)
    size = f'width="1390" height="{len(DESIGNS) * height + 34}"'
    legend = len(DESIGNS) * height + 18
    p.gamma(14, legend - 5, INPUT, "γ")
    p.text(46, legend, "input class: a linear map can take it up (it folds)", anchor="start")
    p.gamma(370, legend - 5, OUTPUT, "γ")
    p.text(402, legend, "output class: it folds nowhere", anchor="start")
    out.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, sans-serif">\n'
                   '<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(p.parts) + "\n</svg>\n")
    print(out)


if __name__ == "__main__":
    main()
