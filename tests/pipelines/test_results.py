"""Published numbers, and every row's features against an independent computation."""

import collections
import json
import os
import sys
import tempfile
import unittest

import program

FRAUD = os.path.join(program.ROOT, "bench", "fraud.yaml")
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

ELEC2 = """
pipeline: elec2
sources:
  prices:
    format: csv
    columns: {date: double, day: bigint, period: double, nswprice: double, nswdemand: double, vicprice: double,
              vicdemand: double, transfer: double, class: varchar}
steps:
  - {id: rows, sql: "SELECT * EXCLUDE (class), CASE class WHEN 'UP' THEN 1 ELSE 0 END AS up FROM prices"}
  - {id: later, label: {of: self, delay: %d rows}}
  - {id: fit, train: {model: elec2, algorithm: logistic_regression, params: {learning_rate: 0.01}, label: up,
                      features: ["*"], %s}}
"""


def auc(pairs):
    """ROC AUC of (score, label) pairs by ranks; equal scores count half."""
    pairs = sorted(pairs)
    rank_sum, positives, at = 0.0, 0, 0
    while at < len(pairs):
        end = at
        while end < len(pairs) and pairs[end][0] == pairs[at][0]:
            end += 1
        here = sum(label for _, label in pairs[at:end])
        rank_sum += here * (at + 1 + end) / 2
        positives += here
        at = end
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(pairs) - positives))


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

    def test_the_fraud_job_row_by_row(self):
        events = self.path("transactions.jsonl")
        labels = {}
        expected = {}
        history = collections.defaultdict(list)
        with open(events, "w", encoding="utf-8") as file:
            for _, value in program.handbook_events():
                file.write(value + "\n")
                try:
                    row = json.loads(value)
                except ValueError:
                    continue
                if row["TX_AMOUNT"] <= 0:
                    continue
                labels[row["TRANSACTION_ID"]] = row["TX_FRAUD"]
                expected[row["TRANSACTION_ID"]] = self.windows(history[row["CUSTOMER_ID"]], row)
        report = program.run_pipeline(FRAUD, {"transactions": events}, {"scored": self.path("scored.jsonl")})
        self.closes(report)
        self.assertEqual(report["rows_in"], 585055)
        self.assertEqual(report["rows_out"], 584456)
        self.assertEqual(report["filtered"], 15)
        self.assertEqual(report["dead_letters"], 584)
        pairs = []
        with open(self.path("scored.jsonl"), encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                number, total = [], []
                for window in ("1d", "7d", "30d"):
                    number.append(row["n_" + window])
                    total.append(round(row["s_" + window] * 100))
                    mean = row["s_" + window] / row["n_" + window] if row["n_" + window] else 0
                    self.assertAlmostEqual(row["a_" + window], mean, places=9)
                self.assertEqual((number, total), expected.pop(row["id"]), row)
                pairs.append((row["score"], labels[row["id"]]))
        self.assertEqual(expected, {}, "rows that were not scored")
        self.assertEqual(round(auc(pairs), 10), 0.6617773304)
        learner = report["models"][0]["metrics"]["learner"]
        self.assertAlmostEqual(learner["auc"], auc(pairs), delta=1e-9)

    @staticmethod
    def windows(history, row):
        """Numbers and sums (in cents) of the customer's payments in the 1, 7 and 30 days before."""
        now = row["TX_TIME_SECONDS"]
        while history and history[0][0] <= now - 30 * 86400:
            history.pop(0)
        number, total = [], []
        for days in (1, 7, 30):
            inside = [cents for time, cents in history if time > now - days * 86400]
            number.append(len(inside))
            total.append(sum(inside))
        history.append((now, int(row["TX_AMOUNT"] * 100 + 0.5)))
        return number, total


if __name__ == "__main__":
    if not os.path.isdir(program.DATASETS):
        print(f"skipped: no data sets at {program.DATASETS}")
        sys.exit(77)
    unittest.main(verbosity=2)
