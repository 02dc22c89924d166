#!/usr/bin/env python3
"""Looking at a data folder and at a running server: test_doctor.py MILLRACE_BINARY."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import test_server
from ports import free_port  # where test_server.py looks for it
from test_server import Server, millrace


class Folder(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.data = str(self.dir / "data")

    def start(self, data: str | None = None, *more: str) -> Server:
        server = Server(data or self.data, *more)
        self.addCleanup(server.stop)
        server.wait_started()
        return server

    def run_ok(self, *arguments: str, data: str | None = None, text: str | None = None) -> subprocess.CompletedProcess:
        result = millrace(*arguments, data=data or self.data, text=text)
        self.assertEqual(result.returncode, 0, (arguments, result.stdout, result.stderr))
        return result

    def rows(self, *arguments: str, data: str | None = None) -> list[dict]:
        return json.loads(self.run_ok(*arguments, "--json", data=data).stdout)

    def lines(self, *arguments: str) -> list[dict]:
        return [json.loads(line) for line in self.run_ok(*arguments, "--json").stdout.splitlines()]

    def fill(self, topic: str = "t", records: int = 100, data: str | None = None) -> None:
        self.run_ok("topic", "create", topic, "-p", "2", data=data)
        self.produce(records, topic, data)

    def produce(self, records: int, topic: str = "t", data: str | None = None) -> None:
        self.run_ok("topic", "produce", topic, "-K", ":", data=data, text="".join(f"k{i}:value {i}\n" for i in range(records)))

    def diagnose(self, code: int, *arguments: str) -> dict:
        result = millrace("doctor", "--json", *arguments, data=self.data)
        self.assertEqual(result.returncode, code, (result.stdout, result.stderr))
        return json.loads(result.stdout)


class DoctorTest(Folder):
    def test_a_healthy_folder_and_a_healthy_server_are_said_to_be_well(self):
        server = self.start()
        self.fill()
        self.run_ok("group", "reset-offsets", "g", "--topic", "t", "--to-earliest", "--execute")
        report = self.diagnose(0, "--server")
        self.assertTrue(report["ok"], report)
        self.assertEqual([(row["group"], row["lag"]) for row in report["overview"]], [("g", 100)])
        said = " ".join(finding["what"] for finding in report["findings"])
        self.assertIn("files are open", said)
        self.assertIn("GB are free", said)
        self.assertIn("runs version ", said)
        self.assertIn("its clock and this machine's agree", said)
        server.stop()
        report = self.diagnose(0, "--records")
        self.assertTrue(report["ok"], report)
        parts = [row for row in report["overview"] if row["topic"] == "t"]
        self.assertEqual(sum(row["records"] for row in parts), 100)
        self.assertEqual([finding for finding in report["findings"] if finding["severity"] != "note"], [])

    def test_a_folder_in_use_is_left_alone_and_the_server_pointed_to(self):
        self.start()
        result = millrace("doctor", data=self.data)
        self.assertEqual(result.returncode, 4)
        self.assertIn("millrace doctor --server", result.stderr)

    def test_damage_is_named_with_file_and_byte_and_exit_status_1(self):
        server = self.start()
        self.fill()
        server.stop()
        (log,) = (pathlib.Path(self.data) / "topics" / "t-0").glob("*.log")
        before = bytearray(log.read_bytes())
        before[-3] ^= 1
        log.write_bytes(before)
        report = self.diagnose(1)
        (problem,) = [finding for finding in report["findings"] if finding["severity"] == "problem"]
        self.assertTrue(problem["where"].startswith(f"{log} at byte "), problem)
        self.assertIn("checksum", problem["what"])
        self.assertTrue(problem["try"])
        self.assertEqual(millrace("log", "verify", "t-0", data=self.data).returncode, 1)
        self.assertEqual(millrace("log", "verify", "t-1", data=self.data).returncode, 0)
        self.assertEqual(millrace("log", "verify", "absent", data=self.data).returncode, 3)

    def test_what_a_killed_server_left_is_no_damage(self):
        server = self.start()
        self.fill()
        server.stop(signal.SIGKILL)
        report = self.diagnose(0)
        self.assertEqual([finding for finding in report["findings"] if finding["severity"] != "note"], [])
        self.assertEqual(sum(row["end"] for row in report["overview"] if row["topic"] == "t"), 100)

    def test_a_server_elsewhere_tells_its_version_where_its_http_address_is_given(self):
        server = self.start()
        elsewhere = ("--bootstrap", f"127.0.0.1:{server.kafka}")
        known = [finding["what"] for finding in self.diagnose(0, *elsewhere, "--http", f"127.0.0.1:{server.http}")["findings"]]
        self.assertTrue(any(what.startswith("runs version ") for what in known), known)
        self.assertFalse(any("files are open" in what for what in known), known)
        unknown = self.diagnose(0, *elsewhere)["findings"]
        self.assertTrue(any("--http" in finding["try"] for finding in unknown), unknown)
        absent = self.diagnose(0, *elsewhere, "--http", f"127.0.0.1:{free_port()}")["findings"]
        self.assertTrue(any("does not show its metrics" in finding["what"] for finding in absent), absent)

    def test_a_folder_that_is_named_goes_over_the_environments_broker(self):
        self.start().stop()
        elsewhere = {**os.environ, "MILLRACE_BOOTSTRAP": f"127.0.0.1:{free_port()}"}
        named = subprocess.run([test_server.BINARY, "doctor", "--data", self.data], capture_output=True, text=True, env=elsewhere)
        self.assertEqual(named.returncode, 0, named.stderr)
        self.assertIn(f"data folder {self.data}", named.stderr)
        unnamed = subprocess.run([test_server.BINARY, "doctor"], capture_output=True, text=True,
                                 env={**elsewhere, "MILLRACE_DATA": self.data})
        self.assertEqual(unnamed.returncode, 5, unnamed.stderr)
        both = millrace("doctor", "--bootstrap", elsewhere["MILLRACE_BOOTSTRAP"], data=self.data)
        self.assertEqual(both.returncode, 5, both.stderr)

    def test_flags_that_make_no_sense_are_refused_in_one_sentence(self):
        for flags, said in ((("--http", "nonsense"), "'nonsense' is not HOST:PORT"),
                            (("--server", "--records"), "--records is for data folders")):
            result = millrace("doctor", *flags, data=self.data)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(said, result.stderr)
            self.assertLessEqual(len(result.stderr.splitlines()), 3)

    def test_no_data_folder_is_not_found_and_an_absent_server_unreachable(self):
        self.assertEqual(millrace("doctor", data=self.data).returncode, 3)
        port = free_port()
        self.assertEqual(millrace("doctor", "--bootstrap", f"127.0.0.1:{port}", data=self.data).returncode, 5)


class DumpTest(Folder):
    def test_batches_records_and_indexes_are_shown_without_a_server(self):
        server = self.start()
        self.fill()
        self.run_ok("group", "reset-offsets", "dumped", "--topic", "t", "--to-latest", "--execute")
        server.stop()
        batches = self.lines("log", "dump", "t-0")
        self.assertEqual(batches[0]["position"], 0)
        self.assertTrue(all(batch["crc_ok"] and batch["kind"] == "data" for batch in batches))
        records = self.lines("log", "dump", "--records", "t-0", "t-1")
        self.assertEqual(sorted(record["value"] for record in records), sorted(f"value {i}" for i in range(100)))
        self.assertEqual([record["offset"] for record in self.lines("log", "dump", "--records", "--from", "2", "--to", "5", "t-0")],
                         [2, 3, 4])
        folder = pathlib.Path(self.data) / "topics" / "t-0"
        self.lines("log", "dump", str(next(folder.glob("*.timeindex"))))
        offsets = [self.lines("log", "dump", "--records", part.name)
                   for part in (pathlib.Path(self.data) / "topics").glob("__consumer_offsets-*")]
        said = [record["value"] for part in offsets for record in part]
        self.assertTrue(any("offset group=dumped topic=t partition=0" in text for text in said), said)
        self.assertEqual(millrace("log", "dump", "absent-3", data=self.data).returncode, 3)

    def test_the_write_ahead_log_is_shown(self):
        server = self.start()
        self.fill("w", records=10)
        server.stop(signal.SIGKILL)
        entries = self.lines("log", "dump", "wal")
        self.assertTrue(any(entry["entry"] == "create-topic" and entry["detail"].startswith("w, 2") for entry in entries))
        self.assertGreaterEqual(sum(entry["records"] or 0 for entry in entries if entry["entry"] == "batches"), 10)


if __name__ == "__main__":
    test_server.BINARY = sys.argv[1]
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        del os.environ[name]
    unittest.main(argv=sys.argv[:1], verbosity=2)
