#!/usr/bin/env bash
# Every measurement, as tables: the pieces first, then the broker beside Apache Kafka, then the fraud job.
set -euo pipefail
build=$1
shift
cmake --build "$build" --target benches millrace >&2
while read -r bench; do
  echo "== $bench"
  "$build/bin/$bench" --benchmark_min_time=0.5 --benchmark_format=console 2>/dev/null
done <"$build/benches.txt"
echo "== instructions"
"$(dirname "$0")/instructions.py" "$build" || true
echo "== broker"
"$(dirname "$0")/broker.py" "$build" "$@"
echo "== groups and connections"
"$(dirname "$0")/groups.py" "$build"
echo "== growth"
"$(dirname "$0")/growth.py" "$build" "$build/bench"
echo "== fraud job"
"$(dirname "$0")/fraud.py" "$build"
