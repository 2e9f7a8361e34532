#!/usr/bin/env python3
"""Writes the table of methods in docs/optimizers/README.md from the methods' files (optim/methods), and holds the table of
options in the page of each method against its file: the same options with the same defaults.

    python3 scripts/optimizers_docs.py            # writes
    python3 scripts/optimizers_docs.py --check    # says what differs, exit status 1
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LISTS = {"optim/methods/elementwise.hpp": "anything", "optim/methods/blockwise.hpp": "anything",
         "optim/methods/matrix/matrix.hpp": "matrices"}
# Matrix methods state their buffers as code.
MATRIX_STATE = {"muon": "4", "normuon": "4, and 4 per row", "soap": "8, and 8·rows² + 8·cols² per matrix",
                "dion": "4, and 4·cols·rank per matrix", "scion": "4", "kron": "4, and 4·rows² + 4·cols² per matrix",
                "adafactor": "4 per row and per column", "adam_mini": "4, and 4 per row"}


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def strings(text):
    return re.findall(r'"((?:[^"\\]|\\.)*)"', text)


def rows_of(text):
    """The rows of SCALEVEC_OPTIONS: (type, name, default, range, meaning)."""
    rows = []
    for kind, name, value, rest in re.findall(
            r"\(\s*(double|bool|std::int64_t|std::string),\s*(\w+),\s*(\"[^\"]*\"|[^,]+),\s*((?:[^()\"]|\([^()]*\)|\"[^\"]*\")*)\)",
            text):
        parts = re.match(r"(later\()?(\w+(?:\([^)]*\))?)\)?,\s*(.*)", rest.replace("\\\n", " ").strip(), re.S)
        meaning = "".join(strings(parts.group(3)))
        rows.append((kind, name, value.strip('"'), parts.group(2), meaning))
    return rows


class Method:
    def __init__(self, name, kind, trains, folder):
        self.name, self.kind, self.trains = name, kind, trains
        text = text_of(f"{folder}/{name}.hpp")
        base = re.search(rf"struct {kind} : (\w+)", text)
        self.base = None
        own = text[text.index(f"struct {kind}"):]
        if base:
            header = next(header for header in re.findall(r'#include "(optim/methods/[^"]+)"', text)
                          if f"struct {base.group(1)} " in text_of(header))
            self.base = text_of(header)
        self.source = "".join(strings(re.search(r'kSource\s*=((?:\s*"[^"]*")+)', own).group(1)))
        defaults = own if "kDefaults" in own else self.base
        self.lr = re.search(r"kDefaults\{([^,]+),", defaults).group(1)
        self.decay = re.search(r"kDefaults\{[^,]+, ([^,]+), DecayCoupling::(\w+)", defaults).groups()
        self.options = rows_of(own) if "SCALEVEC_OPTIONS" in own else rows_of(self.base)
        if "SCALEVEC_MUON_OPTIONS" in own:
            self.options = rows_of(text_of("optim/methods/matrix/muon.hpp")) + (rows_of(own) if name != "muon" else [])
        if trains == "matrices":
            self.state = MATRIX_STATE[name]
            if "kAnyShape = true" in own:
                self.trains = "anything"
            return
        state = re.search(r"kState(?:\{([^}]*)\}|<[^>]*>)", own if "kState" in own else self.base)
        buffers = strings(state.group(1) or "")
        optional = re.search(r"kOptional = 0b([01]+)", own if "kState" in own else self.base)
        maybe = optional.group(1).count("1") if optional else 0
        if "kSigned" in own:
            self.state = f"{len(buffers)}, and {4 * len(buffers)} per 256 elements"
            return
        self.state = str(4 * (len(buffers) - maybe)) + (f", with options up to {4 * len(buffers)}" if maybe else "")

    def source_text(self):
        return re.sub(r"(https?://\S+)", r"<\1>", self.source)

    def row(self):
        return (f"| [`{self.name}`]({self.name}.md) | `{self.kind}` | {self.trains} | {self.state} | "
                f"{self.source_text()} |")

    def defaults(self):
        """The method's own options and lr, by name."""
        return {"lr": plain(self.lr), **{name: plain(value) for _, name, value, _, _ in self.options}}


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


def methods():
    for listed, trains in LISTS.items():
        for name, kind in re.findall(r"(?:FIRST|NEXT)\((\w+), (\w+)\)", text_of(listed)):
            if name != "name":
                yield Method(name, kind, trains, str(pathlib.PurePosixPath(listed).parent))


def replaced(text, header, table):
    """The text with the table that begins with this header line replaced."""
    lines = text.split("\n")
    first = lines.index(header)
    last = first
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    return "\n".join(lines[:first] + table.split("\n") + lines[last:])


def main():
    every = list(methods())
    header = "| policy name | class | trains | state, bytes per float32 parameter | source |"
    table = "\n".join([header, "|---|---|---|---|---|"] + [m.row() for m in every])
    readme = ROOT / "docs/optimizers/README.md"
    text = replaced(readme.read_text(encoding="utf-8"), header, table)
    errors = []
    if "--check" in sys.argv and text != readme.read_text(encoding="utf-8"):
        errors.append("docs/optimizers/README.md is not what optim/methods says: run scripts/optimizers_docs.py")
    elif "--check" not in sys.argv:
        readme.write_text(text, encoding="utf-8")
    for method in every:
        page = ROOT / "docs/optimizers" / f"{method.name}.md"
        if not page.exists():
            errors.append(f"docs/optimizers/{page.name} does not exist")
            continue
        says, has = documented(page.read_text(encoding="utf-8")), method.defaults()
        for name in sorted(set(says) | set(has)):
            if says.get(name) != has.get(name):
                errors.append(f"docs/optimizers/{page.name}: {name} is {says.get(name, 'missing')} there and "
                              f"{has.get(name, 'missing')} in optim/methods")
    print("\n".join(errors) if errors else f"{len(every)} methods in docs/optimizers")
    return 1 if errors else 0


sys.exit(main())
