#!/usr/bin/env python3
"""The fraud job that stream processors are compared with (bench/fraud.yaml): events per second with everything in, medians.

fraud.py BUILD_DIR [--runs 3]
The handbook's 584,471 payments, one cut-off record after every 1,000th, four partitions keyed by customer. The figure counts from the
first event read to the last score written; the broker and the pipeline share the machine.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPECTED_AUC = 0.6617773304


def write_input(source: pathlib.Path, target: pathlib.Path):
    with gzip.open(source, "rt") as rows, target.open("w") as out:
        next(rows)
        for i, row in enumerate(rows):
            number, time, customer, terminal, amount, seconds, _, fraud, _ = row.rstrip("\n").split(",")
            value = (f'{{"TRANSACTION_ID":{number},"TX_DATETIME":"{time}","CUSTOMER_ID":{customer},"TERMINAL_ID":{terminal},'
                     f'"TX_AMOUNT":{amount},"TX_TIME_SECONDS":{seconds},"TX_FRAUD":{fraud}}}')
            out.write(value + "\n")
            if i % 1000 == 999:
                out.write(value[:40] + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    datasets = pathlib.Path(os.environ.get("MILLRACE_DATASETS", ROOT.parent / "shared/data"))
    source = datasets / "fraud/handbook_simulated/transactions_2018-06-15_08-14.csv.gz"
    if not source.exists():
        print("The fraud job is skipped: MILLRACE_DATASETS has no fraud/handbook_simulated")
        return 0
    speeds = []
    with tempfile.TemporaryDirectory() as folder:
        events = pathlib.Path(folder) / "transactions.jsonl"
        write_input(source, events)
        for _ in range(arguments.runs):
            command = [arguments.build / "bin/millrace", "pipeline", "run", ROOT / "bench/fraud.yaml", "--input", f"transactions={events}", "-o", "json"]
            result = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
            pipeline = json.loads(result.stdout)["pipelines"][0]
            counts = [pipeline[key] for key in ("rows_in", "rows_out", "filtered", "dead_letters")]
            auc = pipeline["models"][0]["metrics"]["learner"]["auc"]
            assert counts == [585_055, 584_456, 15, 584], counts
            assert abs(auc - EXPECTED_AUC) < 5e-11, auc
            speeds.append(pipeline["events_per_s"])
    print(f"Fraud job: {statistics.median(speeds):,.0f} events/s (min {min(speeds):,.0f}, max {max(speeds):,.0f}), AUC {EXPECTED_AUC}, "
          f"{os.cpu_count()} cores for broker and pipeline")
    return 0


if __name__ == "__main__":
    sys.exit(main())
