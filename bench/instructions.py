#!/usr/bin/env python3
"""What one more request costs the broker, in instructions of its own (the kernel's are not counted), beside what it cost when
instructions.tsv was last written. Other work on the machine does not change these figures: they repeat within 0.3 % (the one of 14,000 within 6 %), and show what no
timing on a busy machine shows.

instructions.py BUILD_DIR [--update] [--tolerance 0.1]
Needs valgrind, which counts while it runs broker_requests_bench. Fails where a case costs more than the tolerance allows.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

REFERENCE = pathlib.Path(__file__).with_name("instructions.tsv")
FEW, MORE = 50, 250
# Case of broker_requests_bench: what it is, records in a request.
CASES = {
    "produce/1/1": ("produce one record", 1),
    "produce/1/1000": ("produce a batch of 1,000", 1_000),
    "produce/16/100": ("produce 16 batches of 100, to 16 partitions", 1_600),
    "fetch/1/1": ("fetch one record, from memory", 1),
    "fetch/1000/10": ("fetch 1,000 batches of 10, from a file", 10_000),
    "fetch/10/1000": ("fetch 10 batches of 1,000, from a file", 10_000),
    "fetch_nothing/100": ("fetch from 100 partitions, nothing new", 0),
}


def count(bench: pathlib.Path, case: str, requests: int) -> int:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", str(bench),
               f"--benchmark_filter=^{case}/iterations:{requests}/"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    counted = re.search(r"I\s+refs:\s+([\d,]+)", run.stderr)
    if run.returncode != 0 or not counted or "iterations" not in run.stdout:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stdout}{run.stderr}")
    return int(counted[1].replace(",", ""))


def read_reference() -> dict[str, int]:
    if not REFERENCE.exists():
        return {}
    rows = (line.split("\t") for line in REFERENCE.read_text().splitlines()[1:])
    return {case: int(instructions) for case, instructions, _ in rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--update", action="store_true", help="write instructions.tsv anew")
    parser.add_argument("--tolerance", type=float, default=0.1)
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("Instructions are not counted: valgrind is not installed", file=sys.stderr)
        return 1
    stripped = tempfile.TemporaryDirectory(prefix="millrace-bench-")
    bench = pathlib.Path(stripped.name) / "broker_requests_bench"
    # valgrind reads no debug information of compilers newer than itself, and gives up over it.
    subprocess.run(["strip", "--strip-debug", "-o", bench, arguments.build / "bin/broker_requests_bench"], check=True)
    reference, measured = read_reference(), {}
    worse = []
    print("| request | instructions | a record | before | change |\n|---|---:|---:|---:|---:|")
    for case, (what, records) in CASES.items():
        measured[case] = (count(bench, case, MORE) - count(bench, case, FEW)) // (MORE - FEW)
        before = reference.get(case)
        change = measured[case] / before - 1 if before else 0.0
        if change > arguments.tolerance:
            worse.append(what)
        print(f"| {what} | {measured[case]:,} | {f'{measured[case] / records:,.1f}' if records else '–'} | "
              f"{f'{before:,}' if before else '–'} | {change:+.1%} |", flush=True)
    if arguments.update:
        lines = [f"{case}\t{measured[case]}\t{what}" for case, (what, _) in CASES.items()]
        REFERENCE.write_text("case\tinstructions\twhat\n" + "".join(line + "\n" for line in lines))
        return 0
    if worse:
        print(f"More instructions than before: {', '.join(worse)}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
