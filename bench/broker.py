#!/usr/bin/env python3
"""Millrace beside Apache Kafka in one run: the same client, the same machine, in turn; medians.

broker.py BUILD_DIR [--runs 3] [--scale 1.0] [--json FILE]
Kafka runs twice, with its defaults (it never syncs) and with a sync per message, which is what Millrace promises.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/peers/kafka"), str(ROOT / "tests/pipelines")]
import kafka  # noqa: E402
import raw_client  # noqa: E402

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# (name, record bytes, partitions, records)
PRODUCE = [
    ("produce 100 B, 1 partition", 100, 1, 1_500_000),
    ("produce 100 B, 16 partitions", 100, 16, 1_000_000),
    ("produce 1 KB, 1 partition", 1024, 1, 400_000),
    ("produce 1 KB, 16 partitions", 1024, 16, 300_000),
]


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_mb(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Millrace:
    def __init__(self, binary: pathlib.Path, settings: dict | None = None):
        self._binary = binary
        self._settings = settings or {}
        self._dir = tempfile.TemporaryDirectory(prefix="millrace-bench-")
        self.port = kafka.free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"

    def format(self):
        """Nothing to do before the first start."""

    def spawn(self):
        config = pathlib.Path(self._dir.name) / "config.yaml"
        config.write_text(json.dumps({"broker": self._settings}))
        command = [self._binary, "server", "--config", config, "--kafka", self.bootstrap, "--http", f"127.0.0.1:{kafka.free_port()}",
                   "--data", f"{self._dir.name}/data"]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.spawn()
        for line in self.process.stdout:
            if line.startswith("Data:"):
                return self
        raise RuntimeError("millrace server did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self._dir.cleanup()


def create_topic(binary: pathlib.Path, bootstrap: str, topic: str, partitions: int):
    subprocess.run([str(binary), "topic", "create", topic, "--partitions", str(partitions), "--bootstrap", bootstrap],
                   check=True, capture_output=True)


def load(build: pathlib.Path, broker, *arguments) -> dict:
    before = cpu_seconds(broker.process.pid)
    result = subprocess.run([str(build / "bin/broker_load"), *map(str, arguments)], check=True, capture_output=True, text=True)
    row = json.loads(result.stdout)
    row["broker_cpu_s"] = cpu_seconds(broker.process.pid) - before
    row["rss_mb"] = resident_mb(broker.process.pid)
    return row


def measure(build: pathlib.Path, brokers: dict, runs: int, scale: float) -> list[dict]:
    rows = []
    for run in range(runs):
        for name, size, partitions, records in PRODUCE:
            records = int(records * scale)
            for target, broker in brokers.items():
                topic = f"load-{size}-{partitions}-{run}"
                create_topic(build / "bin/millrace", broker.bootstrap, topic, partitions)
                written = load(build, broker, "produce", broker.bootstrap, topic, partitions, records, size)
                read = load(build, broker, "consume", broker.bootstrap, topic, partitions, records)
                rows.append({"task": name, "target": target, "run": run, **written})
                rows.append({"task": name.replace("produce", "consume"), "target": target, "run": run, **read})
    return rows


def first_record_ms(make_broker, runs: int = 5) -> list[float]:
    """From process start on an empty data folder until a first record, of a topic made for it, is produced with acks=all and read
    back. The client is a plain socket in this process that tries again every millisecond, so that none of its own waits count."""
    took = []
    for _ in range(runs):
        broker = make_broker()
        broker.format()
        start = time.monotonic()
        try:
            broker.spawn()
            raw_client.first_record(broker.bootstrap, start + 120)
            took.append((time.monotonic() - start) * 1000)
        finally:
            broker.__exit__(None, None, None)
    return took


def idle(build: pathlib.Path) -> tuple[float, float]:
    """Resident MB and CPU percent of a server that nobody uses, over 10 s after 2 s."""
    with Millrace(build / "bin/millrace") as broker:
        time.sleep(2)
        before = cpu_seconds(broker.process.pid)
        time.sleep(10)
        return resident_mb(broker.process.pid), (cpu_seconds(broker.process.pid) - before) * 10


def spread(took: list[float]) -> str:
    return f"{statistics.median(took):.0f} ms (of {len(took)} runs {min(took):.0f} to {max(took):.0f})"


def print_table(rows: list[dict], targets: list[str]):
    print("| what | " + " | ".join(targets) + " | Millrace ÷ Kafka | broker CPU s: " + ", ".join(targets) + " |")
    print("|---|" + "---:|" * len(targets) + "---:|---|")
    for task in dict.fromkeys(row["task"] for row in rows):
        speeds, cpus = {}, {}
        for target in targets:
            chosen = [row for row in rows if row["task"] == task and row["target"] == target]
            speeds[target] = statistics.median(row["records_per_s"] for row in chosen)
            cpus[target] = statistics.median(row["broker_cpu_s"] for row in chosen)
        ratio = f"{speeds[targets[0]] / speeds[targets[1]]:.2f}" if len(targets) > 1 else "–"
        print(f"| {task} | " + " | ".join(f"{speeds[t]:,.0f}/s" for t in targets) + f" | {ratio} | "
              + ", ".join(f"{cpus[t]:.2f}" for t in targets) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"Machine: {os.cpu_count()} cores, {model[1] if model else platform.machine()}; medians of {arguments.runs}; acks=all, no compression\n")

    first = first_record_ms(lambda: Millrace(build / "bin/millrace"))
    rss, cpu = idle(build)
    print(f"Millrace: first record produced and read {spread(first)} after process start")
    print(f"Millrace idle: {rss:.0f} MB resident, {cpu:.2f} % CPU\n")

    peers = {}
    try:
        cache = build / "peers"
        peers = {"Kafka": kafka.Kafka(cache), "Kafka, synced": kafka.Kafka(cache, {"log.flush.interval.messages": "1"})}
        first = first_record_ms(lambda: kafka.Kafka(cache), 3)
        print(f"Kafka: first record produced and read {spread(first)} after process start, its data folder formatted before\n")
    except kafka.Unavailable as why:
        print(f"Without Apache Kafka: {why}\n")
    brokers = {"Millrace": Millrace(build / "bin/millrace"), **peers}
    entered = []
    try:
        for broker in brokers.values():
            entered.append(broker.__enter__())
        rows = measure(build, brokers, arguments.runs, arguments.scale)
    finally:
        for broker in entered:
            broker.__exit__(None, None, None)
    print_table(rows, list(brokers))
    if arguments.json:
        arguments.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
