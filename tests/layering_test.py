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
    "optim/config": (["optim/config", "optim/core"], re.compile(r"^(torch|ATen|c10|CLI|Eigen|boost)/")),
    "optim": (["optim"], re.compile(r"^(CLI|Eigen|boost)/")),
    "models": (["models", "optim/core", "optim/config", "optim/parallel", "optim/kernels/element_types.hpp"], re.compile(r"^(CLI|Eigen|boost)/")),
    "theory": (["theory", "optim/core", "optim/methods"], re.compile(r"^(torch|ATen|c10|nlohmann|CLI)/")),
}
# The rooms of experiments/: each may include itself, what it names here, and experiments/errors.hpp.
NO_TORCH = re.compile(r"^(torch|ATen|c10|Eigen|CLI)/")
WITH_TORCH = re.compile(r"^(Eigen|CLI)/")
ROOMS = {
    "system": ("optim/core optim/config", NO_TORCH),
    "statistics": ("optim/core", NO_TORCH),
    "plot": ("system optim/config", NO_TORCH),
    "data": ("system optim/core optim/config", NO_TORCH),
    "record": ("system models/trace_row.hpp optim/core optim/config", NO_TORCH),
    "runs": ("system record statistics plot theory optim/core optim/config", NO_TORCH),
    "distributed": ("optim", WITH_TORCH),
    "stored": ("system data record models optim", WITH_TORCH),
    "scales": ("system plot stored models optim", WITH_TORCH),
    "train": ("system data record runs distributed stored models optim", WITH_TORCH),
    "compare": ("system data record runs statistics plot distributed/child_process.hpp optim/core optim/config", NO_TORCH),
    "figures": ("record runs statistics plot theory optim/core optim/config", NO_TORCH),
    "claims": ("system record runs statistics plot compare figures distributed/child_process.hpp theory optim/core optim/config", NO_TORCH),
    "probe": ("system record train models optim theory", WITH_TORCH),
    "toys": ("claims figures train models optim theory", WITH_TORCH),
    "commands": ("system record runs statistics plot data distributed stored scales train compare figures claims probe toys optim models",
                 re.compile(r"^Eigen/")),
}
TOP = ("optim", "models", "theory")
for room, (uses, foreign) in ROOMS.items():
    RULES[f"experiments/{room}"] = ([f"experiments/{room}", "experiments/errors.hpp"] +
                                    [use if use.split("/")[0] in TOP else f"experiments/{use}" for use in uses.split()], foreign)
# What a user of the installed package includes must not ask for nlohmann_json.
PRIVATE_HEADERS = {"optim/config/json_reader.hpp", "optim/config/option_json.hpp", "optim/role_policy_json.hpp", "models/options_json.hpp"}

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
                errors.append(f"{path}:{number}: name {header} by its path from the root")
            elif header.split("/")[0] in ("optim", "models", "theory", "experiments"):
                if not any(header == a or header.startswith(a + "/") for a in allowed):
                    errors.append(where)
                if not (ROOT / header).exists():
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
