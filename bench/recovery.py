#!/usr/bin/env python3
"""How long a server with much data takes to serve: from process start until a record is produced with acks=all and read back.

recovery.py BUILD_DIR [--gigabytes 1 10] [--partitions 16] [--runs 3] [--data DIR] [--cold]

For each size: after a clean stop, and after `kill -9` under load, at a moment when the write-ahead log behind the last checkpoint is
nearly as long as it gets. The data is made once for each size, in a folder of its own in DIR (by default the system's for temporary
files), and removed. --cold lets the system forget what it has in memory of these files before each start, as after a power cut.
"""

import argparse
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from targets import free_port

import raw_client  # where targets.py looks for it

RECORD_BYTES = 4096
GIGABYTE = 1 << 30
TOPIC = "recovery"
# A checkpoint comes after 256 MB of log: what is not in it when the process is killed. Files of the log have 64 MB, so more than this is
# not seen before the next checkpoint begins.
FULL_LOG_BYTES = 192 << 20
FULL_LOG_PATIENCE_S = 120
START_PATIENCE_S = 120


class Server:
    def __init__(self, build: pathlib.Path, data: pathlib.Path):
        self.build, self.data = build, data

    def start(self) -> float:
        """Seconds until the first record is through."""
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        command = [self.build / "bin/millrace", "server", "--kafka", self.bootstrap, "--http", f"127.0.0.1:{free_port()}", "--data", self.data]
        started = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        raw_client.first_record(self.bootstrap, started + START_PATIENCE_S)
        return time.monotonic() - started

    def stop(self):
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise RuntimeError("the server did not stop in order")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def load(self, partitions: int, size: int) -> subprocess.Popen:
        arguments = ["produce", self.bootstrap, TOPIC, partitions, size // RECORD_BYTES, RECORD_BYTES]
        return subprocess.Popen([str(self.build / "bin/broker_load"), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log_bytes(self) -> int:
        """Of the write-ahead log behind the last checkpoint, by its files' names: docs/formats/wal.md, checkpoint.md."""
        newest = max(int(path.stem) for path in (self.data / "wal").glob("*.wal"))
        position = struct.unpack_from(">Q", (self.data / "checkpoint").read_bytes(), 16)[0]
        return newest - position

    def fill_log(self, partitions: int) -> int:
        """Kills the server when its log is full, and says how full."""
        producer = self.load(partitions, 1 << 40)
        deadline = time.monotonic() + FULL_LOG_PATIENCE_S
        try:
            while (length := self.log_bytes()) < FULL_LOG_BYTES:
                if time.monotonic() > deadline or producer.poll() is not None:
                    raise RuntimeError(f"the write-ahead log did not fill up: {length} bytes")
                time.sleep(0.002)
            self.kill()
        finally:
            producer.kill()
            producer.wait()
        return self.log_bytes()


def forget_cached(folder: pathlib.Path):
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def shown(took: list[float]) -> str:
    return f"{statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})"


def measure(build: pathlib.Path, args: argparse.Namespace, gigabytes: float):
    with tempfile.TemporaryDirectory(prefix="millrace-recovery-", dir=args.data) as folder:
        server = Server(build, pathlib.Path(folder) / "data")
        server.start()
        with raw_client.Connection(server.bootstrap) as connection:
            connection.create_topic(TOPIC, args.partitions)
        if server.load(args.partitions, int(gigabytes * GIGABYTE)).wait() != 0:
            raise RuntimeError("the data could not be made")
        clean, killed, lengths = [], [], []
        for _ in range(args.runs):
            server.stop()
            if args.cold:
                forget_cached(server.data)
            clean.append(server.start())
            lengths.append(server.fill_log(args.partitions))
            if args.cold:
                forget_cached(server.data)
            killed.append(server.start())
        server.stop()
        size = sum(path.stat().st_size for path in (server.data / "topics").rglob("*.log"))
        print(f"| {size / 1e9:.1f} GB, {args.partitions} partitions | {shown(clean)} | {shown(killed)} | {min(lengths) / 1e6:.0f} MB |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data")
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    print("| data | after a clean stop | after kill -9 under load | log behind the checkpoint, at least |")
    print("|---|---|---|---:|")
    for gigabytes in args.gigabytes:
        measure(args.build, args, gigabytes)


if __name__ == "__main__":
    main()
