"""Workers and the server are killed with SIGKILL in the middle of the fraud job, again and again: nothing is missing,
and what comes out is what comes out when nothing happens."""

import json
import os
import random
import signal
import sys
import tempfile
import time
import unittest

import program

FRAUD = os.path.join(program.ROOT, "bench", "fraud.yaml")
ROWS = 120_000
PARTITIONS = 4
SEED = 20_260_101


class Crash(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.server = program.Server(self.folder.name)
        self.server.start()
        self.addCleanup(lambda: self.server.kill())
        self.random = random.Random(SEED)
        lines = "".join(f"{key}\t{value}\n" for key, value in program.handbook_events(ROWS))
        self.server.command("topic", "create", "transactions", "--partitions", str(PARTITIONS))
        self.server.command("topic", "produce", "transactions", "-K", "\t", input=lines)

    def run_to_end(self, workers, disturb):
        """Runs until the group has no lag, calling `disturb` now and then until it returns False."""
        deadline = time.monotonic() + 240
        disturbing = True
        try:
            while True:
                self.assertLess(time.monotonic(), deadline, "the pipeline does not come to its end")
                if disturbing:
                    time.sleep(self.random.uniform(0.2, 1.5))
                    disturbing = disturb(workers)
                elif self.server.lag("fraud", PARTITIONS) == 0:
                    return
                else:
                    time.sleep(0.2)
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGKILL)
                worker.wait()

    def outputs(self, topic):
        """id -> the set of what was written for it."""
        rows = {}
        for value in self.server.consume(topic):
            row = json.loads(value) if isinstance(value, str) else value
            rows.setdefault(row["id"], set()).add(json.dumps(row, sort_keys=True))
        return rows

    def reference(self):
        path = os.path.join(self.folder.name, "events.jsonl")
        out = os.path.join(self.folder.name, "reference.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for _, value in program.handbook_events(ROWS):
                file.write(value + "\n")
        program.run_pipeline(FRAUD, {"transactions": path}, {"scored": out})
        with open(out, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return {row["id"]: {json.dumps(row, sort_keys=True)} for row in rows}

    def check(self):
        expected = self.reference()
        rows = self.outputs("scored")
        self.assertEqual(set(rows), set(expected), f"seed {SEED}: rows are missing, or were made up")
        differing = [key for key in expected if rows[key] != expected[key]]
        self.assertEqual(differing, [], f"seed {SEED}: features or scores differ")

    def test_killed_workers(self):
        kills = 8

        def disturb(workers):
            nonlocal kills
            victim = self.random.randrange(len(workers))
            workers[victim].send_signal(signal.SIGKILL)
            workers[victim].wait()
            workers[victim] = self.server.worker(FRAUD)
            kills -= 1
            return kills > 0

        self.run_to_end([self.server.worker(FRAUD), self.server.worker(FRAUD)], disturb)
        self.check()

    def test_killed_server(self):
        kills = 4

        def disturb(_):
            nonlocal kills
            self.server.kill()
            self.server.start()
            kills -= 1
            return kills > 0

        self.run_to_end([self.server.worker(FRAUD)], disturb)
        self.check()


if __name__ == "__main__":
    if not os.path.exists(program.HANDBOOK):
        print(f"skipped: no data sets at {program.DATASETS}")
        sys.exit(77)
    unittest.main(verbosity=2)
