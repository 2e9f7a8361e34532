#!/usr/bin/env bash
# Sets up, builds, passes every test. Works alone on a bare Debian 12 or Ubuntu 24.04 machine.
set -euo pipefail
cd "$(dirname "$0")/.."
(($# == 0)) || { echo "usage: scripts/test.sh" >&2; exit 2; }
extras=(parallel clang-format-14 strace)
# Ubuntu has Chromium as a snap only; there the test of the report's page says that it is skipped.
grep -qs '^ID=debian' /etc/os-release && extras+=(chromium)
scripts/bootstrap.sh "${extras[@]}"
scripts/build.sh
ctest --preset cpu -j "$(nproc)"
