"""The program under test: started on a free port with a data folder of its own, stopped or killed by its process id."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402

READY_TIMEOUT_S = 20


class Broker:
    """One broker over one data folder; it keeps its address when it is started again."""

    def __init__(self, folder, settings=None):
        """`settings`: the configuration file's `broker:`."""
        self.binary = os.environ["MILLRACE_BINARY"]
        self.folder = str(folder)
        self.data = os.path.join(self.folder, "data")
        self.config = os.path.join(self.folder, "config.yaml")
        with open(self.config, "w", encoding="utf-8") as config:
            config.write(json.dumps({"broker": settings or {}}))
        self.port = free_port()
        self.http_port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.process = None

    def spawn(self):
        """The process, without waiting for it to serve."""
        command = [self.binary, "server", "--config", self.config, "--data", self.data]
        command += ["--kafka", self.bootstrap, "--http", f"127.0.0.1:{self.http_port}"]
        with open(os.path.join(self.folder, "server.out"), "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder)

    def start(self):
        self.spawn()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.is_running(), f"the server ended at once:\n{self.output()}"
            # Its Kafka port answers a moment before all that /metrics shows is there.
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/readyz", timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server is not ready after {READY_TIMEOUT_S} s:\n{self.output()}")

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Returns the exit code."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop within 10 s:\n{self.output()}") from None

    def output(self):
        """The end of what it printed."""
        with open(os.path.join(self.folder, "server.out"), encoding="utf-8", errors="replace") as out:
            return out.read()[-4000:]


class ExternalBroker:
    """A broker that runs already, Apache Kafka for one: to see that the tests ask for nothing but Kafka's behaviour."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.port = int(bootstrap.rsplit(":", 1)[1])

    def is_running(self):
        return True
