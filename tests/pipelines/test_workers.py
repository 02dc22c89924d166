"""A model whose partitions are spread over several workers: its versions, and what they score, are those of one worker,
also when workers are killed while they are made."""

import json
import os
import random
import signal
import tempfile
import time
import unittest

import program

PARTITIONS = 4
CARDS = 40
ROWS = 12_000
START = 1_600_000_200  # a multiple of ten minutes
STEP = 600
BOUNDARIES = 12
SEED = 20_260_102

# Each partition's watermark passes each boundary, and waits there for the version: what is scored is a function of the
# input alone.
PLAN = f"""
pipeline: spread
defaults: {{commit: 100ms}}
sources:
  tx:
    columns: {{id: bigint, card: bigint, at: bigint, amount: double, hour: double, fraud: bigint}}
    time: {{column: at, format: unix_s}}
    watermark: 20s
    key: card
    partitions: {PARTITIONS}
steps:
  - {{id: scored, from: tx, predict: {{model: spread@champion, as: p, version: event_time}}}}
  - {{id: truth, label: {{of: self, delay: 2m}}}}
  - id: fit
    train:
      model: spread
      algorithm: logistic_regression
      label: fraud
      features: [amount, hour]
      preprocess: [{{columns: numeric, scale: standard}}]
      register: {{every: {STEP}s}}
      promote: always
sinks:
  - {{from: scored, topic: scored, key: card}}
"""


def events():
    """Payments in the order of their time; behind them, one a card at the last boundary, so that every partition comes
    to it."""
    chance = random.Random(SEED)
    end = START + BOUNDARIES * STEP
    for number in range(ROWS):
        at = START + 30 + number * (end - START - 60) // ROWS
        amount = round(chance.uniform(1, 100), 2)
        yield {"id": number, "card": chance.randrange(CARDS), "at": at, "amount": amount, "hour": at // 3600 % 24,
               "fraud": int(amount > 70 and chance.random() < 0.8)}
    for card in range(CARDS):
        yield {"id": ROWS + card, "card": card, "at": end + 20, "amount": 1.0, "hour": 0, "fraud": 0}


class Workers(unittest.TestCase):
    def run_workers(self, number, kills=0):
        """Runs so many workers until all is registered and scored, and kills one of them so often behind a part of the
        events; returns versions and scored rows."""
        chance = random.Random(SEED)
        rows = list(events())
        part = -(-len(rows) // (kills + 1))
        with tempfile.TemporaryDirectory() as folder:
            plan = os.path.join(folder, "spread.yaml")
            with open(plan, "w", encoding="utf-8") as file:
                file.write(PLAN)
            server = program.Server(folder)
            server.start()
            workers = []
            try:
                server.command("topic", "create", "tx", "--partitions", str(PARTITIONS))
                workers += [server.worker(plan, f"worker{i}.log") for i in range(number)]
                for begin in range(0, len(rows), part):
                    if begin > 0:
                        time.sleep(chance.uniform(0.1, 1.5))
                        victim = chance.randrange(number)
                        workers[victim].send_signal(signal.SIGKILL)
                        workers[victim].wait()
                        workers[victim] = server.worker(plan, f"worker{victim}.log")
                    self.produce(server, rows[begin:begin + part])
                self.wait_until_done(server, workers)
                versions = [json.loads(server.command("model", "show", "spread", str(version)))
                            for version in range(1, BOUNDARIES + 1)]
                return versions, self.scored(server)
            finally:
                for worker in workers:
                    worker.send_signal(signal.SIGKILL)
                    worker.wait()
                server.kill()

    @staticmethod
    def produce(server, rows):
        lines = "".join(f"{row['card']}\t{json.dumps(row)}\n" for row in rows)
        server.command("topic", "produce", "tx", "-K", "\t", input=lines)

    def wait_until_done(self, server, workers):
        deadline = time.monotonic() + 200
        while "spread" not in server.command("group", "list") or server.lag("spread", PARTITIONS) != 0:
            self.assertLess(time.monotonic(), deadline, "the workers do not come to the end")
            for worker in workers:
                self.assertIsNone(worker.poll(), "a worker ended")
            time.sleep(0.2)

    def test_a_partition_without_news_holds_nothing_up_for_ever(self):
        with tempfile.TemporaryDirectory() as folder:
            plan = os.path.join(folder, "spread.yaml")
            with open(plan, "w", encoding="utf-8") as file:
                file.write(PLAN.replace("key: card", "key: card\n    idle: 2s", 1))
            server = program.Server(folder)
            server.start()
            workers = []
            try:
                # All of one card: three partitions stay empty.
                server.command("topic", "create", "tx", "--partitions", str(PARTITIONS))
                self.produce(server, [{**row, "card": 7} for row in events() if row["id"] % 10 == 0])
                workers += [server.worker(plan, f"worker{i}.log") for i in range(2)]
                deadline = time.monotonic() + 100
                while f"spread/{BOUNDARIES}" not in self.registered(server):
                    self.assertLess(time.monotonic(), deadline, "an empty partition holds up the versions")
                    time.sleep(0.2)
                last = json.loads(server.command("model", "show", "spread", str(BOUNDARIES)))
                self.assertEqual(len(last["learned"]), 1)
            finally:
                for worker in workers:
                    worker.send_signal(signal.SIGKILL)
                    worker.wait()
                server.kill()

    @staticmethod
    def registered(server):
        """MODEL/VERSION of the newest version of each model."""
        listed = json.loads(server.command("-o", "json", "model", "list") or "[]")
        return {f"{row['model']}/{row['newest']}" for row in listed}

    @staticmethod
    def scored(server):
        rows = {}
        for value in server.consume("scored"):
            row = json.loads(value) if isinstance(value, str) else value
            rows.setdefault(row["id"], set()).add(json.dumps(row, sort_keys=True))
        return rows

    def expect_same(self, found, expected):
        for mine, other in zip(found[0], expected[0]):
            for name in mine.keys() - {"created_at_us"}:
                self.assertEqual(mine[name], other[name], f"version {mine['version']}: {name}")
        self.assertEqual(len(found[0]), BOUNDARIES)
        self.assertEqual(found[1], expected[1])

    def test_two_workers_make_the_versions_of_one(self):
        one = self.run_workers(1)
        self.assertEqual(len(one[1]), ROWS + CARDS)
        self.assertEqual({len(lines) for lines in one[1].values()}, {1})
        last = one[0][-1]
        self.assertEqual(len(last["learned"]), PARTITIONS)
        self.assertEqual(last["round"]["boundary"], (START + BOUNDARIES * STEP) * 1_000_000)
        self.assertGreater(last["metrics"]["learner"]["auc"], 0.8)
        versions = {json.loads(line)["p_version"] for lines in one[1].values() for line in lines}
        self.assertEqual(versions, set(range(BOUNDARIES + 1)))
        self.expect_same(self.run_workers(2), one)

        self.expect_same(self.run_workers(2, kills=3), one)


if __name__ == "__main__":
    unittest.main(verbosity=2)
