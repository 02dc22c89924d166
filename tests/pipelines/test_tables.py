"""Table sinks with the real broker: the server is killed with SIGKILL while it loads its tables, again and again, and each
record of a table's topic is in the table exactly once."""

import collections
import json
import os
import random
import tempfile
import time
import unittest

import program

ROWS = 300_000
CUSTOMERS = 3_000
PARTITIONS = 4
KILLS = 3
SEED = 20_260_102

PIPELINE = """
pipeline: shop
sources:
  payments:
    topic: payments
    columns: {id: bigint, customer: varchar, cents: bigint}
    key: customer
steps:
  - {id: paid, sql: "SELECT id, customer, cents FROM payments WHERE cents > 0"}
sinks:
  - {id: all, from: paid, table: payments, topic: paid.all, key: customer}
  - {id: last, from: paid, table: last_payments, topic: paid.last, mode: upsert, key: customer}
"""


def payments():
    """(id, customer, cents) of each; no two alike."""
    return ((i, f"c{i * 7919 % CUSTOMERS}", i * 31 % 10_007 - 7) for i in range(ROWS))


class Tables(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.random = random.Random(SEED)
        self.server = program.Server(self.folder.name)
        self.server.start()
        self.addCleanup(lambda: self.server.kill())

    def restart_with_pipeline(self):
        self.server.kill()
        for name, content in (("shop.yaml", PIPELINE), ("millrace.yaml", "pipelines: [shop.yaml]\n")):
            with open(os.path.join(self.folder.name, name), "w", encoding="utf-8") as file:
                file.write(content)
        self.server.config = os.path.join(self.folder.name, "millrace.yaml")
        self.server.start()

    def rows_in(self, table):
        """0 while the server does not answer yet, or the table is not there."""
        try:
            [[count]] = self.server.sql(f"SELECT count(*) FROM {table}")
            return count
        except OSError:
            return 0

    def wait_until(self, condition, what):
        deadline = time.monotonic() + 120
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"seed {SEED}: {what}")
            time.sleep(0.002)

    def load_until(self, rows):
        """Until the table has so many rows; returns how many it has then."""
        count = 0

        def enough():
            nonlocal count
            count = self.rows_in("payments")
            return count >= rows

        self.wait_until(enough, "the table does not fill")
        return count

    def topic(self, name):
        """(partition, offset, row) of every record."""
        for line in self.server.command("-o", "json", "topic", "consume", name).splitlines():
            record = json.loads(line)
            row = json.loads(record["value"]) if isinstance(record["value"], str) else record["value"]
            yield record["partition"], int(record["offset"]), (row["id"], row["customer"], row["cents"])

    def table(self, name):
        return [tuple(row) for row in self.server.sql(f"SELECT id, customer, cents FROM {name}")]

    def test_each_record_is_in_its_table_once_though_the_server_is_killed(self):
        self.server.command("topic", "create", "payments", "--partitions", str(PARTITIONS))
        lines = (f'{customer}\t{{"id":{i},"customer":"{customer}","cents":{cents}}}\n' for i, customer, cents in payments())
        self.server.command("topic", "produce", "payments", "-K", "\t", input="".join(lines))
        expected = {row for row in payments() if row[2] > 0}

        self.restart_with_pipeline()
        loaded = [0]
        for _ in range(KILLS):
            loaded.append(self.load_until(min(loaded[-1] + self.random.randrange(1, ROWS // 30), len(expected))))
            self.server.kill()
            self.server.start()
        self.assertLess(loaded[1], len(expected), f"seed {SEED}: each kill came when everything was loaded")

        self.wait_until(lambda: self.server.lag("shop", PARTITIONS) == 0, "the pipeline does not come to its end")
        for table, topic in (("payments", "paid.all"), ("last_payments", "paid.last")):
            self.wait_until(lambda: self.lag_of(table, topic) == 0, f"{table} does not come to its end")

        records = list(self.topic("paid.all"))
        # At least once up to the topic, and each of its records once in the table.
        self.assertEqual({row for _, _, row in records}, expected)
        self.assertEqual(collections.Counter(self.table("payments")), collections.Counter(row for _, _, row in records))
        newest = {row[1]: row for _, _, row in sorted(self.topic("paid.last"))}
        self.assertEqual(sorted(self.table("last_payments")), sorted(newest.values()))
        self.assertEqual(len(newest), CUSTOMERS)

    def lag_of(self, table, topic):
        """Records of the topic that the table does not have yet."""
        ends = self.server.sql(f"SELECT coalesce(sum(n), 0) FROM (SELECT max(_offset) + 1 AS n FROM topic('{topic}') GROUP BY _partition)")
        carried = self.server.sql(f"SELECT coalesce(sum(next_offset), 0) FROM _offsets WHERE name = '{table}'")
        return int(ends[0][0]) - int(carried[0][0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
