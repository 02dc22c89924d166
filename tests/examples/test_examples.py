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
        lines = gzip.open(ROOT / "examples/online_retail/online-retail.csv.gz", "rt").read().splitlines()[:40_001]
        orders = self.out / "orders.csv"
        orders.write_text("\n".join(lines) + "\n")
        pipeline = run("examples/online_retail/shop.yaml", "--input", f"orders={orders}", "--output", f"shop.revenue={revenue}")
        assert_closes(self, pipeline)
        self.assertEqual(pipeline["rows_in"], 40_000)
        self.assertEqual(pipeline["waiting"], 0)
        expected: dict[tuple[str, str], float] = {}
        without_customer = 0
        for row in csv.DictReader(io.StringIO("\n".join(lines))):
            if not row["CustomerID"]:
                without_customer += 1
            elif not row["InvoiceNo"].startswith("C") and int(row["Quantity"]) > 0 and float(row["UnitPrice"]) > 0:
                key = (row["Country"], row["InvoiceDate"][:10])
                expected[key] = expected.get(key, 0) + int(row["Quantity"]) * float(row["UnitPrice"])
        self.assertEqual(pipeline["dead_letters"], without_customer)
        found = {(row["country"], row["window_start"][:10]): float(row["revenue"]) for row in read_csv(revenue)}
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
