#!/usr/bin/env python3
"""Writes the table of methods in docs/optimizers/README.md from what the program says of them (`scalevec options --json`),
and holds the table of options in the page of each method against it: the same options with the same defaults.

    python3 scripts/optimizers_docs.py PROGRAM            # writes
    python3 scripts/optimizers_docs.py PROGRAM --check    # says what differs, exit status 1
"""
import json
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs/optimizers"
HEADER = "| policy name | class | trains | state, bytes per float32 parameter | source |"
PER = {"rows": " per row", "cols": " per column", "blocks": " per 256 elements", "rows·rows": "·rows²", "cols·cols": "·cols²"}


def state_of(name, buffers):
    """Bytes per element, and of buffers that are not by the element as PER says."""
    by_element, optional, others = 0, 0, {}
    for buffer in buffers:
        shape = "·".join(buffer["shape"])
        if shape in ("rows·cols", "elements"):
            by_element += buffer["bytes"] if buffer["needed"] else 0
            optional += 0 if buffer["needed"] else buffer["bytes"]
        elif shape:
            # The rank is an option; by default it is the smaller side.
            shape = "·cols·rank" if name == "dion" else PER.get(shape, "·" + shape)
            others[shape] = others.get(shape, 0) + buffer["bytes"]
    squares = " + ".join(f"{count}{shape}" for shape, count in others.items() if shape.startswith("·"))
    parts = [f"{by_element}" if by_element or not others else "", " and ".join(
        f"{count}{shape}" for shape, count in others.items() if not shape.startswith("·")), squares and f"{squares} per matrix"]
    text = ", and ".join(filter(None, parts))
    return text + (f", with options up to {by_element + optional}" if optional else "")


def row(name, method):
    source = re.sub(r"(https?://\S+)", r"<\1>", method["source"])
    return f"| [`{name}`]({name}.md) | `{method['class']}` | {method['trains']} | {state_of(name, method['state'])} | {source} |"


def plain(value):
    """A default as a number where it is one."""
    try:
        return float(value)
    except ValueError:
        return value.strip("`")


def documented(page):
    """The defaults that a page's table of options has, by name."""
    lines = page.split("\n")
    first = lines.index("| option | default | range | meaning and source of the default |") + 2
    found = {}
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        name, value = [cell.strip() for cell in line.split("|")[1:3]]
        found[name.strip("`")] = plain(value)
    return found


def replaced(text, table):
    """The text with the table that begins with HEADER replaced."""
    lines = text.split("\n")
    first = last = lines.index(HEADER)
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    return "\n".join(lines[:first] + table + lines[last:])


def main():
    told = json.loads(subprocess.run([sys.argv[1], "options", "--json"], capture_output=True, text=True, check=True).stdout)
    methods = {name: table for name, table in told.items() if "method" in table}
    readme = DOCS / "README.md"
    before = readme.read_text(encoding="utf-8")
    text = replaced(before, [HEADER, "|---|---|---|---|---|"] + [row(name, table["method"]) for name, table in methods.items()])
    errors = []
    if "--check" not in sys.argv:
        readme.write_text(text, encoding="utf-8")
    elif text != before:
        errors.append("docs/optimizers/README.md is not what the program says: run scripts/optimizers_docs.py")
    for name, table in methods.items():
        page = DOCS / f"{name}.md"
        if not page.exists():
            errors.append(f"docs/optimizers/{page.name} does not exist")
            continue
        says = documented(page.read_text(encoding="utf-8"))
        has = {"lr": table["method"]["lr"], **{option["key"]: plain(option["default"]) for option in table["options"]}}
        for option in sorted(set(says) | set(has)):
            if says.get(option) != has.get(option):
                errors.append(f"docs/optimizers/{page.name}: {option} is {says.get(option, 'missing')} there and "
                              f"{has.get(option, 'missing')} in the program")
    print("\n".join(errors) if errors else f"{len(methods)} methods in docs/optimizers")
    return 1 if errors else 0


sys.exit(main())
