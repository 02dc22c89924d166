#!/usr/bin/env python3
"""Runs another implementation's client against the built server, kills the server, starts it again, and runs the client once more.

    clients.py --server MILLRACE java DIR      DIR holds classes/ and lib/ of tests/peers/java
    clients.py --server MILLRACE go PROGRAM    tests/peers/go, compiled

Exit status 1 where the client is not content or the server does not stop cleanly, 77 where the client is not there.
"""

import argparse
import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402

START_S = 20
STOP_S = 5
CLIENT_S = 240


class Server:
    """One millrace server at a time, on the same ports and data folder each time it is started."""

    def __init__(self, program: pathlib.Path, folder: pathlib.Path):
        self.address = f"127.0.0.1:{free_port()}"
        self.log = folder / "server.log"
        self.command = [str(program), "server", "--data", str(folder / "data"), "--kafka", self.address, "--http", f"127.0.0.1:{free_port()}"]
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        host, port = self.address.split(":")
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"the server does not answer on {self.address}:\n{self.log.read_text()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As an operator would: SIGTERM, then the server's own end."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_S)
        if status != 0:
            raise RuntimeError(f"the server ended with status {status}:\n{self.log.read_text()}")


def client_command(kind: str, place: pathlib.Path) -> list[str] | None:
    if kind == "java" and (place / "classes").exists():
        return ["java", "-Xshare:auto", "-cp", f"{place}/classes:{place}/lib/*", "millrace.ClientCheck"]
    if kind == "go" and place.exists():
        return [str(place)]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=pathlib.Path, required=True)
    parser.add_argument("kind", choices=["java", "go"])
    parser.add_argument("place", type=pathlib.Path)
    options = parser.parse_args()
    command = client_command(options.kind, options.place)
    if command is None:
        print(f"SKIPPED: {options.place} does not hold the {options.kind} client (its compiler is missing)")
        return 77
    first_timestamp = str(int(time.time() * 1000) - 3_600_000)
    with tempfile.TemporaryDirectory(prefix="millrace-peers-") as folder:
        server = Server(options.server, pathlib.Path(folder))
        try:
            server.start()
            for phase in ("run", "after-crash"):
                print(f"{options.kind} client, {phase}:", flush=True)
                subprocess.run([*command, server.address, phase, first_timestamp], check=True, timeout=CLIENT_S)
                if phase == "run":
                    server.kill()
                    server.start()
            server.stop()
        except (subprocess.SubprocessError, RuntimeError) as error:
            print(f"{error}\nserver's output:\n{server.log.read_text()}", file=sys.stderr)
            return 1
        finally:
            if server.process and server.process.poll() is None:
                server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
