#!/usr/bin/env python3
"""Writes docs/claims.md and the claims' sentences of README.md from docs/claims/claims.json. The sections of the claims
are those of the program's page (scalevec claims --page) as Markdown.

    python3 scripts/claims_docs.py [--program build/cpu/bin/scalevec] [LEDGER] [--later LEDGER] [--check]

LEDGER, the folder of a ledger (scalevec claims --out LEDGER): its claims.json and pictures are taken first (needs
pngquant). --later: one of claims that were added after that ledger was judged, which have a family of their own
(docs/claims/later.json). --check: whether the two pages are what the files give.
"""
import argparse
import collections
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "docs" / "claims"
README = ROOT / "README.md"
VERDICTS = ("confirmed", "contradicted", "not confirmed", "inconclusive")
PICTURES = ("lr", "loss", "ladder", "mechanism", "curvature")

RUN = """```
scripts/claims.sh quick          # minutes on two cores: shows that the machinery works
scripts/claims.sh standard       # hours on two cores; if it is stopped, the same command continues
scalevec claims removal decay-input --tier standard --data TOKENS --jobs 2 --out DIR
scalevec claims --list           # every claim, its rule, and the tiers
DATA=TOKENS OUT=DIR sbatch --array=1-64%16 scripts/claims_full.sbatch   # the paper's sizes, on GPUs
```

A claim is a file in `experiments/claims/ledger/`; `--ledger FOLDER` judges claims of your own ([claim-files.md](claim-files.md)).
Claims share runs that have the same configuration, above all those of the baseline. A folder may contain any part of the
ledger at one tier. `scalevec probe` measures the curvature and the signal-to-noise ratio of the gradients of one run."""


class Markdown(html.parser.HTMLParser):
    """What the program's page has between its heading and its reproduction, as paragraphs of Markdown."""
    MARKS = {"strong": "**", "em": "*", "code": "`"}

    def __init__(self, page):
        super().__init__()
        self.parts, self.text, self.rows, self.items, self.skipped, self.id, self.href = [], "", [], [], 0, None, None
        self.feed(page[page.index("</h1>"):page.index("<h2>Reproduction")])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.skipped += tag == "figure"
        if tag == "figure":
            name = attributes["id"].removeprefix("figure-")
            if re.fullmatch(r"[TP]\d+", name):
                self.parts.append(f"[{name}](theory.md#{name.lower()})")
            elif (HOME / f"{name}.png").exists():
                self.parts.append(f"![{name}](claims/{name}.png)")
        elif tag in self.MARKS:
            self.text += self.MARKS[tag]
        elif tag == "a":
            self.href = re.sub(r"^#figure-(\w+)$", lambda m: f"theory.md#{m[1].lower()}", attributes["href"])
            self.text += "["
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("h2", "h3", "p", "td", "th", "dt", "dd"):
            self.text, self.id = "", attributes.get("id")
        elif tag in ("br", "div") and self.text:
            self.text += " "

    def handle_endtag(self, tag):
        self.skipped -= tag == "figure"
        text = " ".join(self.text.split())
        if tag in self.MARKS:
            self.text += self.MARKS[tag]
        elif tag == "a":
            self.text += f"]({self.href})"
        elif tag in ("td", "th"):
            self.rows[-1].append(text.replace("|", "\\|"))
        elif tag == "table":
            lines = ["| " + " | ".join(row) + " |" for row in self.rows]
            self.parts.append("\n".join([lines[0], "|" + "---|" * len(self.rows[0])] + lines[1:]))
            self.rows = []
        elif tag == "h2":  # "removal: what it says" goes by its name
            self.parts += [f"## {self.id}", f"**{text.removeprefix(self.id + ': ')}**"]
        elif tag == "h3" and not self.skipped:
            self.parts.append("### " + text.replace("**", ""))
        elif tag == "p" and text and not self.skipped and not (len(text) > 200 and text in self.parts):  # how to read a table: once
            self.parts.append(text)
        elif tag == "dt":
            self.term = text
        elif tag == "dd":
            self.items.append(f"- {self.term}: {text}")
        elif tag == "dl":
            self.parts.append("\n".join(self.items))
            self.items = []

    def handle_data(self, data):
        self.text += "" if self.skipped else data.replace("\u00a0", " ")


def sections(program, file):
    """What the page has after its first line, which the runs below say better: before the claims, and the claims."""
    page = subprocess.run([program, "claims", "--page", str(file)], capture_output=True, text=True, check=True).stdout
    parts = Markdown(page).parts
    first = next(i for i, part in enumerate(parts) if part.startswith("## "))
    return "\n\n".join(parts[1:first]), "\n\n".join(parts[first:])


def number(x):
    return f"{x:+.4f}".replace("-", "−")


def interval(contrast):
    judged = contrast["judgement"]
    return f"{number(contrast['gain'])} [{number(judged['low'])}, {number(judged['high'])}]"


def conclusions(ledger):
    said = {}
    for claim in ledger["claims"]:
        said.setdefault(claim["verdict"], []).append(claim["id"])
    return " ".join(f"{word.capitalize()}: {', '.join(said[word])}." for word in VERDICTS if word in said)


def included(name, ledger):
    """A text of docs/claims/, whose links are relative to it; {removal.0} is the gain of the first contrast of removal."""
    claims = {claim["id"]: claim for claim in ledger["claims"]}
    text = (HOME / name).read_text().strip().replace("](../", "](")
    return re.sub(r"\{([a-z-]+)\.(\d+)\}", lambda m: interval(claims[m[1]]["contrasts"][int(m[2])]), text)


def runs(ledger):
    p = ledger["provenance"]
    return (f"{ledger['runs']['made']} runs, of which {ledger['runs']['diverged']} diverged and {len(ledger['runs']['failed'])} failed. They took "
            f"{p['seconds'] / 3600:.2f} hours on {'; '.join(p.get('machine', ['an unknown machine']))}. Commits, with their number of runs: "
            f"{', '.join(f'{commit} ({n})' for commit, n in p['runs_by_commit'].items())}. Data: the GNU dictionary GCIDE, "
            f"{'; '.join(p.get('data', ['none']))}, SHA-256 {', '.join(h[:16] for h in p.get('data_hash', []))}….")


def page(program, ledger, later):
    results, claims = sections(program, HOME / "claims.json")
    parts = ["# Which claims hold", "<!-- Written by scripts/claims_docs.py from claims/claims.json. -->",
             f"This page contains the results of `scalevec claims` at its tier `{ledger['tier']}`: {ledger['purpose']}.", conclusions(ledger),
             "HG, DP, DNP, OR, ER and the unified design are explained in [scale-designs.md](scale-designs.md); T1 to T15 and P1 to P9 are "
             "sections of [theory.md](theory.md). *lr* is the learning rate.", "## Results", results, "## The runs", runs(ledger),
             *([included("about.md", ledger)] if ledger["decides"] else []), "## Run it yourself", RUN, claims]
    if later:
        results, claims = sections(program, HOME / "later.json")
        parts += ["## Claims added later", included("later.md", later), runs(later), conclusions(later), results, claims]
    return "\n\n".join(parts) + "\n"


def wrapped(text):
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


def readme(ledger, later):
    """README.md with its sentences on the claims, and with how many claims have each verdict."""
    claims = {claim["id"]: claim for claim in ledger["claims"]}
    first = {name: interval(claims[name]["contrasts"][0]) for name in ("removal", "unified")}
    said = (f"On decoders of 0.1 M parameters, {ledger['runs']['made']} runs: the removal of all scale vectors costs {first['removal']} nats with "
            f"each variant at its own best learning rate; the unified design gains {first['unified']}. {conclusions(ledger)}"
            + (f" Added later: {conclusions(later)}" if later else ""))
    text = re.sub(r"(<!-- claims -->\n).*?(\n<!-- /claims -->)", lambda m: m[1] + wrapped(said) + m[2], README.read_text(), flags=re.S)
    every = [claim["verdict"] for claim in ledger["claims"] + (later["claims"] if later else [])]
    said = collections.Counter(every)
    counts = f" of {len(every)} claims, " + ", ".join(f"{said[word]} {'is' if said[word] == 1 else 'are'} {word}" for word in VERDICTS if said[word])
    # The counts stand in a paragraph, which is wrapped again. Their marks have no space, so that none begins a line.
    return re.sub(r"[^\n]+(\n[^\n]+)*<!--counts-->[^\n]*(\n[^\n]+)*",
                  lambda m: wrapped(re.sub(r"(<!--counts-->).*?(<!--/counts-->)", lambda c: c[1] + counts + c[2], m[0], flags=re.S)), text)


def take(folder, file):
    if not shutil.which("pngquant"):
        sys.exit("claims_docs.py: needs pngquant (apt-get install pngquant), which makes the pictures small enough to commit")
    if not (folder / "claims.json").is_file():
        sys.exit(f"{folder}: holds no claims.json; allowed: what `scalevec claims --out` wrote, or --check")
    ledger = json.loads((folder / "claims.json").read_text())
    # The name of the folder it was made in says nothing to a reader.
    ledger.pop("checksum", None)
    ledger["command"] = re.split(r" --(?:data|ledger|out)", ledger["command"])[0] + " --data DIR --out DIR"
    ledger["provenance"]["data"] = [d.split(": ", 1)[-1] for d in ledger["provenance"].get("data", [])]
    file.write_text(json.dumps(ledger, indent=1, ensure_ascii=False) + "\n")
    for name in (f"{claim['id']}-{kind}.png" for claim in ledger["claims"] for kind in PICTURES):
        (HOME / name).unlink(missing_ok=True)
        # A ledger that decides nothing needs no pictures.
        if ledger["decides"] and (folder / "claims_files" / name).exists():
            subprocess.run(["pngquant", "--quality", "0-95", "--speed", "1", "--force", "--output", HOME / name, folder / "claims_files" / name],
                           check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/cpu/bin/scalevec")
    parser.add_argument("ledger", nargs="?", type=pathlib.Path)
    parser.add_argument("--later", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    for folder, name in ((a.ledger, "claims.json"), (a.later, "later.json")):
        if folder:
            take(folder, HOME / name)
    ledger = json.loads((HOME / "claims.json").read_text())
    later = json.loads((HOME / "later.json").read_text()) if (HOME / "later.json").exists() else None
    for file, text in ((ROOT / "docs" / "claims.md", page(a.program, ledger, later)), (README, readme(ledger, later))):
        if not a.check:
            file.write_text(text)
        elif file.read_text() != text:
            sys.exit(f"{file.relative_to(ROOT)} is not what docs/claims/*.json give; run scripts/claims_docs.py")


if __name__ == "__main__":
    main()
