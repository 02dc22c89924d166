#!/usr/bin/env python3
"""Topics copied from one server to another: test_copy.py MILLRACE_BINARY."""

import json
import os
import signal
import subprocess
import sys
import unittest

import test_server
from test_doctor import Folder
from test_server import millrace


class CopyTest(Folder):
    def setUp(self):
        super().setUp()
        self.other = str(self.dir / "other")
        self.source, self.destination = self.start(), self.start(self.other)
        self.to = f"127.0.0.1:{self.destination.kafka}"

    def copy(self, *more: str) -> list[dict]:
        return json.loads(self.run_ok("topic", "copy", "t", "--to", self.to, "--json", *more).stdout.splitlines()[0])

    def records(self, data: str) -> list[dict]:
        text = self.run_ok("topic", "consume", "t", "--json", data=data).stdout
        return sorted((json.loads(line) for line in text.splitlines()), key=lambda row: (row["partition"], row["offset"]))

    def contents(self, data: str) -> list[tuple]:
        return [(row["partition"], row["timestamp"], row["key"], row["headers"], row["value"]) for row in self.records(data)]

    def test_a_copy_has_the_same_partitions_settings_and_records_and_goes_on(self):
        self.fill()
        self.run_ok("topic", "alter", "t", "-c", "max.message.bytes=50000")
        self.assertEqual(sum(row["copied"] for row in self.copy()), 100)
        self.assertEqual(self.contents(self.data), self.contents(self.other))
        changed = self.rows("config", "list", "--topic", "t", "--changed", data=self.other)
        self.assertEqual([(row["setting"], row["value"]) for row in changed], [("max.message.bytes", "50000")])
        self.assertEqual(sum(row["copied"] for row in self.copy()), 0)
        self.run_ok("topic", "produce", "t", text="one more\n")
        self.assertEqual(sum(row["copied"] for row in self.copy()), 1)
        self.assertEqual(self.contents(self.data), self.contents(self.other))

    def test_groups_go_on_at_the_record_where_they_were(self):
        self.fill()
        self.run_ok("topic", "delete-records", "t", "--before", "10", "--execute")
        self.run_ok("group", "reset-offsets", "g", "--topic", "t", "--to-offset", "25", "--execute")
        self.copy("--groups", "g")

        def next_values(data: str) -> list[str]:
            committed = {row["partition"]: row["committed"] for row in self.rows("group", "lag", "g", data=data)}
            return [next(row["value"] for row in self.records(data)
                         if row["partition"] == partition and row["offset"] >= offset)
                    for partition, offset in sorted(committed.items())]

        self.assertEqual([row["committed"] for row in self.rows("group", "lag", "g", data=self.other)], [15, 15])
        self.assertEqual(next_values(self.data), next_values(self.other))

    def test_a_topic_that_holds_something_else_is_refused(self):
        self.fill()
        self.fill(data=self.other)
        result = millrace("topic", "copy", "t", "--to", self.to, data=self.data)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("not copied from here", result.stderr)

    def test_a_copy_that_was_killed_neither_loses_nor_repeats_records(self):
        def copied() -> int:
            return sum(row["records"] for row in self.rows("topic", "list", data=self.other))

        rows, killed_midway = 0, 0
        for _ in range(12):
            rows += 60_000
            self.fill(records=60_000) if rows == 60_000 else self.produce(60_000)
            before = copied()
            running = subprocess.Popen([test_server.BINARY, "topic", "copy", "t", "--to", self.to, "--data", self.data],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while running.poll() is None and copied() == before:
                pass
            # Only a kill between the first record and the last one tells anything; stopped, it cannot come to the last.
            running.send_signal(signal.SIGSTOP)
            killed_midway += before < copied() < rows
            running.kill()
            running.wait()
            if killed_midway == 3:
                break
        self.assertGreater(killed_midway, 0, "every copy was over before it could be killed")
        self.copy()
        self.assertEqual(self.contents(self.data), self.contents(self.other))

    def test_following_copies_what_comes_until_it_is_told_to_stop(self):
        self.fill(records=10)
        running = subprocess.Popen([test_server.BINARY, "topic", "copy", "t", "--to", self.to, "--data", self.data, "--follow"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.run_ok("topic", "produce", "t", text="later\n")
        follower = subprocess.Popen([test_server.BINARY, "topic", "consume", "t", "--follow", "--data", self.other],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for end in (follower.stdout.close, follower.wait, follower.kill):
            self.addCleanup(end)
        seen = 0
        while seen < 11 and follower.stdout.readline():
            seen += 1
        running.send_signal(signal.SIGINT)
        _, notes = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 0, notes)
        self.assertEqual(self.contents(self.data), self.contents(self.other))


if __name__ == "__main__":
    test_server.BINARY = sys.argv[1]
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        del os.environ[name]
    unittest.main(argv=sys.argv[:1], verbosity=2)
