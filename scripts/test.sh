#!/usr/bin/env bash
# Sets up, builds, passes every test. Works alone on a bare Debian 12 or Ubuntu 24.04 machine.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/bootstrap.sh parallel clang-format-14 chromium
scripts/build.sh
ctest --preset cpu -j "$(nproc)"
