#!/bin/sh
# Runs line N (from 0 on) of a file of commands: line.sh FILE N
line=$(sed -n "$(($2 + 1))p" "$1")
[ -n "$line" ] || { echo "line.sh: $1 has no line $2" >&2; exit 2; }
exec sh -c "$line"
