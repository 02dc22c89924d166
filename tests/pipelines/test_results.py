"""Published numbers, and every row's features against an independent computation."""

import bisect
import collections
import json
import os
import sys
import tempfile
import unittest

import prequential
import program

FRAUD = os.path.join(program.ROOT, "bench", "fraud.yaml")
FEATURES = ["amount", *(f"{name}_{window}" for window in ("1d", "7d", "30d") for name in "nsa")]
PARTITIONS = 4
SCALED = "preprocess: [{columns: numeric, scale: standard}]"

PHISHING = """
pipeline: phishing
sources:
  sites:
    format: csv
    columns: {empty_server_form_handler: double, popup_window: double, https: double,
              request_from_other_domain: double, anchor_from_other_domain: double, is_popular: double,
              long_url: double, age_of_domain: bigint, ip_in_url: bigint, is_phishing: bigint}
steps:
  - {id: fit, train: {model: phishing, algorithm: logistic_regression, params: %s, label: is_phishing,
                      features: ["*"], %s}}
"""

ELEC2_PRICES = """
sources:
  prices:
    format: csv
    columns: {date: double, day: bigint, period: double, nswprice: double, nswdemand: double, vicprice: double,
              vicdemand: double, transfer: double, class: varchar}
"""

ELEC2 = "pipeline: elec2" + ELEC2_PRICES + """
steps:
  - {id: rows, sql: "SELECT * EXCLUDE (class), CASE class WHEN 'UP' THEN 1 ELSE 0 END AS up FROM prices"}
  - {id: later, label: {of: self, delay: %d rows}}
  - {id: fit, train: {model: elec2, algorithm: logistic_regression, params: {learning_rate: 0.01}, label: up,
                      features: ["*"], %s}}
"""


# The label is computed behind the wait, from a column that came late.
ELEC2_LATE_CLASS = "pipeline: elec2_late_class" + ELEC2_PRICES + """
steps:
  - {id: later, label: {of: self, delay: %d rows}}
  - {id: judged, sql: "SELECT class = 'UP' AS up, * EXCLUDE (class) FROM later"}
  - {id: fit, train: {model: elec2, algorithm: logistic_regression, params: {learning_rate: 0.01}, label: up,
                      features: ["*"], %s}}
"""

CHECKED = """
pipeline: checked
sources:
  orders: {schema: orders.schema.json, time: at, key: id, partitions: 1}
sinks:
  - {id: good, from: orders, topic: orders.good}
"""
ORDERS_SCHEMA = {
    "type": "object",
    "required": ["id", "at"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "at": {"type": "string", "format": "date-time"},
        "total": {"type": ["number", "null"], "multipleOf": 0.01, "maximum": 1000},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
    },
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"pattern": "^[A-Z]+$"}}}},
}


def almost_equal(a, b):
    return abs(a - b) <= 1e-9


class Payments:
    """One customer's, in order of time."""

    def __init__(self):
        self.times = []
        self.cents_before = [0]  # of each payment, in all

    def add(self, time, amount):
        """FEATURES of this payment: what the customer paid in the 1, 7 and 30 days before."""
        features = [amount]
        for days in (1, 7, 30):
            # The window is open where it begins.
            first = bisect.bisect_right(self.times, time - days * 86400)
            number = len(self.times) - first
            total = (self.cents_before[-1] - self.cents_before[first]) / 100
            features += [float(number), total, total / number if number else 0.0]
        self.times.append(time)
        self.cents_before.append(self.cents_before[-1] + int(amount * 100 + 0.5))
        return features


class Results(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name, content=None):
        path = os.path.join(self.folder.name, name)
        if content is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        return path

    def learner(self, plan, source, data):
        report = program.run_pipeline(self.path("plan.yaml", plan), {source: data})
        self.closes(report)
        return report["models"][0]["metrics"]["learner"]

    def closes(self, report):
        for step in report["steps"]:
            self.assertEqual(step["in"], step["out"] + step["filtered"] + step["dead_letters"] + step["waiting"], step)

    def test_phishing_gives_the_published_figures(self):
        sgd = self.learner(PHISHING % ("{learning_rate: 0.01}", SCALED), "sites", program.PHISHING)
        self.assertEqual(round(sgd["accuracy"], 4), 0.8928)
        self.assertEqual(round(sgd["f1"], 6), 0.879713)
        self.assertEqual(round(sgd["log_loss"], 6), 0.330112)
        self.assertEqual(round(sgd["auc"], 6), 0.953350)
        adagrad = self.learner(PHISHING % ("{optimizer: adagrad}", SCALED), "sites", program.PHISHING)
        self.assertEqual(round(adagrad["f1"], 6), 0.880143)

    def test_elec2_with_labels_that_come_late(self):
        for delay, expected in ((0, 0.910744), (48, 0.849935), (336, 0.836412)):
            metrics = self.learner(ELEC2 % (delay, SCALED), "prices", program.ELEC2)
            self.assertEqual(metrics["rows"], 45312)
            self.assertEqual(round(metrics["auc"], 6), expected, f"a delay of {delay} rows")

    def test_elec2_with_a_label_that_is_computed_behind_the_wait(self):
        for delay, expected in ((0, 0.910744), (48, 0.849935)):
            metrics = self.learner(ELEC2_LATE_CLASS % (delay, SCALED), "prices", program.ELEC2)
            self.assertEqual(metrics["rows"], 45312)
            self.assertEqual(round(metrics["auc"], 6), expected, f"a delay of {delay} rows")

    def test_records_that_break_their_schema_are_dead_letters(self):
        plan, schema = self.path("checked.yaml"), self.path("orders.schema.json")
        with open(plan, "w") as file:
            file.write(CHECKED)
        with open(schema, "w") as file:
            json.dump(ORDERS_SCHEMA, file)
        at = "2024-05-01T10:00:00Z"
        good = [{"id": 1, "at": at, "total": 9.99, "lines": [{"sku": "A"}]}, {"id": 2, "at": at, "total": None}]
        bad = [{"id": 0, "at": at}, {"at": at, "total": 1}, {"id": 3, "at": "today"}, {"id": 4, "at": at, "total": 0.001},
               {"id": 5, "at": at, "lines": []}, {"id": 6, "at": at, "lines": [{"sku": "a"}]}, {"id": 7, "at": None}]
        events, kept = self.path("orders.jsonl"), self.path("good.jsonl")
        with open(events, "w") as file:
            for row in [good[0], *bad, good[1]]:
                file.write(json.dumps(row) + "\n")
        report = program.run_pipeline(plan, {"orders": events}, {"good": kept})
        self.assertEqual((report["rows_in"], report["rows_out"], report["dead_letters"]), (9, 2, 7))
        with open(kept) as file:
            self.assertEqual([json.loads(line)["id"] for line in file], [1, 2])
        self.assertIn("total: decimal(18,2)", program.run("pipeline", "infer", schema).replace('"', ""))

        with open(schema, "w") as file:
            json.dump({**ORDERS_SCHEMA, "maxProps": 3}, file)
        with self.assertRaises(AssertionError) as refused:
            program.run("pipeline", "lint", plan)
        self.assertIn(f"{plan}:4:20: source 'orders': schema orders.schema.json: #/maxProps: the keyword 'maxProps' is "
                      "not checked here", str(refused.exception))

    def test_the_fraud_job_row_by_row(self):
        # Features, predictions and metrics of the whole handbook stream against a computation that shares nothing with
        # the program: windows by bisection over each customer's payments, a learner per partition in plain Python.
        events = self.path("transactions.jsonl")
        expected = self.expect_of_fraud_job(events)
        report = program.run_pipeline(FRAUD, {"transactions": events}, {"scored": self.path("scored.jsonl")})
        self.closes(report)
        self.assertEqual(report["rows_in"], 585055)
        self.assertEqual(report["rows_out"], 584456)
        self.assertEqual(report["filtered"], 15)
        self.assertEqual(report["dead_letters"], 584)

        judged, farthest = [], 0.0
        with open(self.path("scored.jsonl"), encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                features, score, label = expected.pop(row["id"])
                found = [row[name] for name in FEATURES]
                # Counts, and sums of cents, are exact; a mean is a quotient that may be rounded in another place.
                if found != features and not all(map(almost_equal, found, features)):
                    self.fail(f"{dict(zip(FEATURES, features))} expected, found {row}")
                farthest = max(farthest, abs(row["score"] - score))
                judged.append((score, label))
        self.assertEqual(expected, {}, "rows that were not scored")
        self.assertLess(farthest, 1e-9, "scores are not those that the same updates give")

        learner = report["models"][0]["metrics"]["learner"]
        independent = prequential.metrics(judged)
        self.assertEqual(learner["rows"], independent["rows"])
        self.assertEqual(learner["confusion"], independent["confusion"])
        for name in ("accuracy", "precision", "recall", "f1", "auc", "log_loss"):
            self.assertAlmostEqual(learner[name], independent[name], delta=1e-9, msg=name)
        # What River, Kafka Streams and Flink give for this job.
        self.assertEqual(round(learner["auc"], 10), 0.6617773304)

    def expect_of_fraud_job(self, events):
        """Writes the job's input; returns id -> (features, score, label) of the payments that are scored."""
        expected = {}
        payments = collections.defaultdict(Payments)
        partitions = {}
        learners = [prequential.ScaledLogisticRegression(len(FEATURES), 0.01) for _ in range(PARTITIONS)]
        with open(events, "w", encoding="utf-8") as file:
            for customer, value in program.handbook_events():
                file.write(value + "\n")
                try:
                    row = json.loads(value)
                except ValueError:
                    continue
                if row["TX_AMOUNT"] <= 0:
                    continue
                if customer not in partitions:
                    partitions[customer] = prequential.partition_of(customer, PARTITIONS)
                learner = learners[partitions[customer]]
                features = payments[customer].add(row["TX_TIME_SECONDS"], float(row["TX_AMOUNT"]))
                expected[row["TRANSACTION_ID"]] = features, learner.predict(features), row["TX_FRAUD"]
                learner.learn(features, row["TX_FRAUD"])
        return expected


if __name__ == "__main__":
    if not os.path.isdir(program.DATASETS):
        print(f"skipped: no data sets at {program.DATASETS}")
        sys.exit(77)
    unittest.main(verbosity=2)
