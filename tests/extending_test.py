"""Checks the table of docs/EXTENDING.md: the files in which an example's name occurs are those that the table lists.

    python3 tests/extending_test.py [ROOT]
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
FOLDERS = ("optim", "models", "theory", "experiments")
LEDGER = "experiments/claims/ledger/"
LEFT_OUT = ("experiments/configs/",)  # what uses an addition, and needs none
CODE = {".hpp", ".cpp", ".cu", ".cuh", ".json", ".txt"}


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def said_of(path):
    """The code without comments, in which a name may be mentioned."""
    return re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))


def main():
    page = (ROOT / "docs/EXTENDING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([^]]+)\]\(#[^|]*\| ([^|]+) \| ([^|]+) \|$", page, re.M)
    code = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in CODE and not name.startswith(LEFT_OUT):
                code[name] = said_of(path)
    errors = [] if len(rows) >= 7 else [f"docs/EXTENDING.md: found {len(rows)} rows"]
    for addition, example, files in rows:
        word = re.compile(r"\b(" + "|".join(map(re.escape, names(example))) + r")\b")
        claim = any(name.startswith(LEDGER) for name in names(files))
        found = {name for name, text in code.items() if word.search(text) and (claim or not name.startswith(LEDGER))}
        for name in sorted(found ^ set(names(files))):
            errors.append(f"docs/EXTENDING.md: {addition}: {name} " +
                          ("names the example and is not listed" if name in found else "does not name the example"))
    print("\n".join(errors) if errors else f"{len(rows)} kinds of additions, each in the files that the page lists")
    return 1 if errors else 0


sys.exit(main())
