#!/usr/bin/env bash
# Configures and builds one preset (default cpu): scripts/build.sh [PRESET [TARGET…]].
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-cpu}
shift || true
# A configure takes a second; one that failed half-way must not be taken for done.
cmake --preset "$preset" >"/tmp/scalevec-configure.$$" 2>&1 || { cat "/tmp/scalevec-configure.$$" >&2; rm -f "/tmp/scalevec-configure.$$"; exit 1; }
rm -f "/tmp/scalevec-configure.$$"
cmake --build "build/$preset" ${1:+--target "$@"}
