#!/bin/sh
# venv.sh DIR: a Python environment with the packages of requirements.txt; does nothing where DIR has them already.
set -eu
dir=$1
requirements=$(dirname "$0")/requirements.txt
cmp -s "$requirements" "$dir/installed.txt" && exit 0
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
cp "$requirements" "$dir/installed.txt"
