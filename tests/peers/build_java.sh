#!/usr/bin/env bash
# Compiles tests/peers/java into the folder $1, with the jars that it needs beside it. Exit status 77: Java or Maven is missing.
set -euo pipefail
for program in javac mvn; do
  if ! command -v "$program" >/dev/null; then
    echo "SKIPPED: $program is not installed; the tests against the Java client need a JDK (17 or later) and Maven"
    exit 77
  fi
done
mvn -q -B -ntp -f "$(dirname "$0")/java/pom.xml" -Dout="$1" process-classes
echo "the Java client is in $1"
