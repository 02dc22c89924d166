#!/usr/bin/env bash
# Compiles the Go program in the folder $2 (tests/peers/go without it) into $1. Exit status 77: Go is missing or too old.
set -euo pipefail
cd "${2:-$(dirname "$0")/go}"
PATH="$PATH:/usr/local/go/bin"
wanted=$(sed -n 's/^go //p' go.mod)
if ! command -v go >/dev/null; then
  echo "SKIPPED: go is not installed; what runs franz-go needs Go $wanted or later"
  exit 77
fi
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly
found=$(go env GOVERSION | sed 's/^go//')
if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -1)" != "$wanted" ]; then
  echo "SKIPPED: Go is $found; what runs franz-go needs Go $wanted or later"
  exit 77
fi
mkdir -p "$(dirname "$1")"
go build -o "$1" .
echo "franz-go $(sed -n 's/.*franz-go v//p' go.mod) is in $1"
