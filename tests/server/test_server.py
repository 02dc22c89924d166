#!/usr/bin/env python3
"""The program from outside: test_server.py MILLRACE_BINARY."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402

BINARY = None


class Server:
    """`millrace server` on free ports, or on one given for Kafka, known once it has started; ended by process id."""

    def __init__(self, data: str, *more: str, kafka: int = 0):
        self.kafka, self.http = kafka, 0
        listen = [] if "--bootstrap" in more else ["--kafka", f"127.0.0.1:{kafka}"]
        self.process = subprocess.Popen(
            [BINARY, "server", "--data", data, *listen, "--http", "127.0.0.1:0", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_started(self) -> list[str]:
        lines = []
        for line in self.process.stdout:  # ends when the process does
            lines.append(line)
            if line.startswith("Kafka:"):
                self.kafka = int(line.rsplit(":", 1)[1])
            if line.startswith("Console:"):
                self.http = int(line.rsplit(":", 1)[1].strip().rstrip("/"))
            if line.startswith("Data:"):
                return lines
        raise AssertionError(f"did not start: {lines} {self.process.stderr.read()}")

    def request(self, method: str, path: str, body: str = "", headers: dict | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def stop(self, how: int = signal.SIGTERM) -> float:
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()
        return time.monotonic() - start


def patience(seconds: float) -> float:
    """So many seconds, or more where the machine has more to do than it can."""
    return seconds * max(1.0, os.getloadavg()[0] / os.cpu_count())


def millrace(*arguments: str, data: str, text: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run([BINARY, *arguments, "--data", data], input=text, capture_output=True, text=True, timeout=60)


class ServerTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.data = str(pathlib.Path(directory.name) / "data")
        self.dir = pathlib.Path(directory.name)

    def start(self, *more: str, data: str | None = None, kafka: int = 0) -> Server:
        server = Server(data or self.data, *more, kafka=kafka)
        self.addCleanup(server.stop)
        server.wait_started()
        return server

    def test_prints_its_addresses_and_stops_within_two_seconds(self):
        server = Server(self.data)
        lines = server.wait_started()
        self.assertEqual([line.split(":")[0].split(" ")[0] for line in lines], ["Millrace", "Kafka", "Console", "Data"])
        self.assertLess(server.stop(), patience(2.0))
        self.assertEqual(server.process.returncode, 0)
        self.assertFalse((pathlib.Path(self.data) / "server.json").exists())

    def test_the_command_line_finds_the_running_server(self):
        self.start()
        self.assertEqual(millrace("topic", "create", "t", "-p", "2", data=self.data).returncode, 0)
        self.assertEqual(millrace("topic", "produce", "t", "-K", ":", data=self.data, text="a:1\nb:2\n").returncode, 0)
        listed = json.loads(millrace("topic", "list", "-o", "json", data=self.data).stdout)
        self.assertEqual(listed, [{"topic": "t", "partitions": 2, "records": 2}])
        consumed = millrace("topic", "consume", "t", data=self.data).stdout.split()
        self.assertEqual(sorted(consumed), ["1", "2"])
        for verb in ("describe", "consume", "delete"):
            absent = millrace("topic", verb, "absent", data=self.data)
            self.assertEqual(absent.returncode, 3)
            self.assertIn("millrace topic list", absent.stderr)
        self.assertEqual(millrace("model", "list", "-o", "json", data=self.data).stdout, "[]\n")
        self.assertEqual(millrace("topic", "create", "t", data=self.data).returncode, 4)
        plan = millrace("topic", "delete", "t", data=self.data)
        self.assertIn("nothing deleted", plan.stderr)
        self.assertEqual(millrace("topic", "delete", "t", "--execute", data=self.data).returncode, 0)
        self.assertEqual(json.loads(millrace("topic", "list", "-o", "json", data=self.data).stdout), [])

    def test_a_record_survives_kill_9(self):
        server = self.start()
        millrace("topic", "create", "t", data=self.data)
        self.assertEqual(millrace("topic", "produce", "t", data=self.data, text="kept\n").returncode, 0)
        server.stop(signal.SIGKILL)
        self.start()
        self.assertEqual(millrace("topic", "consume", "t", data=self.data).stdout, "kept\n")

    def test_a_port_in_use_is_named_before_anything_starts(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for flag in ("--kafka", "--http"):
                addresses = {"--kafka": "127.0.0.1:0", "--http": "127.0.0.1:0", flag: f"127.0.0.1:{port}"}
                result = millrace("server", *[part for pair in addresses.items() for part in pair], data=self.data)
                self.assertEqual(result.returncode, 4, result.stderr)
                self.assertIn(str(port), result.stderr)

    def test_a_second_server_on_the_same_data_is_refused(self):
        self.start()
        second = Server(self.data)
        self.addCleanup(second.stop)
        self.assertEqual(second.process.wait(30), 4)
        self.assertIn("error:", second.process.stderr.read())
        # The first one goes on, and is still found.
        self.assertEqual(millrace("topic", "list", data=self.data).returncode, 0)

    def test_a_data_folder_of_another_version_is_refused_and_unchanged(self):
        self.start().stop()
        format_file = pathlib.Path(self.data) / "FORMAT"
        other = b"millrace 999\n" + os.urandom(8).hex().encode()
        format_file.write_bytes(other)
        server = Server(self.data)
        self.addCleanup(server.stop)
        self.assertNotEqual(server.process.wait(30), 0)
        self.assertIn("FORMAT", server.process.stderr.read())
        self.assertEqual(format_file.read_bytes(), other)

    def test_an_unreadable_configuration_names_the_place(self):
        config = self.dir / "millrace.yaml"
        config.write_text("kafka:\n  lisen: 127.0.0.1:1\n")
        result = millrace("server", "--config", str(config), data=self.data)
        self.assertEqual(result.returncode, 2)
        self.assertIn("millrace.yaml:2:3", result.stderr)
        self.assertIn("did you mean listen?", result.stderr)

    def test_a_pipeline_with_a_mistake_keeps_the_server_from_starting(self):
        (self.dir / "p.yaml").write_text("pipeline: p\nsources:\n  s: {topic: s, format: jsn, columns: {a: bigint}}\n")
        config = self.dir / "millrace.yaml"
        config.write_text("pipelines: [p.yaml]\n")
        result = millrace("server", "--config", str(config), data=self.data)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("p.yaml:3:", result.stderr)

    def overview(self, server: Server) -> dict:
        """The first one that the live stream sends."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)) as connection:
            connection.request("GET", "/v1/live")
            with connection.getresponse() as stream:
                event = ""
                for line in stream:
                    name, _, text = line.decode().rstrip("\n").partition(": ")
                    if name == "event":
                        event = text
                    if name == "data" and event == "overview":
                        return json.loads(text)
        self.fail("the stream ended without an overview")

    def test_a_pipeline_that_cannot_be_made_is_shown_and_the_rest_serves(self):
        (self.dir / "counts.yaml").write_text(
            "pipeline: counts\n"
            "sources:\n  lines: {topic: counts.in, columns: {k: varchar, at: bigint}, time: {column: at, format: unix_s}, key: k, partitions: 1}\n"
            "steps:\n  - {id: out, from: lines, features: {key: k, windows: [1h], aggs: {n: count(*)}}}\n"
            "sinks:\n  - {from: out, topic: counts.out, table: counts}\n")
        (self.dir / "copies.yaml").write_text(
            "pipeline: copies\n"
            "sources:\n  lines: {topic: copies.in, format: raw, partitions: 1}\n"
            "steps:\n  - {id: out, from: lines, sql: \"SELECT value FROM lines\"}\n"
            "sinks:\n  - {from: out, topic: copies.out, table: copies}\n")
        config = self.dir / "millrace.yaml"
        config.write_text("pipelines: [counts.yaml, copies.yaml]\n")
        server = self.start("--config", str(config))
        self.assertEqual([row["error"] for row in self.overview(server)["pipelines"]], [None, None])
        self.assertEqual(millrace("topic", "add-partitions", "counts.in", "-p", "3", data=self.data).returncode, 0)
        server.stop()
        server = self.start("--config", str(config))
        overview = self.overview(server)
        shown = {row["name"]: row for row in overview["pipelines"]}
        self.assertEqual(shown["counts"]["state"], "failed")
        self.assertIn("the number of partitions was changed", shown["counts"]["error"])
        self.assertEqual((shown["copies"]["state"], shown["copies"]["error"]), ("running", None))
        self.assertEqual([row["name"] for row in overview["tables"]], ["copies", "counts"])
        self.assertEqual(millrace("topic", "list", data=self.data).returncode, 0)

    def test_pipelines_of_a_cluster_that_is_away_start_when_it_comes(self):
        cluster = self.start()
        cluster.stop()
        (self.dir / "copy.yaml").write_text(
            "pipeline: copy\nsources:\n  lines: {topic: lines, format: raw, partitions: 1}\nsinks:\n  - {from: lines, topic: copies}\n")
        config = self.dir / "millrace.yaml"
        config.write_text("pipelines: [copy.yaml]\n")
        server = self.start("--config", str(config), "--bootstrap", f"127.0.0.1:{cluster.kafka}", data=str(self.dir / "other"))
        (copy,) = self.overview(server)["pipelines"]
        self.assertEqual(copy["state"], "starting")
        self.assertIn("no broker answers", copy["error"])
        self.start(kafka=cluster.kafka)
        deadline = time.monotonic() + 120
        while copy["state"] != "running" and time.monotonic() < deadline:
            time.sleep(0.2)
            (copy,) = self.overview(server)["pipelines"]
        self.assertEqual((copy["state"], copy["error"]), ("running", None))

    def test_serves_health_metrics_and_sql(self):
        server = self.start()
        self.assertEqual(server.request("GET", "/healthz"), (200, "ok\n"))
        self.assertEqual(server.request("GET", "/readyz"), (200, "ready\n"))
        status, metrics = server.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn("millrace_broker_requests_total", metrics)
        status, answer = server.request("POST", "/v1/sql", "SELECT 40 + 2 AS x")
        self.assertEqual((status, json.loads(answer)["rows"]), (200, [[42]]))
        self.assertEqual(json.loads(millrace("sql", "SELECT 1 AS a", "-o", "json", data=self.data).stdout), [{"a": 1}])
        self.assertEqual(millrace("sql", "SELECT 1 AS a", "-o", "csv", data=self.data).stdout.split(), ["a", "1"])

    def test_sql_reads_no_files_and_changes_nothing(self):
        server = self.start()
        for statement in ("SELECT * FROM read_csv('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/x'", "INSTALL httpfs", "ATTACH '/tmp/x.db'",
                          "CREATE TABLE t AS SELECT 1", "SET enable_external_access = true", "PRAGMA version; SELECT 1", "SELECT nope", "not sql"):
            status, answer = server.request("POST", "/v1/sql", statement)
            self.assertIn(status, (400, 403), (statement, answer))

    def test_a_page_from_elsewhere_cannot_reach_it(self):
        server = self.start()
        self.assertEqual(server.request("GET", "/metrics", headers={"Host": "evil.example"})[0], 403)
        self.assertEqual(server.request("POST", "/v1/sql", "SELECT 1", {"Origin": "http://evil.example"})[0], 403)

    def start_pipeline_server(self) -> Server:
        (self.dir / "copy.yaml").write_text(
            "pipeline: copy\n"
            "sources:\n  lines: {topic: lines, format: raw, partitions: 1}\n"
            "steps:\n  - {id: shout, from: lines, sql: \"SELECT upper(value) AS value FROM lines\"}\n"
            "sinks:\n  - {from: shout, topic: shouted}\n")
        config = self.dir / "millrace.yaml"
        config.write_text("pipelines: [copy.yaml]\n")
        return self.start("--config", str(config))

    def first_output_after(self, seconds: float, text: str) -> float:
        """Seconds until `text` has gone through the pipeline; fails after `seconds`."""
        start = time.monotonic()
        self.assertEqual(millrace("topic", "produce", "lines", data=self.data, text=text + "\n").returncode, 0)
        reader = subprocess.Popen([BINARY, "topic", "consume", "shouted", "--follow", "--data", self.data],
                                  stdout=subprocess.PIPE, text=True)
        watch = threading.Timer(seconds, reader.kill)
        watch.start()
        try:
            for line in reader.stdout:
                if text.upper() in line:
                    return time.monotonic() - start
            self.fail(f"{text} did not come within {seconds} s")
        finally:
            watch.cancel()
            reader.kill()
            reader.wait()
            reader.stdout.close()

    def members(self) -> list[str]:
        groups = json.loads(millrace("group", "list", "-o", "json", data=self.data).stdout)
        self.assertEqual(len(groups), 1, groups)
        described = json.loads(millrace("group", "describe", groups[0]["group"], "-o", "json", data=self.data).stdout)
        return [row["member"] for row in described if row["member"]]

    def test_pipelines_go_on_at_once_after_kill_9(self):
        # A dead member's session would last 10 s: the restarted server must not wait for it.
        server = self.start_pipeline_server()
        self.first_output_after(30, "before")
        for again in ("once", "twice"):
            server.stop(signal.SIGKILL)
            server = self.start_pipeline_server()
            took = self.first_output_after(30, again)
            print(f"output {took:.2f} s after a restart", file=sys.stderr)
            self.assertLess(took, patience(5))
        (member,) = self.members()
        self.assertTrue(member.startswith("millrace-" + (pathlib.Path(self.data) / "instance").read_text().strip()), member)

    def test_pipelines_leave_their_groups_when_the_server_stops(self):
        server = self.start_pipeline_server()
        self.first_output_after(30, "before")
        self.assertLess(server.stop(), patience(2.0))
        self.start()  # without the pipeline: nobody takes the member's place
        groups = json.loads(millrace("group", "list", "-o", "json", data=self.data).stdout)
        self.assertEqual([(row["state"], row["members"]) for row in groups], [("Empty", 0)])

    def test_an_error_says_what_why_and_what_to_try(self):
        for arguments, code in ((("tpic",), 2), (("topic",), 2), (("topic", "create"), 2), (("topic", "create", "a", "-p", "x"), 2),
                                (("topic", "list", "--bootstrp", "x"), 2), (("demo", "--once", "--events", "-3"), 2),
                                (("server", "--kafka", "nine"), 2), (("server", "--config", "/absent.yaml"), 3),
                                (("pipeline", "run", "/absent.yaml"), 3), (("sql", "SELECT * FROM absent"), 2),
                                (("topic", "list", "--bootstrap", "localhost"), 2), (("group", "list", "--bootstrap", "[::1]"), 2),
                                (("server", "--bootstrap", "localhost"), 2),
                                (("topic", "list", "--bootstrap", f"127.0.0.1:{free_port()}"), 5)):
            result = millrace(*arguments, data=self.data)
            self.assertEqual((result.returncode, result.stdout), (code, ""), (arguments, result.stderr))
            starts = [line.split(":")[0] for line in result.stderr.splitlines()]
            self.assertEqual(starts, ["error", "  why", "  try"], (arguments, result.stderr))

    def test_a_reader_that_goes_away_ends_the_command(self):
        self.start()
        millrace("topic", "create", "t", data=self.data)
        millrace("topic", "produce", "t", data=self.data, text="x\n" * 50_000)
        reader = subprocess.Popen([BINARY, "topic", "consume", "t", "--follow", "--data", self.data], stdout=subprocess.PIPE)
        self.assertEqual(reader.stdout.readline(), b"x\n")
        reader.stdout.close()
        self.assertEqual(reader.wait(30), 128 + signal.SIGPIPE)

    def test_mistyped_commands_suggest_what_was_meant(self):
        result = millrace("topic", "lst", data=self.data)
        self.assertEqual(result.returncode, 2)
        self.assertIn("did you mean list?", result.stderr)
        self.assertEqual(millrace("topic", "list", "--bootstrap", f"127.0.0.1:{free_port()}", data=self.data).returncode, 5)


if __name__ == "__main__":
    BINARY = sys.argv[1]
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        del os.environ[name]
    unittest.main(argv=sys.argv[:1], verbosity=2)
