"""Checks the layering: reads the #include lines and refuses one from a lower folder into a higher one.

    python3 tests/layering_test.py [ROOT]
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
TORCH = re.compile(r"^(torch|ATen|c10)/")
# For each folder: the project folders it may include, and the foreign headers it must not.
RULES = {
    "optim/core": (["optim/core"], re.compile(r"^(torch|ATen|c10|nlohmann|CLI|Eigen|boost)/")),
    "optim/methods": (["optim/core", "optim/methods"], re.compile(r"^(torch|ATen|c10|nlohmann|CLI|Eigen|boost)/")),
    "optim/methods/matrix": (["optim"], re.compile(r"^(nlohmann|CLI|Eigen|boost)/")),
    "optim/kernels": (["optim/core", "optim/kernels", "optim/methods"], re.compile(r"^(torch|ATen|c10|nlohmann|CLI|Eigen|boost)/")),
    "optim/config": (["optim/config"], re.compile(r"^(torch|ATen|c10|CLI|Eigen|boost)/")),
    "optim": (["optim"], re.compile(r"^(CLI|Eigen|boost)/")),
    "models": (["models", "optim/core", "optim/config", "optim/parallel"], re.compile(r"^(CLI|Eigen|boost)/")),
    "theory": (["theory", "optim/core", "optim/methods"], re.compile(r"^(torch|ATen|c10|nlohmann|CLI)/")),
    "experiments": (["experiments", "optim", "models", "theory"], re.compile(r"^Eigen/")),
}
# What a user of the installed package includes must not ask for nlohmann_json.
PRIVATE_HEADERS = {"optim/config/json_reader.hpp", "models/options_json.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')


def folder_of(path):
    return max((f for f in RULES if path == f or path.startswith(f + "/")), key=len, default=None)


def main():
    errors = []
    checked = 0
    for file in sorted(p for ext in ("hpp", "cpp", "cu", "cuh") for p in ROOT.rglob(f"*.{ext}")):
        path = file.relative_to(ROOT).as_posix()
        folder = folder_of(path)
        if folder is None or path.startswith(("build/", ".deps/")):
            continue
        allowed, foreign = RULES[folder]
        checked += 1
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            header = found.group(1)
            where = f"{path}:{number}: {folder} must not include {header}"
            if header.startswith("scalevec/"):
                target = header[len("scalevec/"):]
                if not any(target.startswith(a + "/") for a in allowed):
                    errors.append(where)
                if not (ROOT / target).exists():
                    errors.append(f"{path}:{number}: {header} does not exist")
            elif foreign.match(header):
                errors.append(where)
            elif header.startswith("nlohmann/") and path.endswith(".hpp") and folder in ("optim", "models") and path not in PRIVATE_HEADERS:
                errors.append(f"{path}:{number}: a public header must not include {header}")
    print("\n".join(errors) if errors else f"{checked} files keep the layering")
    if checked < 20:
        errors.append("too few files found")
    return 1 if errors else 0


sys.exit(main())
