"""What is measured: a millrace server, or Apache Kafka, each a process of its own on free loopback ports."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/peers/kafka"), str(ROOT / "tests/pipelines"), str(ROOT / "tests")]
import kafka  # noqa: E402
from ports import free_port  # noqa: E402

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_mb(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Millrace:
    """A context manager: started when its folder is open, stopped by process id, its folder removed."""

    def __init__(self, build: pathlib.Path):
        self._binary = build / "bin/millrace"
        self._dir = tempfile.TemporaryDirectory(prefix="millrace-bench-")
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"

    def format(self):
        """Nothing to do before the first start."""

    def spawn(self):
        command = [self._binary, "server", "--kafka", self.bootstrap, "--http", f"127.0.0.1:{free_port()}", "--data", self._dir.name]
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


def kafkas(build: pathlib.Path) -> dict:
    """Kafka with its defaults, which never sync, and with a sync per message, which is what Millrace promises. Raises kafka.Unavailable."""
    cache = build / "peers"
    return {"Kafka": kafka.Kafka(cache), "Kafka, synced": kafka.Kafka(cache, {"log.flush.interval.messages": "1"})}


def create_topic(build: pathlib.Path, broker, topic: str, partitions: int, *configs: str):
    """A config is NAME=VALUE."""
    named = [part for config in configs for part in ("--config", config)]
    subprocess.run([str(build / "bin/millrace"), "topic", "create", topic, "--partitions", str(partitions), *named, "--bootstrap", broker.bootstrap],
                   check=True, capture_output=True)
