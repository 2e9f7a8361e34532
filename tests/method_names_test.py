"""Counts the files in which a method's name occurs: a method is its own file and its line in the list.

    python3 tests/method_names_test.py [ROOT]

Comments do not count. Code that is about a method by its nature (a figure of its formula, a prediction that holds for it
alone, a default) is named in USES; a new method needs none of these.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
LISTS = ("optim/methods/elementwise.hpp", "optim/methods/blockwise.hpp", "optim/methods/matrix/matrix.hpp")
USES = {
    # The method of a rule that names none.
    "optim/role_policy.cpp": {"adamw"},
    # What torch::optim's archives are called.
    "optim/optimizer_archive.cpp": {"adam", "adamw", "adagrad", "rmsprop", "sgd"},
    # Programs for torch's options beside ours.
    "optim/testing/testing.cpp": {"adamw"},
    # Results of the theory that hold for one method, their figures, and where runs are held against them.
    "theory/simulate/batch_optimizer.hpp": {"adamw"},
    "theory/muon.cpp": {"muon"},
    "theory/moving_rotation.hpp": {"muon"},
    "theory/theory.hpp": {"muon"},
    "experiments/claims/metrics.cpp": {"adamw"},
    "experiments/compare/figures.cpp": {"adam"},
    "experiments/runs/prediction_figures.cpp": {"adam", "adamw", "lion", "muon"},
    "experiments/runs/run_prediction.cpp": {"adam", "adamw", "lion", "muon"},
    "experiments/figures": {"adam", "adamw", "lion", "muon", "sgd", "signum"},
}
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*")', re.S)


def code_of(path):
    return COMMENT.sub(lambda found: found.group(1) or " ", path.read_text(encoding="utf-8"))


def allowed(file, name):
    return any((file == use or file.startswith(use + "/")) and name in names for use, names in USES.items())


def main():
    methods = {}
    for listed in LISTS:
        for name, kind in re.findall(r"(?:FIRST|NEXT)\((\w+), (\w+)\)", (ROOT / listed).read_text(encoding="utf-8")):
            if name != "name":
                methods[name] = (kind, (ROOT / listed).parent.relative_to(ROOT).as_posix() + f"/{name}.hpp")
    sources = {path.relative_to(ROOT).as_posix(): code_of(path)
               for folder in ("optim", "theory", "experiments")
               for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".cpp", ".hpp", ".cu", ".cuh")}
    errors = []
    for name, (kind, own) in methods.items():
        if own not in sources:
            errors.append(f"{name}: {own} does not exist")
            continue
        if f'"{name}"' not in sources[own]:
            errors.append(f'{name}: {own} does not say "{name}"')
        word = re.compile(rf"\b(?:{name}|{kind}|{kind}Options)\b")
        for file, text in sources.items():
            # A method may be made from another.
            if file == own or file in LISTS or file.startswith("optim/methods/") or allowed(file, name):
                continue
            if word.search(text):
                errors.append(f"{file} names {name}: {word.search(text).group()}")
    print("\n".join(errors) if errors else f"{len(methods)} methods, each of one file and a line in the list")
    if len(methods) < 9:
        errors.append("too few methods found")
    return 1 if errors else 0


sys.exit(main())
