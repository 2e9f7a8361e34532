#!/usr/bin/env python3
"""Writes docs/optimizers/comparison.md and its pictures from docs/optimizers/comparison.json: every number is read from there.

    python3 scripts/optimizer_comparison_docs.py            # writes
    python3 scripts/optimizer_comparison_docs.py --check    # says what differs, also of the grid and its script; exit status 1
"""
import html
import json
import math
import pathlib
import statistics
import sys
import textwrap

import optimizer_comparison

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "docs/optimizers"
RESULTS = HOME / "comparison.json"
BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#888"
GROUPS = {"matrix": "linear maps", "embedding": "embedding", "scale.input": "γ, input class", "scale.output": "γ, output class"}


def integral_of_cosine(power, to, pieces=2000):
    """∫₀ᵗᵒ cos(x)^power dx by Simpson's rule."""
    h = to / pieces
    terms = [math.cos(i * h) ** power * (1 if i in (0, pieces) else 4 if i % 2 else 2) for i in range(pieces + 1)]
    return sum(terms) * h / 3


def t_probability(t, freedom):
    """Two-sided p of Student's t: with t = √ν tan x the density is proportional to cos(x)^(ν − 1)."""
    whole = integral_of_cosine(freedom - 1, math.pi / 2)
    return max(0.0, 1 - integral_of_cosine(freedom - 1, math.atan(abs(t) / math.sqrt(freedom))) / whole)


def t_quantile(freedom):
    """The t whose two-sided p is 0.05."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) > 0.05 else (low, middle)
    return high


class Difference:
    """The mean of paired differences with its 95 % interval by Student's t."""

    def __init__(self, first, second, quantile):
        pairs = [a - b for a, b in zip(first, second)]
        self.mean, self.freedom = statistics.fmean(pairs), len(pairs) - 1
        self.error = statistics.stdev(pairs) / math.sqrt(len(pairs))
        self.half = quantile * self.error

    def resolved(self):
        return abs(self.mean) > self.half

    def p(self):
        return t_probability(self.mean / self.error, self.freedom) if self.error else float(self.mean == 0)

    def text(self):
        if self.mean == self.error == 0:
            return "the same"
        bold = "**" if self.resolved() else ""
        return f"{bold}{signed(self.mean)}{bold} [{signed(self.mean - self.half)}, {signed(self.mean + self.half)}]"


def signed(x):
    return f"{x:+.3f}".replace("-", "−")


def short(x):
    text = f"{x:.2g}"
    return f"{float(text):g}" if 1e-4 <= abs(x) < 1e4 else text.replace("e-0", "e-")


def option_text(options):
    return ", ".join(f"{k} {str(v).lower() if isinstance(v, bool) else format(v, 'g') if isinstance(v, (int, float)) else v}"
                     for k, v in options.items())


def sign_test(values):
    """Two-sided p of as many negative ones if either sign were as likely."""
    values = [x for x in values if x]
    n, k = len(values), min(sum(x < 0 for x in values), sum(x > 0 for x in values))
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n)


def tuning_loss(m):
    return (m["tuning_alternative"] if m["took_alternative"] else m["tuning"])[short(m["factor"])]


class Results:
    def __init__(self, data):
        self.data = data
        finished = [m for m in data["methods"] if "diverged" not in m["adamw"]["losses"]]
        self.diverged = [m for m in data["methods"] if m not in finished]
        self.methods = sorted(finished, key=lambda m: (statistics.fmean(m["adamw"]["losses"]), m["name"]))
        self.own_steps = [m for m in self.methods if "same" not in m]
        self.adamw = next(m for m in self.methods if m["name"] == "adamw")
        self.quantile = t_quantile(len(data["seeds"]) - 1)
        self.with_own = [m for m in self.own_steps if "own" in m and "diverged" not in m["own"]["losses"]]

    def difference(self, a, b):
        return Difference(a["adamw"]["losses"], b["adamw"]["losses"], self.quantile)

    def own_difference(self, m):
        return Difference(m["own"]["losses"], m["adamw"]["losses"], self.quantile)

    def pairs(self):
        return {(a["name"], b["name"]): self.difference(b, a)
                for i, a in enumerate(self.own_steps) for b in self.own_steps[i + 1:]}

    def holm(self, pairs):
        """How many of the pairs stay resolved at 95 % over all of them together."""
        ps = sorted(d.p() for d in pairs.values())
        for i, p in enumerate(ps):
            if p > 0.05 / (len(ps) - i):
                return i
        return len(ps)


class Picture:
    def __init__(self, width, height):
        self.size, self.parts = (width, height), []

    def line(self, x1, y1, x2, y2, colour="#444", width=1.0, more=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"{more}/>')

    def dot(self, x, y, colour, radius=3.0, fill=True):
        paint = f'fill="{colour}"' if fill else f'fill="white" stroke="{colour}"'
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {paint}/>')

    def box(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>')

    def text(self, x, y, text, anchor="start", size=11, colour="#111", more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{more}>{html.escape(text)}</text>')

    def path(self, points, colour, width=1.3):
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>')

    def svg(self):
        width, height = self.size
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
                f'font-family="sans-serif">\n<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def ladder(low, high, step):
    ticks, at = [], math.ceil(low / step - 1e-9)
    while at * step <= high + 1e-9:
        ticks.append(at * step)
        at += 1
    return ticks


def loss_range(results):
    """From the best loss to where three quarters of the methods end, and a little; what is worse is drawn at the end."""
    means = [statistics.fmean(m["adamw"]["losses"]) for m in results.own_steps]
    return math.floor(min(means) * 20) / 20, math.ceil(max(means[int(0.85 * len(means))], min(means) + 0.2) * 10) / 10


def leaderboard_picture(results):
    left, top, row, width = 150, 40, 16, 560
    picture = Picture(left + width + 100, top + row * len(results.methods) + 40)
    low, high = loss_range(results)

    def at(x):
        return left + width * (min(x, high) - low) / (high - low)

    bottom = top + row * len(results.methods)
    for tick in ladder(low, high, 0.1):
        picture.line(at(tick), top - 6, at(tick), bottom, "#ddd")
        picture.text(at(tick), bottom + 14, f"{tick:.1f}", "middle")
    picture.text(left + width / 2, bottom + 30, "validation loss, nats per byte; each seed a circle, the mean a dot", "middle")
    picture.dot(left, 14, BLUE)
    picture.text(left + 8, 18, "scale vectors by AdamW")
    picture.dot(left + 190, 14, ORANGE)
    picture.text(left + 198, 18, "scale vectors by the method itself")
    for i, m in enumerate(results.methods):
        y = top + row * i + row / 2
        picture.text(left - 8, y + 4, m["name"], "end")
        for key, colour, shift in (("adamw", BLUE, -3), ("own", ORANGE, 3)):
            if key == "adamw" or m in results.with_own:
                losses = m[key]["losses"]
                for x in losses:
                    picture.dot(at(x), y + shift, colour, 2, False)
                mean = statistics.fmean(losses)
                picture.dot(at(mean), y + shift, colour, 3)
                if mean > high:
                    picture.text(at(high) + (8 if key == "adamw" else 52), y + 4, f"→ {mean:.2f}" if mean < 10 else f"→ {mean:.0f}", colour=colour)
    return picture.svg()


def lr_picture(results):
    columns, width, height, left, top = 7, 112, 92, 40, 20
    methods = results.own_steps
    rows = -(-len(methods) // columns)
    picture = Picture(left + columns * width + 10, top + rows * (height + 30) + 40)
    low, high = loss_range(results)
    high += 0.3
    factors = [0.03, 0.1, 0.3, 1, 3, 10, 30]
    for i, m in enumerate(methods):
        x0, y0 = left + (i % columns) * width, top + (i // columns) * (height + 30)

        def at(factor, loss):
            loss = high if loss == "diverged" else min(loss, high)
            return (x0 + 8 + (width - 24) * factors.index(factor) / (len(factors) - 1), y0 + height * (high - loss) / (high - low))

        picture.text(x0 + 4, y0 - 5, m["name"], size=10)
        picture.line(x0, y0, x0, y0 + height, "#bbb")
        picture.line(x0, y0 + height, x0 + width - 10, y0 + height, "#bbb")
        for tick in ladder(low, high, 0.5):
            y = at(1, tick)[1]
            picture.line(x0, y, x0 + width - 10, y, "#eee")
            if i % columns == 0:
                picture.text(x0 - 4, y + 4, f"{tick:.1f}", "end", 9)
        for factor in (0.1, 1, 10):
            picture.line(at(factor, low)[0], y0 + height, at(factor, low)[0], y0 + height + 3, "#888")
            picture.text(at(factor, low)[0], y0 + height + 12, short(m["lr"] * factor), "middle", 8, GREY)
        points = sorted((float(f), loss) for f, loss in m["tuning"].items())
        picture.path([at(f, loss) for f, loss in points], BLUE)
        for f, loss in points:
            picture.dot(*at(f, loss), BLUE, 2.5, loss != "diverged" and loss <= high)
        for f, loss in m["tuning_alternative"].items():
            x, y = at(float(f), loss)
            picture.parts.append(f'<path d="M{x - 3:.1f},{y - 3:.1f}l6,6m0,-6l-6,6" stroke="{ORANGE}" stroke-width="1.5"/>')
        x, y = at(m["factor"], tuning_loss(m))
        picture.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="none" stroke="#111"/>')
    y = top + rows * (height + 30) + 10
    picture.text(left, y, "mean validation loss of the tuning seeds against learning rate. Circled: chosen. Orange cross: the other value of the tuned option.")
    picture.text(left, y + 15, "Open dot at the upper end: worse than the axis, or diverged.")
    return picture.svg()


def traces_picture(results):
    left, top, row, width, gap = 132, 54, 14, 88, 14
    methods = results.own_steps
    picture = Picture(left + 8 * width + 8 * gap, top + row * len(methods) + 60)
    bottom = top + row * len(methods)
    for i, m in enumerate(methods):
        if i % 2 == 0:
            picture.box(left, top + row * i, 8 * (width + gap) - gap, row, "#f5f5f5")
        picture.text(left - 6, top + row * i + 11, m["name"], "end", 10)
    for q, (key, title) in enumerate((("effective_lr", "effective learning rate ‖Δ‖/‖g‖"), ("rotation", "rotation per step, radians"))):
        values = [v for m in methods for s in ("adamw", "own") if s in m for g in GROUPS
                  for v in m[s]["traces"].get(g, {}).get(key, []) if v]
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        low = max(low, math.floor(math.log10(statistics.quantiles(values, n=100)[0])))
        start = left + q * 4 * (width + gap)
        picture.text(start + 2 * (width + gap) - gap / 2, 16, title, "middle", 12)
        for g, (group, name) in enumerate(GROUPS.items()):
            x0 = start + g * (width + gap)

            def at(v):
                return x0 + width * (min(max(math.log10(v), low), high) - low) / (high - low)

            picture.text(x0 + width / 2, 36, name, "middle", 10)
            for exponent in range(low, high + 1):
                x = at(10.0 ** exponent)
                picture.line(x, top, x, bottom, "#ddd")
                if (exponent - low) % 2 == 0:
                    picture.text(x, bottom + 13, f"1e{exponent}" if exponent else "1", "middle", 8)
            for i, m in enumerate(methods):
                for s, colour, shift in (("adamw", BLUE, -2.5), ("own", ORANGE, 2.5)):
                    if s not in m:
                        continue
                    found = [v for v in m[s]["traces"].get(group, {}).get(key, []) if v]
                    if found:
                        y = top + row * i + row / 2 + shift
                        picture.line(at(min(found)), y, at(max(found)), y, colour, 1.0)
                        picture.dot(at(statistics.median(found)), y, colour, 2.2)
    picture.dot(left, bottom + 34, BLUE)
    picture.text(left + 8, bottom + 38, "scale vectors by AdamW")
    picture.dot(left + 190, bottom + 34, ORANGE)
    picture.text(left + 198, bottom + 38, "scale vectors by the method itself. Dot: median over the traced steps; line: least to largest")
    return picture.svg()


def pairs_picture(results, pairs):
    methods, cell, left, top = results.own_steps, 14, 130, 120
    size = cell * len(methods)
    picture = Picture(left + size + 20, top + size + 34)
    for i, m in enumerate(methods):
        picture.text(left - 6, top + cell * i + 11, m["name"], "end", 10)
        x, y = left + cell * i + 10, top - 6
        picture.text(x, y, m["name"], "start", 10, more=f' transform="rotate(-60 {x:.1f} {y:.1f})"')
        picture.box(left + cell * i, top + cell * i, cell - 1, cell - 1, "#444")
    index = {m["name"]: i for i, m in enumerate(methods)}
    squares = {True: "", False: ""}
    for (a, b), d in pairs.items():
        for i, j in ((index[a], index[b]), (index[b], index[a])):
            squares[d.resolved()] += f"M{left + cell * j},{top + cell * i}h{cell - 1}v{cell - 1}h{1 - cell}z"
    for resolved, colour in ((True, "#b7d3ea"), (False, "#f4a582")):
        picture.parts.append(f'<path d="{squares[resolved]}" fill="{colour}"/>')
    picture.text(left, top + size + 22, "orange: not resolved, the interval of the difference contains zero; blue: resolved")
    return picture.svg()


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def wrapped(text):
    return "\n".join(textwrap.wrap(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False))


def bullet(text):
    return "\n".join(textwrap.wrap(" ".join(text.split()), 118, initial_indent="- ", subsequent_indent="  ", break_long_words=False,
                                   break_on_hyphens=False))


def names(methods):
    return ", ".join(f"`{m['name'] if isinstance(m, dict) else m}`" for m in methods) or "none"


def few(methods):
    """Names, or how many if they are many."""
    return names(methods) if len(methods) <= 12 else f"{len(methods)} methods"


def chosen_option(m):
    if not m["alternative"]:
        return ""
    if not m["tuning_alternative"]:
        return f"{option_text(m['alternative'])}: not tried"
    return option_text(m["alternative"]) + (": taken" if m["took_alternative"] else ": no gain")


def diverged_text(losses):
    return f"{losses.count('diverged')} of {len(losses)} seeds diverged" if "diverged" in losses else ""


def own_text(m):
    """In place of a difference, for a method without one."""
    return "as `" + m["same"] + "`" if "same" in m else diverged_text(m["own"]["losses"]) if "own" in m else "n/a"


def same_losses(results):
    found = {m["name"]: m["adamw"]["losses"] for m in results.data["methods"]}
    return all(found[m["name"]] == found[m["same"]] for m in results.data["methods"] if "same" in m)


def above_pairs(results):
    above = [m for m in results.own_steps if statistics.fmean(m["adamw"]["losses"]) > results.data["pair_loss"]]
    return f"Above it after training: {names(above)}."


def leaderboard(results):
    rows = []
    for m in results.methods:
        losses = m["adamw"]["losses"]
        difference = "" if m is results.adamw else "as `adamw`" if m.get("same") == "adamw" else results.difference(m, results.adamw).text()
        edge = {"low": " (low end)", "high": " (high end)", "": ""}[m["edge"]]
        rows.append([f"[`{m['name']}`]({m['name']}.md)", f"{statistics.fmean(losses):.3f} ({short(statistics.stdev(losses))})", difference,
                     results.own_difference(m).text() if m in results.with_own else own_text(m), short(m["lr"] * m["factor"]) + edge,
                     f"{1000 * m['step_seconds']:.1f}", f"{m['state_bytes']:.3g}"])
    for m in results.diverged:
        rows.append([f"[`{m['name']}`]({m['name']}.md)", diverged_text(m["adamw"]["losses"]), "", own_text(m),
                     short(m["lr"] * m["factor"]), f"{1000 * m['step_seconds']:.1f}", f"{m['state_bytes']:.3g}"])
    return table(["method", "loss (sd)", "difference to `adamw`", "own scale vectors", "lr", "ms per step", "bytes"], rows)


def options_table(results):
    rows = []
    for m in sorted(results.own_steps, key=lambda m: m["name"]):
        rows.append([f"`{m['name']}`", short(m["lr"]), option_text(m["options"]) or "defaults", chosen_option(m)])
    return table(["method", "middle lr", "options", "tuned option, and what came of it"], rows)


def findings(results, pairs):
    best = results.own_steps[0]
    better = [m for m in results.own_steps if m is not results.adamw and (d := results.difference(m, results.adamw)).resolved() and d.mean < 0]
    worse = [m for m in results.own_steps if m is not results.adamw and (d := results.difference(m, results.adamw)).resolved() and d.mean > 0]
    open_ = [m for m in results.own_steps if m is not results.adamw and not results.difference(m, results.adamw).resolved()]
    top = [m for m in results.own_steps if m is not best and not results.difference(m, best).resolved()]
    own = results.with_own
    gains = [m for m in own if (d := results.own_difference(m)).resolved() and d.mean < 0]
    losses = [m for m in own if (d := results.own_difference(m)).resolved() and d.mean > 0]
    same = [m for m in own if not results.own_difference(m).resolved()]
    changes = [results.own_difference(m).mean for m in own]
    return "\n".join([
        bullet(f"Least mean loss: `{best['name']}`, {statistics.fmean(best['adamw']['losses']):.3f} nats per byte, against "
               f"{statistics.fmean(results.adamw['adamw']['losses']):.3f} of `adamw`. Not resolved from it: {few(top)}."),
        bullet(f"Resolved from `adamw` and better: {names(better)}. Resolved and worse: {names(worse)}. Not resolved: {few(open_)}."),
        bullet(f"Scale vectors trained by the method itself, with the learning rate that was tuned while AdamW trained them: resolved "
               f"and better for {names(gains)}; resolved and worse for {names(losses)}; not resolved for {len(same)} of {len(own)} methods. "
               f"It is better for {sum(x < 0 for x in changes)} and worse for {sum(x > 0 for x in changes)} methods (sign test: p = {sign_test(changes):.2g}); the median "
               f"difference is {signed(statistics.median(changes))}."),
        bullet(f"Of the {len(pairs)} pairs of methods, {sum(not d.resolved() for d in pairs.values())} are not resolved. Each interval is a "
               f"95 % interval of its own, so about one in twenty pairs of equal methods would look resolved. Holm's correction over "
               f"all pairs leaves {results.holm(pairs)} resolved: so few seeds can't separate so many pairs at once."),
    ])


def page(results):
    data, pairs = results.data, results.pairs()
    base = data["base"]
    seeds, runs = data["seeds"], data["runs"]
    edges = [m for m in results.own_steps if m["edge"]]
    lucky = [m for m in results.own_steps if statistics.fmean(m["adamw"]["losses"]) > tuning_loss(m) + 0.03]
    far = [m for m in results.own_steps if max(m["adamw"]["losses"]) > 2 * statistics.median(m["adamw"]["losses"])]
    untried = [m for m in results.own_steps if m["alternative"] and not m["tuning_alternative"]]
    same = [m for m in results.methods if "same" in m]
    matrix = [m for m in results.own_steps if m.get("matrix")]
    no_own = [m for m in results.own_steps if "own" not in m]
    tokens = base["batch_size"] * base["sequence_length"]
    text = f"""# Comparison of the methods

{wrapped(f'''All {len(results.methods)} methods trained the same decoder ({data['parameters']:,} parameters, of which {data['scale_parameters']}
are scale vectors) on the same text for {base['steps']:,} steps, each with its own tuned learning rate. The table is sorted by the
validation loss over {len(seeds)} fresh seeds. This is a small and short test: read [the limits](#limits) before you use the order.''')}

{findings(results, pairs)}

{leaderboard(results)}

{bullet('''loss: mean over the seeds and their standard deviation, in nats per byte, with the scale vectors trained by AdamW.''')}
{bullet(f'''difference to `adamw`: mean of the differences, paired by seed (same initial matrices, same batches), with a 95 %
interval by Student's t. Negative is better. Bold: the interval does not contain zero.''')}
{bullet('''own scale vectors: loss with the scale vectors trained by the method itself minus loss with AdamW on them, paired, same
learning rate of the method. For `adamw` both are the same runs if its learning rate is that of the scale vectors. n/a: the method trains only matrices.''')}
{bullet('''lr: the chosen one. "end": the best of the tried ones is the lowest or the highest, so a better one may lie beyond.''')}
{bullet(f'''ms per step: the whole training step (forward, backward, optimizer) in one thread; the median of a run, and the least of
{data['speed_rounds']} rounds. bytes: optimizer state per element of a
linear map, as measured in the checkpoint. Both depend on the size of the model: with larger matrices and batches, the optimizer's
share of a step is smaller.''')}

![Validation loss of every method]({'comparison-loss.svg'})

## Loss against learning rate

![Loss against learning rate, a panel for each method]({'comparison-lr.svg'})

## Effective learning rate and rotation

{wrapped('''Traces of the first seed at the chosen learning rate ([traces.md](../traces.md)). The gradient is the one before clipping. The scale
vectors of the blue runs have the same method and learning rate everywhere, AdamW with ''' + short(data['adamw_lr']) + '''.''')}

![Effective learning rate and rotation of every group of parameters, for every method]({'comparison-traces.svg'})

## What is not resolved

![Which pairs of methods are resolved]({'comparison-pairs.svg'})

{bullet(f'''Pairs: the orange cells. {sum(not d.resolved() for d in pairs.values())} of {len(pairs)} have an interval that contains zero.''')}
{bullet(f'''Learning rate at an end of the tried ones: {names(edges)}. The loss of these methods is an upper bound.''')}
{bullet(f'''One seed far from the others, so that mean and interval say little: {names(far)}.''')}
{bullet(f'''Luck in tuning: the mean loss over the fresh seeds is more than 0.03 above that of the tuning runs for {names(lucky)}.''')}
{bullet(f'''The tuned option was not tried for {names(untried)}, since its run was spent on a fourth learning rate.''')}

## Method

{bullet(f'''Model: decoder with {base['model']['layers']} layers, width {base['model']['width']}, {base['model']['heads']} heads, norms on
queries and keys, tied embeddings. Text: the first 4 MB of the GNU dictionary, as bytes. Batches of {base['batch_size']} sequences of
{base['sequence_length']} bytes ({tokens} bytes a step), {base['steps']:,} steps. Warm-up of {base['schedule']['warmup_steps']} steps, then a cosine
to {base['schedule']['final_factor']:g} of the learning rate; for the schedule-free methods warm-up and a constant. No weight decay, and
gradients are clipped (`max_norm` {base['optimizer']['max_norm']:g}). Validation once, at the end, on {base['validation']['sequences']} sequences.''')}
{bullet(f'''Without decay, {names(same)} take the same steps as {names(m['same'] for m in same)}. They were trained at the
settings of these, and {'their losses are equal in all digits' if same_losses(results) else 'their losses differ'}.''')}
{bullet(f'''What a method trains: linear maps and embedding. For {names(matrix)}, linear maps only, and AdamW trains the embedding.
AdamW beside a method has lr {short(data['adamw_lr'])}, β₂ 0.95, in every run. {names(no_own)} cannot train vectors, so there is only one
set of runs of them.''')}
{bullet(f'''Tuning: {data['settings']} settings per method, each with the seeds {' and '.join(map(str, data['tuning_seeds']))}, which are not used
again. The middle learning rate is near that of the method's source, or of its family at this size. Three settings are 0.3, 1 and 3
times the middle. If the best is an end, the fourth goes further in that direction by a factor of about 3; otherwise it is the best
learning rate with another value of the option that matters most in the method's source or family, or, for a method without one, one
more learning rate. This is the search of `scalevec compare` ([compare.md](../compare.md#an-equal-and-small-number-of-tuning-runs)).''')}
{bullet(f'''Comparison at the chosen learning rate and option with the seeds {', '.join(map(str, seeds))}, in two sets: AdamW on the scale
vectors, and the method itself on them with its own learning rate.''')}

{options_table(results)}

## Run it

```
sudo apt-get install dict-gcide && scripts/build.sh cpu scalevec && export PATH=$PWD/build/cpu/bin:$PATH
gzip -dc /usr/share/dictd/gcide.dict.dz | head -c 4000000 > gcide-4mb.txt
scalevec data prepare --text gcide-4mb.txt --out data/gcide4
scalevec compare experiments/configs/optimizers.json --out runs/optimizers --jobs 2    # stopped, the same command goes on
scripts/optimizer_comparison.py speed --out runs/optimizers               # on a machine that does nothing else
scripts/optimizer_comparison.py collect --out runs/optimizers             # writes comparison.json
scripts/optimizer_comparison_docs.py                                      # writes this page
```

{wrapped(f'''This page comes from {runs} runs ({data['diverged']} diverged), {data['cpu_seconds'] / 60:.0f} core-minutes, on {data['machine']},
{data['kernels'].upper()} kernels, commit {data['git_commit'][:7]}.  SHA-256 of the tokens: {data['data_hash'][:16]}…. All numbers are in
[comparison.json](comparison.json).''')}

## Limits

{bullet(f'''A table of pairs of bytes, counted in the training text, has {data['pair_loss']:.2f} nats per byte. {above_pairs(results)}''')}
{bullet(f'''One model of 0.12 million parameters, one text, {base['steps'] * tokens:,} bytes of training. Methods differ in how they scale with
model size and length of training, and the order at this size is no prediction for larger runs.''')}
{bullet(f'''{base['steps']:,} steps are short for methods with long memory (`ademamix`, `adopt` and β₂ of 0.999), for methods that must first find a
learning rate (`prodigy`, `adadelta`), and for averages of weights.''')}
{bullet(f'''{data['settings']} settings with {len(data['tuning_seeds'])} seeds, and a grid whose factor is about 3: the best learning rate may be missed by a
factor of 1.7. Only one option was tuned, with two values. All methods had the same number of tuning runs, but a middle learning rate
that was guessed better helps.''')}
{bullet(f'''{len(seeds)} seeds: the quantile of Student's t is {results.quantile:.1f}, so many differences that exist are not resolved. The
intervals do not contain the noise of the tuning.''')}
{bullet(f'''AdamW trains the embedding beside {names(matrix)}, and the method itself does so in all other runs. What is due to the
embedding and what to the linear maps is not separated.''')}
{bullet('''No weight decay, so its coupling, which distinguishes some methods, plays no part. Global clipping affects methods that are not
invariant to the length of the gradient more than others.''')}
{bullet('''`asgd` is validated at its parameters, not at its average. `rprop` is for gradients of the full batch.''')}
"""
    return text


def files(results):
    pairs = results.pairs()
    return {"comparison.md": page(results), "comparison-loss.svg": leaderboard_picture(results), "comparison-lr.svg": lr_picture(results),
            "comparison-traces.svg": traces_picture(results), "comparison-pairs.svg": pairs_picture(results, pairs)}


def main():
    results = Results(json.loads(RESULTS.read_text(encoding="utf-8")))
    wrong = []
    for name, text in files(results).items():
        path = HOME / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.append(name)
    if results.data["base"] != optimizer_comparison.BASE:
        sys.exit("docs/optimizers/comparison.json: of another base than scripts/optimizer_comparison.py")
    if optimizer_comparison.CONFIG.read_text(encoding="utf-8") != optimizer_comparison.config_text():
        sys.exit("experiments/configs/optimizers.json: not what scripts/optimizer_comparison.py config writes")
    if wrong:
        sys.exit(f"docs/optimizers: {', '.join(wrong)}: not what scripts/optimizer_comparison_docs.py writes from comparison.json")


if __name__ == "__main__":
    main()
