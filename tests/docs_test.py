"""Checks the Markdown files: relative links and anchors lead somewhere, and docs/README.md leads to every page of docs/.

    python3 tests/docs_test.py [ROOT]
"""
import pathlib
import re
import subprocess
import sys
import tempfile
from urllib.parse import unquote

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def prose(text):
    """The text without fenced code and code spans, in which brackets are no links."""
    text = re.sub(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"(?<!`)(`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)\1(?!`)", lambda m: "" if "](" in m[0] else m[0], text, flags=re.S)


def anchors(text):
    """GitHub's anchors of the headings."""
    found = {}
    for heading in re.findall(r"^ {0,3}#{1,6}\s+(.+?)\s*#*\s*$", prose(text), re.M):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if n == 0 else f"{slug}-{n}" for slug, last in found.items() for n in range(last + 1)}


def check(root, files):
    """The errors in `files`, Markdown files under `root`."""
    errors, links = [], {}
    for file in files:
        for target in LINK.findall(prose(file.read_text(encoding="utf-8"))):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            to = (file.parent / path).resolve() if path else file.resolve()
            name = f"{file.relative_to(root)}: ({target})"
            if not to.is_relative_to(root) or not to.exists():
                errors.append(f"{name}: no such file")
            elif anchor and (to.suffix != ".md" or anchor not in anchors(to.read_text(encoding="utf-8"))):
                errors.append(f"{name}: no such heading")
            else:
                links.setdefault(file.resolve(), set()).add(to)
    seen, todo = set(), [root / "docs/README.md"]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            todo += links.get(page, ())
    for file in files:
        if (root / "docs") in file.parents and file.resolve() not in seen:
            errors.append(f"{file.relative_to(root)}: docs/README.md does not lead to it")
    return errors


def self_test():
    """Planted errors are found, and only these."""
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary).resolve()
        (root / "docs").mkdir()
        pages = {"docs/README.md": "# A b, c\n[x](one.md) [y](#a-b-c) [z](gone.md) `[no](link.md)`\n```\n[no](link.md)\n```\n",
                 "docs/one.md": "## Same\n## Same\n[up](README.md#a-b-c) [two](#same-1) [no](#same-2) [web](https://example.org/x)\n",
                 "docs/alone.md": "text\n"}
        for name, text in pages.items():
            (root / name).write_text(text, encoding="utf-8")
        found = check(root, [root / name for name in pages])
        expected = ["docs/README.md: (gone.md): no such file", "docs/one.md: (#same-2): no such heading",
                    "docs/alone.md: docs/README.md does not lead to it"]
        return [] if found == expected else [f"self-test: found {found}, expected {expected}"]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.md"], capture_output=True, text=True)
    names = listed.stdout.split("\n") if listed.returncode == 0 else []
    # An unpacked archive has no index: its own folders, without what a build or a run leaves.
    files = [root / n for n in names if n and (root / n).exists()] or [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    errors = self_test() + check(root, files)
    print("\n".join(errors) or f"{len(files)} Markdown files: every link leads somewhere")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
