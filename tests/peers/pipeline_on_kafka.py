#!/usr/bin/env python3
"""The same pipeline files against Apache Kafka and against the embedded broker give the same output.

pipeline_on_kafka.py MILLRACE_BINARY SOURCE_DIR CACHE_DIR; exit status 77: Java or Maven is missing.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "kafka"))
import kafka  # noqa: E402

# (pipeline, its input, a sink)
CASES = [
    ("examples/phishing/phishing.yaml", "pages=examples/phishing/phishing.csv", "pages.scored"),
    ("examples/access_log/access_log.yaml", "lines=examples/access_log/apache.log.gz", "access_log.hourly"),
    ("examples/access_log/access_log.yaml", "lines=examples/access_log/apache.log.gz", "access_log.visitors"),
    ("examples/payments/cards.yaml", "payments={payments}", "card.scored"),
]


def run(binary: str, root: pathlib.Path, case: tuple, output: pathlib.Path, more: list[str]) -> dict:
    pipeline, source, sink = case
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


def main() -> int:
    binary, root, cache = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    try:
        broker = kafka.Kafka(cache)
    except kafka.Unavailable as why:
        print(f"skipped: {why}")
        return 77
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        payments = pathlib.Path(folder) / "payments.jsonl"
        write_payments(payments)
        for number, case in enumerate(CASES):
            # A broker a case: topics and groups of the same names must not meet.
            with kafka.Kafka(cache) if number else broker as peer:
                case = (case[0], case[1].format(payments=payments), case[2])
                outputs = [pathlib.Path(folder) / f"{number}.{where}.jsonl" for where in ("embedded", "kafka")]
                reports = [run(binary, root, case, outputs[0], []), run(binary, root, case, outputs[1], ["--bootstrap", peer.bootstrap])]
            same_rows = sorted(outputs[0].read_text().splitlines()) == sorted(outputs[1].read_text().splitlines())
            keys = ("rows_in", "rows_out", "filtered", "dead_letters", "waiting")
            same_counts = [reports[0][key] for key in keys] == [reports[1][key] for key in keys]
            print(f"{case[0]} {case[2]}: {len(outputs[0].read_text().splitlines())} rows, {'same' if same_rows and same_counts else 'DIFFERENT'}")
            failures += not (same_rows and same_counts)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
