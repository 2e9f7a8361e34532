#!/usr/bin/env python3
"""Every C++ and CUDA source under version control is as clang-format 14 writes it with the tree's .clang-format."""
import re
import shutil
import subprocess
import sys

root = sys.argv[1]


def skip(reason):
    print("SKIPPED:", reason)
    sys.exit(77)


def formatter():
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name):
            version = re.search(r"version (\d+)", subprocess.run([name, "--version"], capture_output=True, text=True).stdout)
            if version and version.group(1) == "14":
                return name
    skip("clang-format 14 is not here (Debian's and Ubuntu's package clang-format-14); other versions lay out differently")


try:
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "*.cpp", "*.hpp", "*.cu", "*.cuh"], capture_output=True, check=True)
except (OSError, subprocess.CalledProcessError):
    skip("not a git checkout")
files = [f for f in listed.stdout.decode().split("\0") if f]
if not files:
    sys.exit("no sources found")
result = subprocess.run([formatter(), "--dry-run", "-Werror", *files], cwd=root, capture_output=True, text=True)
if result.returncode:
    wrong = sorted({line.split(":")[0] for line in result.stderr.splitlines() if "clang-format-violations" in line})
    sys.exit("not formatted (clang-format -i mends it): " + (" ".join(wrong) or result.stderr))
print(len(files), "sources are formatted")
