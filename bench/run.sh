#!/usr/bin/env bash
# Every measurement, as tables: the pieces first, then the broker beside Apache Kafka, then the fraud job. A part that fails does not
# keep the others from running; the exit status tells of it.
set -euo pipefail
build=$1
shift
here=$(dirname "$0")
failed=()

part() {
  echo "== $1"
  "${@:2}" || failed+=("$1")
}

cmake --build "$build" --target benches millrace >&2
while read -r bench; do
  part "$bench" "$build/bin/$bench" --benchmark_min_time=0.5 --benchmark_format=console 2>/dev/null
done <"$build/benches.txt"
part instructions "$here/instructions.py" "$build"
part broker "$here/broker.py" "$build" "$@"
part "groups and connections" "$here/groups.py" "$build"
part growth "$here/growth.py" "$build" "$build/bench"
part recovery "$here/recovery.py" "$build"
part "fraud job" "$here/fraud.py" "$build"
if ((${#failed[@]})); then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
