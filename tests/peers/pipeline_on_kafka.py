#!/usr/bin/env python3
"""The same pipeline files against Apache Kafka and against the embedded broker give the same output: the examples, and,
where the data sets are, the whole fraud job.

pipeline_on_kafka.py MILLRACE_BINARY SOURCE_DIR CACHE_DIR; exit status 77: Java or Maven is missing.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE / "kafka"), str(HERE.parent / "pipelines")]
import kafka  # noqa: E402
import program  # noqa: E402

# (pipeline, its input, a sink, the column that keys it)
CASES = [
    ("examples/phishing/phishing.yaml", "pages=examples/phishing/phishing.csv", "pages.scored", None),
    ("examples/access_log/access_log.yaml", "lines=examples/access_log/apache.log.gz", "access_log.hourly", None),
    ("examples/access_log/access_log.yaml", "lines=examples/access_log/apache.log.gz", "access_log.visitors", None),
    ("examples/payments/cards.yaml", "payments={payments}", "card.scored", "card_id"),
    ("bench/fraud.yaml", "transactions={transactions}", "scored", "CUSTOMER_ID"),
]
COUNTS = ("rows_in", "rows_out", "filtered", "dead_letters", "waiting")


def run(binary: str, root: pathlib.Path, case: tuple, output: pathlib.Path, more: list[str]) -> dict:
    pipeline, source, sink, _ = case
    command = [binary, "pipeline", "run", pipeline, "--input", source, "--output", f"{sink}={output}", "-o", "json", *more]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {result.stderr}")
    return json.loads(result.stdout)["pipelines"][0]


def write_payments(path: pathlib.Path):
    """Payments of 300 cards, with amounts that some windows see again, a few without sense."""
    with path.open("w") as out:
        for i in range(20_000):
            day, second = divmod(i * 37, 86_400)
            row = {"payment_id": f"p{i}", "card_id": f"c{i * 7919 % 300}", "event_time": f"2026-01-{1 + day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z",
                   "amount": -1.0 if i % 997 == 0 else round(5 + (i * i) % 977 / 10, 2), "category": ["groceries", "travel", "gift_card"][i % 3],
                   "country": ["GB", "FR"][i % 50 == 0], "latitude": 51.5, "longitude": -0.1, "is_fraud": int(i % 41 == 0)}
            out.write("{ not json\n" if i % 1999 == 0 else json.dumps(row) + "\n")


def write_transactions(path: pathlib.Path):
    with path.open("w") as out:
        out.writelines(value + "\n" for _, value in program.handbook_events())


def by_key(output: pathlib.Path, column: str | None) -> dict:
    """Each key's lines in their order; in any order where the sink has no key."""
    rows: dict = {}
    with output.open() as lines:
        for line in lines:
            rows.setdefault(json.loads(line)[column] if column else None, []).append(line)
    return rows if column else {None: sorted(rows[None])}


def main() -> int:
    binary, root, cache = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    try:
        broker = kafka.Kafka(cache)
    except kafka.Unavailable as why:
        print(f"skipped: {why}")
        return 77
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        payments, transactions = (pathlib.Path(folder) / name for name in ("payments.jsonl", "transactions.jsonl"))
        write_payments(payments)
        cases = CASES
        if pathlib.Path(program.HANDBOOK).exists():
            write_transactions(transactions)
        else:
            cases = CASES[:-1]
            print(f"without the fraud job: no data sets at {program.DATASETS}")
        for number, (pipeline, source, sink, key) in enumerate(cases):
            # A broker a case: topics and groups of the same names must not meet.
            with kafka.Kafka(cache) if number else broker as peer:
                case = (pipeline, source.format(payments=payments, transactions=transactions), sink, key)
                outputs = [pathlib.Path(folder) / f"{number}.{where}.jsonl" for where in ("embedded", "kafka")]
                reports = [run(binary, root, case, outputs[0], []), run(binary, root, case, outputs[1], ["--bootstrap", peer.bootstrap])]
            rows = [by_key(output, key) for output in outputs]
            counts = [[report[name] for name in COUNTS] + [model["metrics"]["learner"] for model in report["models"]] for report in reports]
            written = sum(map(len, rows[0].values()))
            same = rows[0] == rows[1] and counts[0] == counts[1] and written > 0
            print(f"{pipeline} {sink}: {written} rows, {'same' if same else 'DIFFERENT'}")
            failures += not same
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
