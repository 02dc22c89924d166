#!/usr/bin/env python3
"""Runs every example as its README says: test_examples.py MILLRACE_BINARY SOURCE_DIR."""

import csv
import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

BINARY = ROOT = None


def run(*arguments: str) -> dict:
    """`millrace pipeline run …` with -o json; the report's only pipeline."""
    result = subprocess.run([BINARY, "pipeline", "run", *arguments, "-o", "json"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    report = json.loads(result.stdout)
    return report["pipelines"][0]


def read_csv(path: pathlib.Path) -> list[dict]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def assert_closes(test: unittest.TestCase, pipeline: dict):
    """Every row of every step ends as exactly one of passed, filtered, dead letter, waiting."""
    for step in pipeline["steps"]:
        test.assertEqual(step["in"], step["out"] + step["filtered"] + step["dead_letters"] + step["waiting"], step)


def shop_lines() -> list[str]:
    """The header and the first 40,000 orders."""
    return gzip.open(ROOT / "examples/online_retail/online-retail.csv.gz", "rt").read().splitlines()[:40_001]


def shop_revenue() -> tuple[dict[tuple[str, str], float], int]:
    """Of each country and day; and how many of the lines have no customer."""
    revenue: dict[tuple[str, str], float] = {}
    without_customer = 0
    for row in csv.DictReader(io.StringIO("\n".join(shop_lines()))):
        if not row["CustomerID"]:
            without_customer += 1
        elif not row["InvoiceNo"].startswith("C") and int(row["Quantity"]) > 0 and float(row["UnitPrice"]) > 0:
            key = (row["Country"], row["InvoiceDate"][:10])
            revenue[key] = revenue.get(key, 0) + int(row["Quantity"]) * float(row["UnitPrice"])
    return revenue, without_customer


class Examples(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.out = pathlib.Path(self.dir.name)

    def test_every_example_passes_lint(self):
        files = sorted(str(path) for path in (ROOT / "examples").glob("*/*.yaml"))
        self.assertGreaterEqual(len(files), 5)
        subprocess.run([BINARY, "pipeline", "lint", *files], check=True, capture_output=True)

    def test_phishing_reaches_the_published_numbers(self):
        scored = self.out / "scored.jsonl"
        pipeline = run("examples/phishing/phishing.yaml", "--input", "pages=examples/phishing/phishing.csv", "--output", f"pages.scored={scored}")
        assert_closes(self, pipeline)
        metrics = pipeline["models"][0]["metrics"]["learner"]
        self.assertEqual(round(metrics["accuracy"] * 1250), 1116)
        self.assertAlmostEqual(metrics["f1"], 0.879713, places=6)
        self.assertAlmostEqual(metrics["auc"], 0.953350, places=6)
        self.assertAlmostEqual(metrics["log_loss"], 0.330112, places=6)
        # The metrics are those of the predictions that were written, computed here anew.
        rows = [json.loads(line) for line in scored.read_text().splitlines()]
        self.assertEqual(len(rows), 1250)
        self.assertEqual(sum((row["p_phishing"] > 0.5) == bool(row["is_phishing"]) for row in rows), 1116)

    def test_machine_failures_beat_the_majority(self):
        pipeline = run("examples/machine_failures/machine_failures.yaml", "--input", "readings=examples/machine_failures/ai4i2020.csv")
        assert_closes(self, pipeline)
        self.assertEqual((pipeline["rows_in"], pipeline["rows_out"]), (10_000, 10_000))
        metrics = pipeline["models"][0]["metrics"]["learner"]
        self.assertGreater(metrics["auc"], 0.8)

    def test_access_log_counts_equal_a_count_of_the_lines(self):
        hourly = self.out / "hourly.csv"
        pipeline = run("examples/access_log/access_log.yaml", "--input", "lines=examples/access_log/apache.log.gz", "--output", f"access_log.hourly={hourly}")
        assert_closes(self, pipeline)
        lines = gzip.open(ROOT / "examples/access_log/apache.log.gz", "rt", errors="replace").read().splitlines()
        statuses: dict[str, int] = {}
        for line in lines:
            status = line.split('" ')[1].split(" ")[0]
            statuses[status] = statuses.get(status, 0) + 1
        counted: dict[str, int] = {}
        for row in read_csv(hourly):
            counted[row["status"]] = counted.get(row["status"], 0) + int(row["requests"])
        self.assertEqual(counted, statuses)

    def test_shop_revenue_equals_a_sum_over_the_file(self):
        revenue = self.out / "revenue.csv"
        orders = self.out / "orders.csv"
        orders.write_text("\n".join(shop_lines()) + "\n")
        pipeline = run("examples/online_retail/shop.yaml", "--input", f"orders={orders}", "--output", f"shop.revenue={revenue}")
        assert_closes(self, pipeline)
        self.assertEqual(pipeline["rows_in"], 40_000)
        self.assertEqual(pipeline["waiting"], 0)
        expected, without_customer = shop_revenue()
        self.assertEqual(pipeline["dead_letters"], without_customer)
        found = {(row["country"], row["window_start"][:10]): float(row["revenue"]) for row in read_csv(revenue)}
        self.assert_same_revenue(found, expected)

    def test_shop_revenue_is_a_table_of_the_server(self):
        config = self.out / "shop-server.yaml"
        config.write_text(f"pipelines: [{ROOT}/examples/online_retail/shop.yaml]\n")
        data = str(self.out / "shop-data")
        command = [BINARY, "server", "--config", str(config), "--data", data, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                self.assertTrue(any(line.startswith("Data:") for line in server.stdout))
                lines = "".join(line + "\n" for line in shop_lines()[1:])
                subprocess.run([BINARY, "topic", "produce", "shop.orders", "--data", data], input=lines, text=True, check=True, capture_output=True)
                expected, _ = shop_revenue()
                # The last day is not over as long as no order of a later one came.
                last = max(day for _, day in expected)
                expected = {key: value for key, value in expected.items() if key[1] < last}
                deadline = time.monotonic() + 60
                found = {}
                while len(found) < len(expected):
                    self.assertLess(time.monotonic(), deadline, f"{len(found)} of {len(expected)} rows are in the table")
                    time.sleep(0.1)
                    result = subprocess.run([BINARY, "sql", "SELECT country, window_start, revenue FROM revenue", "--data", data, "-o", "json"],
                                            capture_output=True, text=True)
                    # The table is there when the pipeline has begun.
                    rows = json.loads(result.stdout) if result.returncode == 0 else []
                    found = {(row["country"], row["window_start"][:10]): row["revenue"] for row in rows}
                    self.assertEqual(len(rows), len(found), "a country's day is there twice")
                self.assert_same_revenue(found, expected)
            finally:
                server.terminate()

    def assert_same_revenue(self, found: dict, expected: dict):
        self.assertEqual(found.keys(), expected.keys())
        for key, value in expected.items():
            self.assertAlmostEqual(found[key], value, places=6, msg=str(key))

    def test_demo_once_prints_a_report_whose_sums_close(self):
        result = subprocess.run([BINARY, "demo", "--once", "--events", "20000", "-o", "json"], capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual([pipeline["name"] for pipeline in report["pipelines"]], ["shop", "cards"])
        for pipeline in report["pipelines"]:
            self.assertEqual(pipeline["rows_in"], 20_000)
            assert_closes(self, pipeline)
        fraud = report["pipelines"][1]["models"][0]["metrics"]["learner"]
        self.assertGreater(fraud["auc"], 0.85)


if __name__ == "__main__":
    BINARY, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
    os.environ.pop("MILLRACE_BOOTSTRAP", None)
    unittest.main(argv=sys.argv[:1], verbosity=2)
