#!/usr/bin/env python3
"""Writes the tables of keys in docs/*.md from what the program says of them (`scalevec options --json`). A table stands
behind a line <!-- options: NAME -->; rows with keys that the program does not list there are kept, behind the others.

    python3 scripts/options_docs.py PROGRAM            # writes
    python3 scripts/options_docs.py PROGRAM --check    # says what differs, exit status 1
"""
import json
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
MARK = re.compile(r"<!-- options: (\w+) -->")
KEYS = re.compile(r"<!-- keys: (\w+) -->.*?<!-- /keys -->")
HEADER = ["| key | default | allowed | meaning |", "|---|---|---|---|"]


def words(text, known):
    """The text with keys and literal values as code."""
    return re.sub(r"(?<![\w`.])([a-z][a-z0-9_]*)(?![\w`])", lambda m: f"`{m[1]}`" if "_" in m[1] and m[1] in known else m[1], text)


def row(option, known):
    default = option["default"]
    fixed = default != "required" and not re.search(r"[ :]", default) and default not in ("",)
    allowed = option["allowed"]
    if re.fullmatch(r"\w+(, \w+)+", allowed):
        allowed = ", ".join(f"`{word}`" for word in allowed.split(", "))
    return (f"| `{option['key']}` | {f'`{default}`' if fixed else words(default, known)} | {allowed} | "
            f"{words(option['meaning'], known)} |")


def in_a_cell(table):
    def said(option):
        choice = option["allowed"] if re.fullmatch(r"\w+(, \w+)+", option["allowed"]) and option["allowed"] != "true, false" else ""
        text = "; ".join(filter(None, [choice, option["meaning"]]))
        return f"`{option['key']}` {option['default']}" + (f" ({text})" if text else "")

    return ", ".join(map(said, table))


def rewritten(text, tables, known):
    lines, out, at = text.split("\n"), [], 0
    while at < len(lines):
        line = lines[at]
        out.append(KEYS.sub(lambda m: f"<!-- keys: {m[1]} -->{in_a_cell(tables[m[1]])}<!-- /keys -->", line))
        at += 1
        mark = MARK.fullmatch(line)
        if not mark:
            continue
        while at < len(lines) and not lines[at].startswith("|"):
            at += 1
        end = at
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        own = {option["key"] for option in tables[mark[1]]}
        kept = [l for l in lines[at + 2:end] if not set(re.findall(r"`(\w+)`", l.split("|")[1])) & own]
        out += ["", *HEADER, *(row(option, known) for option in tables[mark[1]]), *kept]
        at = end
    return "\n".join(out)


def main():
    told = subprocess.run([sys.argv[1], "options", "--json"], capture_output=True, text=True, check=True).stdout
    tables = {name: table["options"] for name, table in json.loads(told).items()}
    known = {option["key"] for table in tables.values() for option in table}
    wrong, found = [], set()
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        found |= set(MARK.findall(text)) | set(KEYS.findall(text))
        new = rewritten(text, tables, known)
        if new != text:
            wrong.append(f"{page.relative_to(DOCS.parent)} is not what the program says: run scripts/options_docs.py")
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    print("\n".join(wrong) if wrong else f"{len(found)} tables of keys in docs")
    return 1 if wrong and "--check" in sys.argv else 0


sys.exit(main())
