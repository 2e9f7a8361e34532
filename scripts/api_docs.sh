#!/usr/bin/env bash
# Writes the API reference of the installed headers to OUT/html (default build/api) with doxygen:
#   scripts/api_docs.sh [OUT]
# Every warning of doxygen is an error. Needs doxygen (Debian: apt-get install doxygen) and cmake.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/api}
command -v doxygen >/dev/null || { echo "api_docs: doxygen is not installed: apt-get install doxygen" >&2; exit 3; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
cmake -DSOURCE="$PWD" -DOUT="$out/include/scalevec" \
  -DUMBRELLAS=optim/core/core.hpp,theory/theory.hpp,optim/optim.hpp,optim/testing/testing.hpp,models/models.hpp \
  -P cmake/public_headers.cmake
# Comments in the sources are plain; doxygen reads those before a declaration or behind a member if they are marked.
cat >"$out/filter.py" <<'PY'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()


def members(match):
    """The rows of a table of options as the members that the macro makes of them."""
    row = re.compile(r'\(\s*([\w:]+),\s*(\w+),\s*("[^"]*"|[^,]+),\s*((?:[^"()]|\([^()]*\))+),\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)')
    said = ["  struct Values {"]
    for kind, name, value, allowed, meaning in row.findall(match[0]):
        text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', meaning))
        said.append(f"    {kind} {name} = {value}; ///< {text}; {' '.join(allowed.split())}")
    return "\n".join(said + ["  };"]) + "\n"


text = re.sub(r"^  SCALEVEC_OPTIONS\(.*?\)\)\s*;?\n", members, text, flags=re.S | re.M)
lines = []
for line in text.split("\n"):
    whole = re.match(r"^(\s*)// ?(.*)$", line)
    behind = re.match(r"^(.*?[;,{])(\s+)// (.*)$", line) if not whole else None
    if whole:
        line = f"{whole[1]}/// {whole[2]}"
    elif behind and '"' not in behind[1]:
        line = f"{behind[1]}{behind[2]}///< {behind[3]}"
    lines.append(line)
sys.stdout.write("\n".join(lines))
PY
cat >"$out/Doxyfile" <<DOXY
PROJECT_NAME = scalevec
INPUT = $out/include
RECURSIVE = YES
FILE_PATTERNS = *.hpp
OUTPUT_DIRECTORY = $out
STRIP_FROM_PATH = $out/include
STRIP_FROM_INC_PATH = $out/include
FILTER_PATTERNS = "*.hpp=python3 $out/filter.py"
MARKDOWN_SUPPORT = NO
JAVADOC_AUTOBRIEF = YES
EXTRACT_ALL = YES
EXCLUDE_SYMBOLS = *::detail *::detail::*
AUTOLINK_SUPPORT = NO
GENERATE_LATEX = NO
ENABLE_PREPROCESSING = YES
MACRO_EXPANSION = YES
EXPAND_ONLY_PREDEF = YES
PREDEFINED = SCALEVEC_HD=
HAVE_DOT = NO
VERBATIM_HEADERS = NO
SOURCE_BROWSER = NO
CLASS_GRAPH = NO
HTML_OUTPUT = html
QUIET = YES
WARN_AS_ERROR = FAIL_ON_WARNINGS
WARN_IF_UNDOCUMENTED = NO
DOXY
doxygen "$out/Doxyfile"
rm "$out/Doxyfile" "$out/filter.py"
echo "$out/html/index.html"
