"""Workers and the server are killed with SIGKILL in the middle of the fraud job, again and again: nothing is missing,
and what comes out is what comes out when nothing happens. Each kill that counts meets rows in flight."""

import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import unittest

import program
import raw_client

FRAUD = os.path.join(program.ROOT, "bench", "fraud.yaml")
ROWS = 120_000
PARTITIONS = 4
SLICE = 15_000  # fed at once
KILLS = 4
SEED = 20_260_101


class Crash(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.server = program.Server(self.folder.name)
        self.server.start()
        self.addCleanup(lambda: self.server.kill())
        self.workers = []
        self.addCleanup(lambda: [self.kill(worker) for worker in self.workers])
        self.random = random.Random(SEED)
        self.events = program.handbook_events(ROWS)
        for topic in ("transactions", "scored"):
            self.server.command("topic", "create", topic, "--partitions", str(PARTITIONS))

    @staticmethod
    def kill(worker):
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def start_worker(self):
        self.workers.append(self.server.worker(FRAUD))
        return self.workers[-1]

    def feed(self, rows=None):
        """The next rows, or all that are left, while the workers stand still: then they have something to do."""
        lines = "".join(f"{key}\t{value}\n" for key, value in itertools.islice(self.events, rows))
        self.assertNotEqual(lines, "", f"seed {SEED}: too few kills met rows in flight")
        with self.standstill():
            self.server.command("topic", "produce", "transactions", "-K", "\t", input=lines)

    @contextlib.contextmanager
    def standstill(self):
        for worker in self.workers:
            worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for worker in self.workers:
                worker.send_signal(signal.SIGCONT)

    def wait_until(self, condition, what, seconds=120):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                self.fail(f"seed {SEED}: {what}\n{self.state()}")
            time.sleep(0.1)
        return found

    def state(self):
        """What tells why the pipeline stands still."""
        group = self.server.command("group", "describe", "fraud")
        return f"workers that ended: {[worker.poll() for worker in self.workers]}\n{group}\n{self.worker_log()}"

    def feed_until_in_flight(self, partitions):
        """Feeds rows, and returns between two commits of some of them, a while after the workers began with them: output
        of these partitions appeared since a moment ago, and they have input that is not committed. Input and output
        have the same keys and number of partitions, so a row stays in its partition."""
        with raw_client.Connection(self.server.bootstrap) as broker:
            def written():
                ends = broker.ends("scored", PARTITIONS)
                return sum(ends[p] for p in partitions)

            def lag():
                committed, ends = broker.committed("fraud", "transactions", PARTITIONS), broker.ends("transactions", PARTITIONS)
                return sum(ends[p] - committed[p] for p in partitions)

            while True:
                last = written()
                enough = last + self.random.randrange(1, SLICE // 4)
                self.feed(SLICE)
                deadline = time.monotonic() + 60
                while lag() > 0:
                    before, last = last, written()
                    if before < last and last >= enough:
                        return
                    self.assertLess(time.monotonic(), deadline, f"the workers stand still: {self.worker_log()}")
                    time.sleep(0.001)

    def worker_log(self):
        with open(os.path.join(self.folder.name, "worker.log"), encoding="utf-8") as log:
            return log.read()[-2000:]

    def owners(self):
        """partition -> the member that has it, as of the group's last generation."""
        if "fraud" not in [group["group"] for group in json.loads(self.server.command("-o", "json", "group", "list"))]:
            return {}
        rows = json.loads(self.server.command("-o", "json", "group", "describe", "fraud"))
        return {row["partition"]: row["member"] for row in rows if row["topic"] == "transactions" and row["member"]}

    def wait_for_member(self, before, count):
        """Until `count` members share the partitions, and none but one of them has been there `before`: its name."""
        def settled():
            owners = self.owners()
            new = set(owners.values()) - before
            return new.pop() if len(owners) == PARTITIONS and len(set(owners.values())) == count and len(new) == 1 else None

        return self.wait_until(settled, "the group does not settle")

    def finish(self):
        """Runs until the group has no lag."""
        self.feed()
        self.wait_until(lambda: self.server.lag("fraud", PARTITIONS) == 0, "the pipeline does not come to its end", 240)

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
        self.scored = len(expected)
        self.assertEqual(set(rows), set(expected), f"seed {SEED}: rows are missing, or were made up")
        differing = [key for key in expected if rows[key] != expected[key]]
        self.assertEqual(differing, [], f"seed {SEED}: features or scores differ")

    def test_killed_workers(self):
        names = {}  # of each worker, the dead too, in the group
        for count in (1, 2):
            worker = self.start_worker()
            names[worker] = self.wait_for_member(set(names.values()), count)
        for _ in range(KILLS):
            victim = self.random.choice(self.workers)
            partitions = [partition for partition, owner in self.owners().items() if owner == names[victim]]
            self.feed_until_in_flight(partitions)
            self.kill(victim)
            self.workers.remove(victim)
            worker = self.start_worker()
            names[worker] = self.wait_for_member(set(names.values()), 2)

        # And some at any moment, which may be one in which the group is dealing out its partitions.
        self.feed(SLICE)
        for _ in range(3):
            victim = self.workers.pop(0)
            time.sleep(self.random.uniform(0, 1))
            self.kill(victim)
            self.start_worker()
        self.finish()
        self.check()
        with raw_client.Connection(self.server.bootstrap) as broker:
            repeated = sum(broker.ends("scored", PARTITIONS).values()) - self.scored
        # Output that was there and not committed when its worker died came again.
        self.assertGreater(repeated, 0)

    def test_killed_server(self):
        self.start_worker()
        self.wait_for_member(set(), 1)
        for _ in range(KILLS):
            self.feed_until_in_flight(range(PARTITIONS))
            self.server.kill()
            self.server.start()
        self.finish()
        self.check()

    def test_a_group_behind_its_state(self):
        """What a worker leaves that dies between the two, or that commits while the group deals out its partitions."""
        worker = self.start_worker()
        self.wait_for_member(set(), 1)
        self.feed(SLICE)
        self.wait_until(lambda: self.server.lag("fraud", PARTITIONS) == 0, "the pipeline does not come to its end")
        worker.terminate()
        worker.wait()
        with raw_client.Connection(self.server.bootstrap) as broker:
            before = broker.ends("scored", PARTITIONS)
            self.server.command("group", "reset-offsets", "fraud", "--topic", "transactions", "--to-earliest", "--execute")
            self.assertGreater(self.server.lag("fraud", PARTITIONS), 0)
            self.start_worker()
            self.wait_until(lambda: self.server.lag("fraud", PARTITIONS) == 0, "the group does not hear of the state")
            self.assertEqual(broker.ends("scored", PARTITIONS), before)


if __name__ == "__main__":
    if not os.path.exists(program.HANDBOOK):
        print(f"skipped: no data sets at {program.DATASETS}")
        sys.exit(77)
    unittest.main(verbosity=2)
