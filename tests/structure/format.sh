#!/usr/bin/env bash
# Fails where a C++ file is not as clang-format would write it.
set -euo pipefail
cd "$1"
git ls-files -z --cached --others --exclude-standard '*.h' '*.cc' | xargs -0 clang-format-19 --dry-run --Werror
