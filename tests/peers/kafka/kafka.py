"""Starts a one-node Apache Kafka (KRaft, from Maven Central) on a free loopback port, for tests and benchmarks."""

import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1]))
from ports import free_port  # noqa: E402

CLUSTER_ID = "bWlsbHJhY2UtcGVlci1hcA"


class Unavailable(Exception):
    """Java or Maven is missing, or the jars cannot be had."""


def jars(cache: pathlib.Path) -> pathlib.Path:
    """The folder with Kafka's jars, fetched into `cache` at the first call."""
    if not shutil.which("java") or not shutil.which("mvn"):
        raise Unavailable("Java and Maven are not both installed")
    libs = cache / "kafka-libs"
    done = libs / "complete"
    if not done.exists():
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={libs}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Unavailable("Maven cannot fetch Kafka: " + result.stdout[-500:])
        done.touch()
    return libs


class Kafka:
    """A running broker; a context manager that stops it by process id and removes its data."""

    def __init__(self, cache: pathlib.Path, settings: dict[str, str] | None = None, heap: str = "1g"):
        self._classpath = f"{jars(cache)}/*"
        self._heap = heap
        self.port = free_port()
        controller = free_port()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="millrace-kafka-"))
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.dir / "data"),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **(settings or {}),
        }
        self._config = self.dir / "server.properties"
        self._config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        self.process: subprocess.Popen | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _java(self) -> list[str]:
        return ["java", f"-Xmx{self._heap}", "-cp", self._classpath]

    def format(self):
        """Makes the data folder, which Kafka wants done before its first start."""
        subprocess.run([*self._java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._config)],
                       check=True, capture_output=True)

    def spawn(self):
        """Starts the process, and waits for nothing."""
        with (self.dir / "server.log").open("w") as log:
            self.process = subprocess.Popen([*self._java(), "kafka.Kafka", str(self._config)], stdout=log, stderr=log)

    def __enter__(self) -> "Kafka":
        self.format()
        self.spawn()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.1)
        raise RuntimeError("Kafka did not start: " + (self.dir / "server.log").read_text()[-2000:])

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
