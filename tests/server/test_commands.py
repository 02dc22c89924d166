#!/usr/bin/env python3
"""The command line's verbs against a running server: test_commands.py MILLRACE_BINARY."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import test_server
from test_server import Server, millrace


class CommandsTest(unittest.TestCase):
    """One server for all; each test has topics and groups of its own."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.data = str(pathlib.Path(directory.name) / "data")
        cls.server = Server(cls.data)
        cls.addClassCleanup(cls.server.stop)
        cls.server.wait_started()

    def run_ok(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess:
        result = millrace(*arguments, data=self.data, text=text)
        self.assertEqual(result.returncode, 0, (arguments, result.stdout, result.stderr))
        return result

    def rows(self, *arguments: str) -> list[dict]:
        return json.loads(self.run_ok(*arguments, "--json").stdout)

    def fails(self, code: int, *arguments: str) -> str:
        result = millrace(*arguments, data=self.data)
        self.assertEqual((result.returncode, result.stdout), (code, ""), (arguments, result.stderr))
        return result.stderr

    def make(self, topic: str, partitions: int = 2, records: int = 10) -> None:
        """Ten records a key: where they lie is the same each time."""
        self.run_ok("topic", "create", topic, "-p", str(partitions))
        if records:
            self.run_ok("topic", "produce", topic, "-K", ":", text="".join(f"k{i}:{i}\n" for i in range(records)))

    def ends(self, topic: str, at: str = "latest") -> list[int]:
        return [row["offset"] for row in self.rows("topic", "offsets", topic, "--at", at)]

    def test_settings_of_topics_are_read_changed_and_fall_back(self):
        self.make("settings", records=0)
        self.run_ok("config", "set", "retention.ms=5000", "segment.bytes=2000000", "--topic", "settings")
        changed = {row["setting"]: row for row in self.rows("config", "list", "--topic", "settings", "--changed")}
        self.assertEqual({name: row["value"] for name, row in changed.items()},
                         {"retention.ms": "5000", "segment.bytes": "2000000"})
        self.assertEqual(changed["retention.ms"]["source"], "DYNAMIC_TOPIC_CONFIG")
        (one,) = self.rows("config", "get", "retention.ms", "--topic", "settings")
        self.assertEqual(one["synonyms"], "DYNAMIC_TOPIC_CONFIG retention.ms=5000, DEFAULT_CONFIG log.retention.ms=604800000")
        self.assertGreater(len(one["documentation"]), 20)
        self.run_ok("topic", "alter", "settings", "--unset", "retention.ms", "-c", "max.message.bytes=2000")
        self.run_ok("config", "unset", "segment.bytes", "--topic", "settings")
        self.assertEqual([row["setting"] for row in self.rows("config", "list", "--topic", "settings", "--changed")],
                         ["max.message.bytes"])

    def test_settings_of_the_broker_are_read_changed_and_fall_back(self):
        self.run_ok("config", "set", "log.retention.ms=7000000")
        (one,) = self.rows("config", "get", "log.retention.ms")
        self.assertEqual((one["value"], one["source"]), ("7000000", "DYNAMIC_BROKER_CONFIG"))
        self.run_ok("config", "unset", "log.retention.ms")
        (one,) = self.rows("config", "get", "log.retention.ms")
        self.assertEqual((one["value"], one["source"]), ("604800000", "DEFAULT_CONFIG"))

    def test_a_dry_run_changes_no_setting(self):
        self.make("dry", records=0)
        self.run_ok("config", "set", "retention.ms=5000", "--topic", "dry", "--dry-run")
        self.run_ok("topic", "add-partitions", "dry", "-p", "5", "--dry-run")
        self.assertEqual(self.rows("config", "list", "--topic", "dry", "--changed"), [])
        self.assertEqual(len(self.ends("dry")), 2)

    def test_a_setting_that_the_broker_refuses_is_named_in_its_words(self):
        self.make("refused", records=0)
        self.assertIn("'retention.mz'", self.fails(2, "config", "set", "retention.mz=1", "--topic", "refused"))
        self.assertIn("retention.ms", self.fails(2, "topic", "alter", "refused", "-c", "retention.ms=soon"))
        self.assertIn("NAME=VALUE", self.fails(2, "config", "set", "retention.ms", "--topic", "refused"))
        self.fails(3, "config", "list", "--topic", "absent")
        self.fails(3, "config", "get", "absent.setting")

    def test_a_topic_gets_more_partitions_but_not_fewer(self):
        self.make("growing")
        self.run_ok("topic", "add-partitions", "growing", "-p", "4")
        self.assertEqual(len(self.ends("growing")), 4)
        self.fails(2, "topic", "add-partitions", "growing", "-p", "3")
        self.fails(3, "topic", "add-partitions", "absent", "-p", "3")

    def test_records_are_deleted_only_when_told_to(self):
        self.make("clearing", partitions=1)
        self.assertIn("nothing deleted", self.run_ok("topic", "delete-records", "clearing:0", "--before", "4").stderr)
        self.assertEqual(self.ends("clearing", "earliest"), [0])
        (row,) = self.rows("topic", "delete-records", "clearing", "--before", "4", "--execute")
        self.assertEqual((row["begin"], row["new_begin"], row["end"], row["deleted"]), (0, 4, 10, 4))
        self.assertEqual(self.ends("clearing", "earliest"), [4])
        self.run_ok("topic", "delete-records", "clearing", "--before", "latest", "--execute")
        self.assertEqual(self.ends("clearing", "earliest"), [10])

    def test_offsets_are_found_by_time(self):
        self.make("times", partitions=1)
        self.assertEqual(self.ends("times", "2001-01-01"), [0])
        self.assertEqual(self.ends("times", "2999-01-01T00:00:00Z"), [10])
        self.fails(2, "topic", "offsets", "times", "--at", "yesterday")
        self.fails(3, "topic", "offsets", "times:7")

    def test_a_group_is_reset_only_when_told_to(self):
        self.make("reset")
        ends = self.ends("reset")
        plan = self.rows("group", "reset-offsets", "resetting", "--topic", "reset", "--to-latest")
        self.assertEqual([row["to"] for row in plan], ends)
        self.fails(3, "group", "describe", "resetting")

        def commit(*where: str) -> list[int]:
            self.run_ok("group", "reset-offsets", "resetting", *where, "--execute")
            return [row["committed"] for row in self.rows("group", "lag", "resetting")]

        self.assertEqual(commit("--topic", "reset", "--to-earliest"), [0, 0])
        self.assertEqual(commit("--all-topics", "--shift-by", "2"), [2, 2])
        self.assertEqual(commit("--all-topics", "--shift-by", "-5"), [0, 0])
        self.assertEqual(commit("--topic", "reset:1", "--to-offset", "3"), [0, 3])
        self.assertEqual(commit("--all-topics", "--to-current"), [0, 3])
        self.assertEqual(commit("--all-topics", "--to-datetime", "2999-01-01"), ends)
        self.assertEqual(commit("--all-topics", "--by-duration", "1h"), [0, 0])
        self.assertEqual(commit("--all-topics", "--to-offset", "1000000"), ends)
        self.assertEqual([row["to"] for row in self.rows("group", "reset-offsets", "other", "--topic", "reset",
                                                         "--from-group", "resetting")], ends)
        self.fails(2, "group", "reset-offsets", "resetting", "--all-topics")
        self.fails(2, "group", "reset-offsets", "resetting", "--all-topics", "--to-earliest", "--to-latest")
        self.fails(2, "group", "reset-offsets", "resetting", "--to-earliest")
        self.fails(3, "group", "reset-offsets", "resetting", "--topic", "absent", "--to-earliest")

    def test_groups_and_their_offsets_are_deleted_only_when_told_to(self):
        self.make("leaving")
        self.run_ok("group", "reset-offsets", "going", "--topic", "leaving", "--to-earliest", "--execute")
        self.run_ok("group", "delete-offsets", "going", "--topic", "leaving:1")
        self.assertEqual(len(self.rows("group", "lag", "going")), 2)
        self.run_ok("group", "delete-offsets", "going", "--topic", "leaving:1", "--execute")
        self.assertEqual([row["partition"] for row in self.rows("group", "lag", "going")], [0])
        self.run_ok("group", "delete", "going")
        self.assertIn("going", [row["group"] for row in self.rows("group", "list", "--state", "Empty")])
        self.run_ok("group", "delete", "going", "--execute")
        self.assertNotIn("going", [row["group"] for row in self.rows("group", "list")])
        self.fails(3, "group", "delete", "going", "--execute")

    def test_topics_are_listed_by_pattern_and_with_their_sizes(self):
        self.make("pattern.one")
        self.make("pattern.two", records=0)
        self.assertEqual([row["topic"] for row in self.rows("topic", "list", "pattern.*")], ["pattern.one", "pattern.two"])
        sizes = self.rows("log", "dirs", "pattern.one")
        self.assertEqual([row["partition"] for row in sizes], [0, 1])
        self.assertGreater(sum(row["bytes"] for row in sizes), 100)

    def test_producers_of_a_partition_are_listed(self):
        self.make("produced", partitions=1)
        (producer,) = self.rows("txn", "producers", "produced")
        self.assertEqual((producer["last_sequence"], producer["open_since_offset"]), (9, None))
        self.assertEqual(self.rows("txn", "hanging"), [])
        self.fails(3, "txn", "describe", "absent")
        self.fails(2, "txn", "abort")


if __name__ == "__main__":
    test_server.BINARY = sys.argv[1]
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        del os.environ[name]
    unittest.main(argv=sys.argv[:1], verbosity=2)
