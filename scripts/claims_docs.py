#!/usr/bin/env python3
"""Writes docs/claims.md and the claims' sentences of README.md from the ledgers in docs/claims/, joined: claims.json first, then
others by name. The page is the program's (scalevec claims --page) as Markdown. Ledgers that were replaced have a page each,
docs/claims/superseded-MONTH.md, from the folder of that name.

    python3 scripts/claims_docs.py [--program build/cpu/bin/scalevec] [--supersede 2026-11] [NAME=LEDGER…] [--check]

NAME=LEDGER: the folder of a ledger (scalevec claims --out LEDGER), whose claims.json becomes docs/claims/NAME.json (claims for the
main one) and whose pictures are taken (needs pngquant, and chromium for the picture of all intervals). --supersede: before that,
what is there moves to the folder of this month. --check: whether the pages are what the files give.
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
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "docs" / "claims"
README = ROOT / "README.md"
VERDICTS = ("confirmed", "contradicted", "not confirmed", "inconclusive", "not judged")
PICTURES = ("lr", "loss", "ladder", "mechanism", "curvature")
FORESTS = ("forest-gains", "forest-others")

RUN = """```
scripts/claims.sh quick          # minutes on two cores: shows that the machinery works
scripts/claims.sh standard       # hours on two cores; if it is stopped, the same command continues
scalevec claims removal unified --tier standard --text english-bytes=TOKENS --jobs 2 --out DIR
scalevec claims --times --out DIR               # what a step costs, by turns on a quiet machine
scalevec claims --list           # every claim, its rule, and the tiers
DATA=TOKENS OUT=DIR sbatch --array=1-64%16 scripts/claims_full.sbatch   # the paper's sizes, on GPUs
```

A claim is a file in `experiments/claims/ledger/`; `--ledger FOLDER` judges claims of your own ([claim-files.md](claim-files.md)).
Claims share runs that have the same configuration, above all those of the baseline. A folder may contain any part of the
ledger at one tier. `scalevec probe` measures the curvature and the signal-to-noise ratio of the gradients of one run."""


class Markdown(html.parser.HTMLParser):
    """What the program's page has between its heading and its reproduction, as paragraphs of Markdown. `pictures`: the folder of the
    pictures, and how the page links to it; `up`: how it links to docs/."""
    MARKS = {"strong": "**", "em": "*", "code": "`"}

    def __init__(self, page, pictures, link, up):
        super().__init__()
        self.parts, self.text, self.rows, self.items, self.skipped, self.id, self.href = [], "", [], [], 0, None, None
        self.pictures, self.link, self.up = pictures, link, up
        self.feed(page[page.index("</h1>"):page.index("<h2>Reproduction")])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.skipped += tag == "figure"
        if tag == "figure":
            name = attributes.get("id", "").removeprefix("figure-")
            if re.fullmatch(r"[TP]\d+", name):
                self.parts.append(f"[{name}]({self.up}theory.md#{name.lower()})")
            elif (self.pictures / f"{name}.png").exists():
                self.parts.append(f"![{name}]({self.link}{name}.png)")
        elif tag in self.MARKS:
            self.text += self.MARKS[tag]
        elif tag == "a":
            self.href = re.sub(r"^#figure-(\w+)$", lambda m: f"{self.up}theory.md#{m[1].lower()}", attributes["href"])
            self.text += "["
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("h2", "h3", "h4", "p", "td", "th", "dt", "dd", "li", "summary"):
            self.text, self.id = "", attributes.get("id")
        elif tag == "br" and self.text:
            self.text += "<br>"
        elif tag == "div" and self.text:
            self.text += " "

    def handle_endtag(self, tag):
        self.skipped -= tag == "figure"
        text = " ".join(self.text.split())
        if tag in self.MARKS:
            self.text += self.MARKS[tag]
        elif tag == "a":
            self.text += f"]({self.href})"
        elif self.skipped:
            return
        elif tag in ("td", "th"):
            self.rows[-1].append(text.replace("|", "\\|"))
        elif tag == "table":
            lines = ["| " + " | ".join(row) + " |" for row in self.rows]
            self.parts.append("\n".join([lines[0], "|" + "---|" * len(self.rows[0])] + lines[1:]))
            self.rows = []
        elif tag == "h2":
            name, colon, title = text.partition(": ")
            self.parts += [f"## {name}", f"**{title}**"] if colon and name == self.id else [f"## {text}"]
        elif tag in ("h3", "h4"):
            self.parts.append("#" * int(tag[1]) + " " + text.replace("**", ""))
        elif tag == "p" and text and not (len(text) > 200 and text in self.parts):  # how to read a table: once
            self.parts.append(text)
        elif tag == "summary":
            self.parts.append(f"<details>\n<summary>{text}</summary>")
        elif tag == "details":
            self.parts.append("</details>")
        elif tag == "dt":
            self.term = text
        elif tag == "dd":
            self.items.append(f"- {self.term}: {text}")
        elif tag == "li":
            self.items.append(f"- {text}")
        elif tag in ("dl", "ul"):
            self.parts.append("\n".join(self.items))
            self.items = []

    def handle_data(self, data):
        self.text += "" if self.skipped else data.replace("\u00a0", " ")


def ledgers(folder):
    """The files of a ledger, the main one first."""
    return sorted(folder.glob("*.json"), key=lambda file: (file.name != "claims.json", file.name))


def superseded():
    """The folders of replaced ledgers, oldest first."""
    return sorted(folder for folder in HOME.glob("superseded-*") if folder.is_dir())


def program_page(program, folder, *more):
    return subprocess.run([program, "claims", "--page", *map(str, ledgers(folder)), *map(str, more)], capture_output=True, text=True,
                          check=True).stdout


def number(x):
    return f"{x:+.4f}".replace("-", "−")


def interval(contrast):
    judged = contrast["judgement"]
    return f"{number(contrast['gain'])} [{number(judged['low'])}, {number(judged['high'])}]"


def leading(claim):
    """The first contrast that decides, where the claim is decided, and the level."""
    entry = next(e for e in claim["evidence"] if e["level"] == claim["decided_at"])
    return next((c for c in entry["contrasts"] if c["decides"]), entry["contrasts"][0]), entry["level"].replace("M", " M")


def conclusions(joined):
    said = {}
    for claim in joined["claims"]:
        said.setdefault(claim["verdict"], []).append(claim["id"])
    return " ".join(f"{word.capitalize()}: {', '.join(said[word])}." for word in VERDICTS if word in said)


def included(file, joined, link):
    """A text, whose links are relative to its folder; {removal.0} is the gain of the first contrast of removal's first evidence."""
    claims = {claim["id"]: claim for claim in joined["claims"]}
    text = re.sub(r"\{([a-z-]+)\.(\d+)\}", lambda m: interval(claims[m[1]]["evidence"][0]["contrasts"][int(m[2])]), file.read_text().strip())
    # From the text's folder to the page's.
    up = len(file.parent.relative_to(ROOT / "docs").parts)
    return text.replace("](" + "../" * up, "](" + link)


def runs(part):
    p = part["provenance"]
    commits = p.get("runs_by_commit", {})
    took = f"{p['core_hours']:.2f} core-hours" if "core_hours" in p else f"{p['seconds'] / 3600:.2f} hours"
    return (f"Tier `{part['tier']}`: {part['runs']['made']} runs, of which {part['runs']['diverged']} diverged and {len(part['runs']['failed'])} failed. "
            f"They took {took} on {'; '.join(p.get('machine', ['an unknown machine']))}."
            + (f" Commits, with their number of runs: {', '.join(f'{commit} ({n})' for commit, n in commits.items())}." if commits else "")
            + f" It is `{part['command']}`.")


def page(program, folder, banner=""):
    """The page of the ledger in `folder`: docs/claims.md, or with a banner the one beside a folder of a replaced ledger."""
    main = folder == HOME
    up, link = ("", "claims/") if main else ("../", folder.name + "/")
    joined = json.loads(program_page(program, folder, "--json"))
    since = [s for s in superseded() if main or s.name < folder.name]
    more = ["--since", *ledgers(since[-1])] if since else []
    parts = Markdown(program_page(program, folder, *more), folder, link, up).parts
    first = next(i for i, part in enumerate(parts) if part == f"## {joined['claims'][0]['id']}")
    files = [file for file in sorted(folder.glob("*.md")) if not file.name.startswith("superseded-")]
    texts = [included(file, joined, up) for file in files]
    if files:
        texts.append(f"The text of this section is in {', '.join(f'[{file.name}]({link}{file.name})' for file in files)}.")
    before = [f"Earlier ledgers: {', '.join(f'[{s.name}]({link}{s.name}.md)' for s in reversed(since))}."] if main and since else []
    return "\n\n".join([
        "# Which claims hold", f"<!-- Written by scripts/claims_docs.py from {folder.name}/*.json. -->", *([banner] if banner else []),
        conclusions(joined), parts[0], *parts[1:first],
        f"HG, DP, DNP, OR, ER and the unified design are explained in [scale-designs.md]({up}scale-designs.md); T1 to T15 and P1 to P9 are "
        f"sections of [theory.md]({up}theory.md). *lr* is the learning rate.", *before,
        "## The runs", *map(runs, joined["parts"]), *texts, *(["## Run it yourself", RUN] if main else []), *parts[first:]]) + "\n"


def wrapped(text):
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


def readme(joined):
    """README.md with its sentences on the claims, and with how many claims have each verdict."""
    claims = {claim["id"]: claim for claim in joined["claims"]}
    (removal, small), (unified, large) = leading(claims["removal"]), leading(claims["unified"])
    made = sum(part["runs"]["made"] for part in joined["parts"])
    at = "" if large == small else f"on decoders of {large} "
    said = (f"On decoders of {small} parameters the removal of all scale vectors costs {interval(removal)} nats with each variant at its own best "
            f"learning rate; {at}the unified design gains {interval(unified)}. {made} runs. {conclusions(joined)}")
    text = re.sub(r"(<!-- claims -->\n).*?(\n<!-- /claims -->)", lambda m: m[1] + wrapped(said) + m[2], README.read_text(), flags=re.S)
    every = [claim["verdict"] for claim in joined["claims"]]
    said = collections.Counter(every)
    counts = f" of {len(every)} claims, " + ", ".join(f"{said[word]} {'is' if said[word] == 1 else 'are'} {word}" for word in VERDICTS if said[word])
    # The counts stand in a paragraph, which is wrapped again. Their marks have no space, so that none begins a line.
    return re.sub(r"[^\n]+(\n[^\n]+)*<!--counts-->[^\n]*(\n[^\n]+)*",
                  lambda m: wrapped(re.sub(r"(<!--counts-->).*?(<!--/counts-->)", lambda c: c[1] + counts + c[2], m[0], flags=re.S)), text)


def take(folder, name):
    """Takes claims.json and the pictures of the ledger in `folder` as NAME.json."""
    if not shutil.which("pngquant"):
        sys.exit("claims_docs.py: needs pngquant (apt-get install pngquant), which makes the pictures small enough to commit")
    if not (folder / "claims.json").is_file():
        sys.exit(f"{folder}: holds no claims.json; allowed: what `scalevec claims --out` wrote, or --check")
    ledger = json.loads((folder / "claims.json").read_text())
    # The name of the folder it was made in says nothing to a reader.
    ledger.pop("checksum", None)
    ledger["command"] = re.sub(r" --(data|ledger|out|results) \S+", r" --\1 DIR", re.sub(r"( --text [^ =]+=)\S+", r"\1DIR", ledger["command"]))
    for claim in ledger["claims"]:
        if "evidence" in claim:  # the page reads these from the evidence
            for key in ("contrasts", "tuning", "pilot"):
                claim.pop(key, None)
    (HOME / f"{name}.json").write_text(json.dumps(ledger, indent=1, ensure_ascii=False) + "\n")
    for claim in ledger["claims"]:
        for picture in (folder / "claims_files").glob(f"{claim['id']}-{ledger['tier']}-*.png"):
            # A ledger that decides nothing needs no pictures.
            if ledger["decides"] and picture.stem.rsplit("-", 1)[-1] in PICTURES:
                subprocess.run(["pngquant", "--quality", "0-95", "--speed", "1", "--force", "--output", HOME / picture.name, picture], check=True)


def draw_forests(program, folder):
    """The pictures of all intervals, as a browser shows them."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        sys.exit("claims_docs.py: needs chromium, which draws the picture of all intervals")
    html_page = program_page(program, folder)
    for name in FORESTS:
        found = re.search(rf'<figure id="figure-{name}">.*?</figure>', html_page, flags=re.S)
        if not found:
            continue
        head = html_page[:html_page.index("<body>")]
        style = "<style>:root { color-scheme: light } body { padding: 12px 20px; margin: 0; max-width: none } figure { margin: 0 }</style>"
        with tempfile.TemporaryDirectory() as scratch:
            file, picture = pathlib.Path(scratch) / "forest.html", pathlib.Path(scratch) / "forest.png"
            file.write_text(head + "<body>" + style + found[0] + "</body></html>")
            # A row with a scale of its own is higher.
            height = 28 + 48 * found[0].count('class="row') + 17 * found[0].count('class="ends')
            subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5",
                            f"--window-size=1000,{height}", f"--screenshot={picture}", file.as_uri()], check=True, capture_output=True)
            subprocess.run(["pngquant", "--quality", "0-95", "--speed", "1", "--force", "--output", folder / f"{name}.png", picture], check=True)


def supersede(month):
    """Moves the ledger that is there into a folder of its own."""
    folder = HOME / f"superseded-{month}"
    if folder.exists():
        sys.exit(f"{folder.relative_to(ROOT)} is there already; give another month")
    folder.mkdir()
    for file in [*HOME.glob("*.json"), *HOME.glob("*.png"), *(f for f in HOME.glob("*.md") if not f.name.startswith("superseded-"))]:
        text = file.read_text().replace("](../", "](../../") if file.suffix == ".md" else None
        file.rename(folder / file.name)
        if text:
            (folder / file.name).write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/cpu/bin/scalevec")
    parser.add_argument("--supersede", metavar="MONTH")
    parser.add_argument("ledgers", nargs="*", metavar="NAME=LEDGER")
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    if a.supersede:
        supersede(a.supersede)
    for given in a.ledgers:
        name, equals, folder = given.partition("=")
        if not equals or not re.fullmatch(r"[a-z0-9-]+", name):
            sys.exit(f"{given}: give NAME=LEDGER, as in claims=runs/claims-standard")
        take(pathlib.Path(folder), name)
    if a.ledgers or not (a.check or (HOME / f"{FORESTS[0]}.png").exists()):
        draw_forests(a.program, HOME)
    pages = [(ROOT / "docs" / "claims.md", page(a.program, HOME)),
             (README, readme(json.loads(program_page(a.program, HOME, "--json"))))]
    for folder in superseded():
        banner = "> **Superseded.** This ledger was replaced; its runs stand, its verdicts do not. [claims.md](../claims.md) has the present one."
        pages.append((HOME / f"{folder.name}.md", page(a.program, folder, banner)))
    for file, text in pages:
        if not a.check:
            file.write_text(text)
        elif file.read_text() != text:
            sys.exit(f"{file.relative_to(ROOT)} is not what docs/claims/*.json give; run scripts/claims_docs.py")


if __name__ == "__main__":
    main()
