"""Runs over files against a server that goes on: over topics that have a past, and groups that have none any more."""

import json
import os
import subprocess
import tempfile
import unittest

import program

STATELESS = """
pipeline: %s
sources:
  tx: {columns: {id: varchar, n: bigint}, key: id, partitions: 2, auto_offset_reset: %s}
steps:
  - {id: even, from: tx, sql: "SELECT * FROM tx WHERE n %% 2 = 0"}
sinks: [{from: even, topic: even}]
"""

COUNTED = """
pipeline: counted
sources:
  tx: {columns: {id: varchar, at: bigint}, time: {column: at, format: unix_s}, key: id, partitions: 2}
steps:
  - {id: seen, features: {key: id, windows: [1h], aggs: {n: count(*)}}}
sinks: [{from: seen, topic: seen}]
"""

# The longest that anything here may take: what never ends is what these tests look for.
PATIENCE_S = 90


class Runs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = program.Server(self.folder)
        self.server.start()
        self.addCleanup(self.server.kill)

    def start(self, plan, rows):
        """Runs the plan over these rows."""
        for name, content in (("plan.yaml", plan), ("tx.jsonl", "".join(json.dumps(row) + "\n" for row in rows))):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(content)
        return subprocess.run([program.BINARY, "-o", "json", "--bootstrap", self.server.bootstrap, "pipeline", "run",
                               "plan.yaml", "--input", "tx=tx.jsonl"], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)

    def run_over(self, plan, rows):
        """Runs the plan over these rows; returns the report and what was said on the way."""
        done = self.start(plan, rows)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["pipelines"][0], done.stderr

    def test_a_second_run_ends_where_partitions_have_nothing_new(self):
        # All keys of the second run go to one partition; in the other the group is at the end already.
        plan = STATELESS % ("twice", "earliest")
        first, _ = self.run_over(plan, [{"id": f"k{i}", "n": i} for i in range(100)])
        self.assertEqual(first["rows_out"], 50)
        second, _ = self.run_over(plan, [{"id": "k0", "n": i} for i in range(10)])
        self.assertEqual((second["rows_in"], second["rows_out"]), (10, 5))
        self.assertEqual(len(self.server.consume("even")), 55)

    def test_a_run_ends_over_a_partition_whose_records_were_all_deleted(self):
        self.run_over(STATELESS % ("before", "earliest"), [{"id": f"k{i}", "n": i} for i in range(100)])
        self.server.command("topic", "delete-records", "tx", "--before", "latest", "--execute")
        report, _ = self.run_over(STATELESS % ("behind", "earliest"), [{"id": "k0", "n": i} for i in range(10)])
        self.assertEqual((report["rows_in"], report["rows_out"]), (10, 5))

    def test_a_run_from_the_latest_offset_has_nothing_to_do(self):
        report, _ = self.run_over(STATELESS % ("late", "latest"), [{"id": "k0", "n": i} for i in range(10)])
        self.assertEqual(report["rows_in"], 0)

    def test_a_plan_that_does_not_fit_its_state_ends_and_says_so(self):
        rows = [{"id": "k", "at": 1_600_000_000}]
        self.run_over(COUNTED, rows)
        done = self.start(COUNTED.replace("1h", "2h"), rows)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("holds state of steps that this plan no longer has, or defines otherwise", done.stderr)

    def test_a_pipeline_goes_on_from_its_state_though_its_group_was_deleted(self):
        rows = [{"id": f"k{i}", "at": 1_600_000_000 + i} for i in range(8)]
        for _ in range(4):
            self.run_over(COUNTED, rows)
        self.server.command("group", "delete", "counted", "--execute")
        for run in range(2):
            report, said = self.run_over(COUNTED, rows)
            self.assertNotIn("begins again", said)
            self.assertEqual(report["rows_in"], 8)
            counts = sorted(json.loads(row)["n_1h"] for row in self.server.consume("seen"))
            self.assertEqual(counts, sorted(n for n in range(5 + run) for _ in rows))


if __name__ == "__main__":
    unittest.main(verbosity=2)
