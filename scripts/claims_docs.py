#!/usr/bin/env python3
"""Writes docs/claims.md and the claims' sentences of README.md from docs/claims/claims.json: every number in it is read from there.

    python3 scripts/claims_docs.py [LEDGER]     with a ledger's folder (scalevec claims --out LEDGER), after taking its
                                                claims.json and pictures (needs pngquant)
    python3 scripts/claims_docs.py --later LEDGER  the same for claims that were added after that ledger was judged, which have a family of
                                                their own: docs/claims/later.json
    python3 scripts/claims_docs.py --check      whether docs/claims.md is what the two files give
"""
import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "docs" / "claims"
PAGE = ROOT / "docs" / "claims.md"
ABOUT = HOME / "about.md"  # what a reader should know of how these runs came about; its links are relative to docs/claims/
LATER = HOME / "later.json"
ABOUT_LATER = HOME / "later.md"
README = ROOT / "README.md"
VERDICTS = ("confirmed", "contradicted", "not confirmed", "inconclusive")
PICTURES = ("lr", "loss", "ladder", "mechanism", "curvature")


MECHANISM = """## Reading the mechanism tables

Each row is the first seed of an arm at its own best learning rate. T2 to T9 are sections of [theory.md](theory.md).

| column | meaning |
|---|---|
| share of the decrease | share of each group of parameters in −g·Δ, the first-order prediction of the decrease of the loss, over the traced steps |
| s | signal-to-noise ratio of the gradients of input-class scale vectors between traces, mean over the run |
| T8 at s | factor by which OR amplifies the movement of a magnitude at s, by T8 |
| magnitude's step | root mean square of γ·Δγ/‖γ‖ over the learning rate, relative to the baseline |
| corr(γ², ‖w‖²) | correlation over channels at the end (T2) |
| ‖w‖/γ, T4 | their ratio at the end if scale vectors are decayed, and its equilibrium at constant learning rate by T4. A run that is short compared with 1/(ηλ), or that follows a cosine, does not reach the equilibrium |
| rotation / T9 | rotation per step over its equilibrium by T9 |
| top eigenvalue | largest eigenvalue of the Hessian, by Lanczos, at the start, a quarter, half and the end of the run |"""

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


def number(x, digits=4):
    return "n/a" if x is None else f"{x:+.{digits}f}".replace("-", "−")


def short(x):
    return "n/a" if x is None else f"{x:.3g}"


def interval(contrast):
    judged = contrast["judgement"]
    if contrast["gain"] is None:
        return "none"
    text = number(contrast["gain"])
    if judged["low"] is not None:
        text += f" [{number(judged['low'])}, {number(judged['high'])}]"
    return text


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell(c) for c in row) + " |" for row in rows])


def unit(claim):
    return claim["unit"].replace("of the baseline's", "units of the baseline's value")


def deciding(claim):
    return [c for c in claim["contrasts"] if c["decides"]]


def summary(ledger):
    rows = []
    for claim in ledger["claims"]:
        levels = claim["levels"]
        verdict = f"**{levels['language_model']}**"
        if claim["headline"] != levels["language_model"]:
            verdict += "; " + claim["headline"]
        for i, c in enumerate(deciding(claim)):
            rows.append([f"[{claim['id']}](#{claim['id']})" if i == 0 else "", c["name"], interval(c), short(c["smallest_effect"]),
                         c["pairs"], c["seeds_needed"] or "n/a", *((levels["theory"], levels["toy"], verdict) if i == 0 else ("", "", ""))])
    return table(["claim", "what decides", "gain [interval at Holm's level]", "of interest", "pairs", "needed", "theory", "toy",
                  "language models"], rows)


def power(ledger):
    rows = []
    for claim in ledger["claims"]:
        sd, effect = claim["pilot"]["sd"], deciding(claim)[0]["smallest_effect"]
        if sd is not None:
            rows.append([claim["id"], short(sd), short(effect), claim["pilot"]["seeds"] or "n/a", deciding(claim)[0]["pairs"]])
    if not rows:
        return ""
    return ("## Power\n\nThe standard deviation (sd) is that of a paired difference to the baseline on the tuning seeds at equal learning "
            "rate, pooled over arms and learning rates. δ is the smallest effect of interest. The pairs needed are the least n with "
            "t(n − 1)·sd/√n ≤ δ, which gives an interval of ±δ at the strictest of Holm's levels.\n\n"
            + table(["claim", "sd of a pair", "δ", "pairs needed", "pairs made"], rows) + "\n\n")


def mechanism(arms):
    """The runs' own traces against the theory, of the first seed of each arm at its own best lr."""
    rows = []
    for name, m in (arms or {}).items():
        decrease = sorted(m.get("decrease", {}).items(), key=lambda entry: -(entry[1] or 0))
        correlation = [x for x in m["gamma_w_correlation"] if x is not None]
        points = m.get("probe", {}).get("points", [])
        tops = [p["sharpness"]["whole"]["largest"] for p in points]
        rows.append([name, ", ".join(f"{group} {100 * (share or 0):.0f} %" for group, share in decrease),
                     short(m.get("snr", {}).get("scale.input")), short(m.get("amplification")), short(m.get("amplification_measured")),
                     short(correlation[-1]) if correlation else "n/a", short(m.get("w_gamma", {}).get("measured")), short(m.get("w_gamma", {}).get("predicted")),
                     short(m["rotation_ratio"]), " → ".join(short(x) for x in tops)])
    if not rows:
        return []
    return ["Mechanism:\n\n"
            + table(["arm", "share of the decrease", "s", "T8 at s", "magnitude's step", "corr(γ², ‖w‖²)", "‖w‖/γ", "T4", "rotation / T9", "top eigenvalue"], rows)]


def section(claim, ledger):
    out = [f"## {claim['id']}", f"*{claim['statement']}*", f"**{claim['headline']}**" + (f": {claim['reason']}" if claim["reason"] else ""),
           f"Rule: {claim['rule']} Source: {'; '.join(claim['sources'])}."
           + (f" Against: {'; '.join(claim['against'])}." if claim["against"] else "")]
    figures = []
    for f in claim["figures"]:
        figures.append(f"{f['id']} ({f['problem']})" if f["problem"] else
                       f"[{f['id']}](theory.md#{f['id'].lower()}) (prediction against simulation {short(f['agreement'])}, allowed {short(f['required'])})")
    theory = f"Theory: {claim['levels']['theory']}. {claim['theory_says']}"
    out.append(theory + (f" Figures: {', '.join(figures)}." if figures else ""))
    toy = claim["toy"]
    if toy:
        j = toy["judgement"]
        out.append(f"Toy: {claim['levels']['toy']}. {toy['words']} Gain ln(loss/loss) at own best lr {number(toy['gain'], 3)} "
                   f"[{number(j['low'], 3)}, {number(j['high'], 3)}], {toy['pairs']} replicas.")
    rows = []
    for c in claim["contrasts"]:
        arms = ", ".join(f"{a['arm']} at {short(a['lr'])}" for a in c["better"] + c["worse"])
        rows.append([("**" + c["name"] + "**") if c["decides"] else c["name"], interval(c), f"{100 * c['judgement']['confidence']:.2f} %",
                     c["pairs"], c["judgement"]["verdict"] if c["decides"] else "",
                     short(c["judgement"]["adjusted_p"]) if c["decides"] else "", arms])
    out.append(f"Language models, gain in {unit(claim).removeprefix('of ')} (bold: decides; the others do not decide, with uncorrected intervals at 95 %):\n\n"
               + table(["contrast", "gain [interval]", "confidence", "pairs", "verdict", "p after Holm", "arms and their lr"], rows))
    for c in claim["contrasts"]:
        if c["judgement"]["reason"]:
            out.append(f"{c['name']}: nothing is concluded: {c['judgement']['reason']}.")
        for note in c["notes"] + ([c["extrapolation"]] if c.get("extrapolation") else []):
            out.append(f"{c['name']}: {note}.")
    out += mechanism(claim["mechanism"])
    for kind in PICTURES:
        picture = HOME / f"{claim['id']}-{kind}.png"
        if picture.exists():
            out.append(f"![{claim['id']}: {kind}](claims/{picture.name})")
    out.append(f"`scripts/claims.sh {ledger['tier']} {claim['id']}` repeats this claim alone, with Holm's correction over its own contrasts only. "
               f"The claim is stated in `experiments/claims/ledger/{claim['id']}.json`; its hash with the set-up is `{claim['hash'][:16]}`.")
    return "\n\n".join(out)


def conclusions(ledger):
    said = {}
    for claim in ledger["claims"]:
        said.setdefault(claim["verdict"], []).append(claim["id"])
    return " ".join(f"{word.capitalize()}: {', '.join(said[word])}." for word in VERDICTS if word in said)


def page(ledger, later=None):
    p = ledger["provenance"]
    runs = ledger["runs"]
    text = ["# Which claims hold", "<!-- Written by scripts/claims_docs.py from claims/claims.json. -->",
            f"This page contains the results of `scalevec claims` at its tier `{ledger['tier']}`: {ledger['purpose']}.",
            conclusions(ledger) + ("" if ledger["decides"] else " This tier draws no verdict from its runs, whatever their intervals: it shows that "
                                   "the machinery works."),
            "HG, DP, DNP, OR, ER and the unified design are explained in [scale-designs.md](scale-designs.md); T1 to T15 and P1 to P9 are "
            "sections of [theory.md](theory.md). *lr* is the learning rate.",
            "## Results", summary(ledger),
            "A gain above 0 supports the claim. Its interval is at the level at which Holm's procedure tests it, over the "
            f"{ledger['family']} deciding contrasts (α = 0.05). Each arm's learning rate is chosen on seeds that the comparison does not use. "
            "*Of interest* is the smallest effect of interest; *needed* is the number of pairs for an interval of ± this effect at the strictest "
            "of Holm's levels.",
            table(["verdict", "the interval"], [["confirmed", "lies above 0 and reaches the smallest effect of interest"],
                                                ["contradicted", "lies below 0"],
                                                ["not confirmed", "ends below the smallest effect of interest"],
                                                ["inconclusive", "anything else"]]),
            "## The runs",
            f"{runs['made']} runs, of which {runs['diverged']} diverged and {len(runs['failed'])} failed. They took {p['seconds'] / 3600:.2f} hours on "
            f"{'; '.join(p.get('machine', ['an unknown machine']))}. Commits, with their number of runs: "
            f"{', '.join(f'{commit} ({n})' for commit, n in p['runs_by_commit'].items())}. Data: the GNU dictionary GCIDE, "
            f"{'; '.join(p.get('data', ['none']))}, SHA-256 {', '.join(h[:16] for h in p.get('data_hash', []))}….",
            *([filled(ABOUT.read_text().strip().replace("](../", "]("), ledger)] if ledger["decides"] and ABOUT.exists() else []),
            "## Run it yourself", RUN, MECHANISM]
    text = "\n\n".join(text) + "\n\n" + power(ledger) + "\n\n".join(section(c, ledger) for c in ledger["claims"]) + "\n"
    if later is None:
        return text
    p = later["provenance"]
    parts = ["\n## Claims added later", ABOUT_LATER.read_text().strip().replace("](../", "]("),
             f"{later['runs']['made']} runs, {later['runs']['diverged']} diverged; {p['seconds'] / 60:.0f} minutes of runs on "
             f"{'; '.join(p.get('machine', ['an unknown machine']))}, commit "
             f"{', '.join(f'{commit} ({n})' for commit, n in p['runs_by_commit'].items())}; Holm's procedure over these {later['family']} "
             f"deciding contrasts. {conclusions(later)}", summary(later)]
    return text + "\n\n".join(parts + [section(c, later) for c in later["claims"]]) + "\n"


def filled(text, ledger):
    """{removal.0} is the gain of the first contrast of removal with its interval."""
    claims = {claim["id"]: claim for claim in ledger["claims"]}
    return re.sub(r"\{([a-z-]+)\.(\d+)\}", lambda m: interval(claims[m[1]]["contrasts"][int(m[2])]), text)


def counts(claims):
    """ of 14 claims, 6 are confirmed, …: how many claims have each verdict."""
    said = collections.Counter(claim["verdict"] for claim in claims)
    return f" of {len(claims)} claims, " + ", ".join(f"{said[word]} {'is' if said[word] == 1 else 'are'} {word}" for word in VERDICTS if said[word])


def wrapped(text):
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


def readme(ledger, later=None):
    """README.md with its sentences on the claims."""
    claims = {claim["id"]: claim for claim in ledger["claims"]}
    first = {name: interval(claims[name]["contrasts"][0]) for name in ("removal", "unified")}
    said = (f"On decoders of 0.1 M parameters, {ledger['runs']['made']} runs: the removal of all scale vectors costs {first['removal']} nats with "
            f"each variant at its own best learning rate; the unified design gains {first['unified']}. {conclusions(ledger)}"
            + (f" Added later: {conclusions(later)}" if later else ""))
    text = re.sub(r"(<!-- claims -->\n).*?(\n<!-- /claims -->)", lambda m: m[1] + wrapped(said) + m[2], README.read_text(), flags=re.S)
    # The counts stand in a paragraph, which is wrapped again. Their marks have no space, so that none begins a line.
    return re.sub(r"[^\n]+(\n[^\n]+)*<!--counts-->[^\n]*(\n[^\n]+)*",
                  lambda m: wrapped(re.sub(r"(<!--counts-->).*?(<!--/counts-->)", lambda c: c[1] + counts(ledger["claims"] + (later["claims"] if later else [])) + c[2], m[0], flags=re.S)), text)


def take(folder, file):
    if not shutil.which("pngquant"):
        sys.exit("claims_docs.py: needs pngquant (apt-get install pngquant), which makes the pictures small enough to commit")
    HOME.mkdir(parents=True, exist_ok=True)
    if not (folder / "claims.json").is_file():
        sys.exit(f"{folder}: holds no claims.json; allowed: what `scalevec claims --out` wrote, or --check")
    ledger = json.loads((folder / "claims.json").read_text())
    for claim in ledger["claims"]:
        for kind in PICTURES:
            (HOME / f"{claim['id']}-{kind}.png").unlink(missing_ok=True)
    # The name of the folder it was made in says nothing to a reader.
    ledger.pop("checksum", None)
    ledger["command"] = ledger["command"].split(" --data")[0].split(" --ledger")[0].split(" --out")[0] + " --data DIR --out DIR"
    ledger["provenance"]["data"] = [d.split(": ", 1)[-1] for d in ledger["provenance"].get("data", [])]
    file.write_text(json.dumps(ledger, indent=1, ensure_ascii=False) + "\n")
    # A ledger that decides nothing needs no pictures.
    for kind in PICTURES if ledger["decides"] else ():
        for picture in (folder / "claims_files").glob(f"*-{kind}.png"):
            subprocess.run(["pngquant", "--quality", "0-95", "--speed", "1", "--force", "--output", str(HOME / picture.name), str(picture)],
                           check=True)


def main():
    arguments = sys.argv[1:]
    check = arguments == ["--check"]
    if len(arguments) == 2 and arguments[0] == "--later":
        take(pathlib.Path(arguments[1]), LATER)
    elif len(arguments) > 1:
        sys.exit(__doc__)
    elif arguments and not check:
        take(pathlib.Path(arguments[0]), HOME / "claims.json")
    ledger = json.loads((HOME / "claims.json").read_text())
    later = json.loads(LATER.read_text()) if LATER.exists() else None
    for file, text in ((PAGE, page(ledger, later)), (README, readme(ledger, later))):
        if not check:
            file.write_text(text)
        elif file.read_text() != text:
            sys.exit(f"{file.relative_to(ROOT)} is not what docs/claims/*.json give; run scripts/claims_docs.py")


if __name__ == "__main__":
    main()
