#!/usr/bin/env python3
"""Draws every figure of the theory at paper quality and writes docs/theory.md and docs/images/theory/ from them.

    scripts/theory_docs.py [--program build/cpu/bin/scalevec] [--jobs 2] [--quality paper] [--figures P3 P4 [--set grid=24] | --text]

With --figures only these are drawn, with --text none; the page keeps the others' sections and pictures.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The page up to this line is written by hand.
HEAD = "| figure | draws |\n|---|---|\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/cpu/bin/scalevec"))
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--quality", default="paper", choices=["quick", "paper"])
    parser.add_argument("--figures", nargs="+", default=[], metavar="FIGURE")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="parameters of the figures, as of scalevec theory")
    parser.add_argument("--text", action="store_true")
    args = parser.parse_args()
    images = ROOT / "docs/images/theory"
    page = ROOT / "docs/theory.md"
    before, _, after = page.read_text().partition(HEAD)
    sections = {}
    if args.figures or args.text:
        # What a section says of the picture, after its formula.
        sections = {name: text.strip() for name, text in
                    re.findall(r"^## (\w+)\n.*?^Holds for: .*?\. Code: `\S+`\. (.*?)(?=^Parameters|^## |\Z)", after, re.M | re.S)}
    if not args.text and not draw(args, images, sections):
        return 1
    listed = subprocess.run([args.program, "theory", "--list", "--json"], capture_output=True, text=True, check=True).stdout
    figures = [figure for figure in json.loads(listed) if figure["id"] in sections]
    text = before + HEAD + "".join(f"| [{f['id']}](#{f['id'].lower()}) | {f['title']} |\n" for f in figures)
    for f in figures:
        text += f"\n## {f['id']}\n\n`{f['formula']}`\n\nHolds for: {f['domain']}. Code: `{f['code']}`. {sections[f['id']]}\n"
        text += f"\nParameters: <!-- keys: {f['id']} --><!-- /keys -->\n"
    page.write_text(text)
    subprocess.run([sys.executable, str(ROOT / "scripts/options_docs.py"), args.program], check=True)
    size = sum(f.stat().st_size for f in images.glob("*.png"))
    print(f"wrote docs/theory.md; {size / 2**20:.1f} MiB of pictures")
    return 0


def draw(args, images, sections):
    """Draws figures into `images` and writes their sections; False if one is out."""
    if not shutil.which("pngquant"):
        sys.exit("theory_docs.py: needs pngquant (apt-get install pngquant), which makes the pictures small enough to commit")
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary)
        command = [args.program, "theory", *(args.figures or ["--all"]), "--out", str(out), "--jobs", args.jobs, "--quality", args.quality]
        command += [word for setting in args.set for word in ("--set", setting)]
        quality = ", ".join([args.quality.capitalize() + " quality", *args.set])
        done = subprocess.run(command, capture_output=True, text=True)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        if done.returncode != 0:
            return False
        images.mkdir(parents=True, exist_ok=True)
        for line in done.stdout.splitlines():
            name, verdict = line.split(": ", 1)
            if name == "page":
                continue
            subprocess.run(["pngquant", "--quality", "80-98", "--speed", "1", "--force", "--output", str(images / f"{name}.png"),
                            str(out / f"{name}.png")], check=True)
            caption = (out / f"{name}.caption.txt").read_text().strip()
            sections[name] = f"{quality}: {verdict}.\n\n![{name}](images/theory/{name}.png)\n\n{caption}"
    return True


if __name__ == "__main__":
    sys.exit(main())
