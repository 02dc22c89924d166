#!/usr/bin/env bash
# Compiles tests/peers/go into the program $1. Exit status 77: Go is missing or too old.
set -euo pipefail
cd "$(dirname "$0")/go"
PATH="$PATH:/usr/local/go/bin"
wanted=$(sed -n 's/^go //p' go.mod)
if ! command -v go >/dev/null; then
  echo "SKIPPED: go is not installed; the tests against franz-go need Go $wanted or later"
  exit 77
fi
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly
found=$(go env GOVERSION | sed 's/^go//')
if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -1)" != "$wanted" ]; then
  echo "SKIPPED: Go is $found; the tests against franz-go need Go $wanted or later"
  exit 77
fi
mkdir -p "$(dirname "$1")"
go build -o "$1" .
echo "franz-go $(sed -n 's/.*franz-go v//p' go.mod) is in $1"
