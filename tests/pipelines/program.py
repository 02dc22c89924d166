"""The real program, as the tests here use it."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

BINARY = os.environ.get("MILLRACE_BINARY", "build/release/bin/millrace")
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DATASETS = os.path.abspath(os.environ.get("MILLRACE_DATASETS", os.path.join(ROOT, "..", "shared", "data")))
HANDBOOK = os.path.join(DATASETS, "fraud", "handbook_simulated", "transactions_2018-06-15_08-14.csv.gz")
ELEC2 = os.path.join(DATASETS, "streaming_ml", "elec2", "electricity.csv.gz")
PHISHING = os.path.join(DATASETS, "streaming_ml", "phishing", "phishing.csv")


def run(*arguments, **options):
    """Runs a command to its end; returns what it printed."""
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def run_pipeline(file, inputs, outputs=(), bootstrap=None):
    """`pipeline run` over files; returns the report of its only pipeline."""
    arguments = ["-o", "json", *(["--bootstrap", bootstrap] if bootstrap else []), "pipeline", "run", file]
    for source, path in inputs.items():
        arguments += ["--input", f"{source}={path}"]
    for sink, path in dict(outputs).items():
        arguments += ["--output", f"{sink}={path}"]
    return json.loads(run(*arguments))["pipelines"][0]


class Server:
    """A server over one data folder; it keeps its address when it is started again."""

    def __init__(self, folder):
        self.folder = folder
        self.config = None
        self.bootstrap = self.http = "127.0.0.1:0"  # free ones; known, and kept, from the first start on
        self.process = None

    def start(self):
        """Returns when the server is ready for requests of both kinds, Kafka's and HTTP's."""
        command = [BINARY, "server", "--data", os.path.join(self.folder, "data"), "--kafka", self.bootstrap,
                   "--http", self.http, *(["--config", self.config] if self.config else [])]
        with open(os.path.join(self.folder, "server.log"), "ab") as log:
            self.printed_before = log.tell()
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self.is_ready():
            assert self.process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server does not become ready"
            time.sleep(0.01)

    def is_ready(self):
        with open(os.path.join(self.folder, "server.log"), "rb") as log:
            log.seek(self.printed_before)
            printed = log.read().decode()
        kafka = re.search(r"^Kafka: +(\S+)\n", printed, re.MULTILINE)
        console = re.search(r"^Console: +http://(\S+)/\n", printed, re.MULTILINE)
        if not kafka or not console:
            return False
        self.bootstrap, self.http = kafka[1], console[1]
        try:
            with urllib.request.urlopen(f"http://{self.http}/readyz", timeout=1):
                return True
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def worker(self, file, log="worker.log", env=None):
        with open(os.path.join(self.folder, log), "ab") as out:
            return subprocess.Popen([BINARY, "--bootstrap", self.bootstrap, "pipeline", "run", file], stdout=out,
                                    stderr=out, env={**os.environ, **(env or {})})

    def command(self, *arguments, **options):
        return run("--bootstrap", self.bootstrap, *arguments, **options)

    def consume(self, topic):
        """Every record's value, in no particular order of partitions."""
        lines = self.command("-o", "json", "topic", "consume", topic).splitlines()
        return [json.loads(line)["value"] for line in lines]

    def sql(self, statement):
        """The rows of a query's answer; OSError while the server does not answer, or refuses."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/v1/sql", statement.encode(), timeout=60) as answer:
                return json.load(answer)["rows"]
        except urllib.error.HTTPError as refusal:
            raise OSError(f"{refusal}: {refusal.read().decode()}") from refusal

    def lag(self, group, partitions):
        """Records that the group has not committed; None while it has not committed every partition."""
        offsets = json.loads(self.command("group", "describe", group, "-o", "json"))
        lags = [entry["lag"] for entry in offsets]
        return None if len(lags) < partitions or None in lags else sum(lags)


def handbook_events(rows=None):
    """The fraud job's input: a JSON line a payment, and one cut-off line after each thousandth."""
    import gzip

    with gzip.open(HANDBOOK, "rt") as file:
        next(file)
        for number, line in enumerate(file):
            if rows is not None and number >= rows:
                return
            tid, when, customer, terminal, amount, seconds, _, fraud, _ = line.rstrip("\n").split(",")
            value = (f'{{"TRANSACTION_ID":{tid},"TX_DATETIME":"{when}","CUSTOMER_ID":{customer},'
                     f'"TERMINAL_ID":{terminal},"TX_AMOUNT":{amount},"TX_TIME_SECONDS":{seconds},"TX_FRAUD":{fraud}}}')
            yield customer, value
            if number % 1000 == 999:
                yield customer, value[:40]
