#!/usr/bin/env bash
# manual.sh PROGRAM ROOT: fails where a page of the manual that the program writes is not what it prints.
set -euo pipefail
stale=0
for page in command-line configuration; do
  diff -u "$2/docs/manual/$page.md" <("$1" help "$page") || stale=1
done
((stale == 0)) || echo "make manual writes these pages anew" >&2
exit $stale
