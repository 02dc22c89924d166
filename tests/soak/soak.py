#!/usr/bin/env python3
"""A day's load compressed: producers of every compression and many sizes, transactions, copies exactly once, groups whose members
come, leave and are killed, topics made and deleted, compaction and retention with small segments, connections that come and go.

soak.py MILLRACE_BINARY --out DIR [--minutes 30]

Every 5 s it notes the server's memory, open files, threads, CPU, disk and latencies: DIR/samples.csv, DIR/soak.svg, DIR/soak.md. It
fails where one of them is not flat (report.py has the bounds), or where anything was lost, repeated or torn.
"""

import argparse
import csv
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "clients"), str(HERE.parent / "pipelines")]
import checks  # noqa: E402
import report  # noqa: E402
import work  # noqa: E402
from broker import Broker  # noqa: E402
from loads import Committer, IdempotentProducer, Reader, TransactionalProducer, Transformer, Watch  # noqa: E402

SAMPLE_S = 5
MB = 1 << 20
SETTINGS = {
    "group.min.session.timeout.ms": 1000,
    "log.segment.bytes": MB,
    "log.retention.check.interval.ms": 5000,
    "log.cleaner.backoff.ms": 2000,
    "wal.checkpoint.bytes": 8 * MB,
    "wal.checkpoint.ms": 10_000,
    "connections.max.idle.ms": 86_400_000,
}


class Loads:
    """All that the broker has to do."""

    def __init__(self, bootstrap):
        create = work.create
        self.numbers = create(bootstrap, "numbers", checks.PARTITIONS)
        self.sink = create(bootstrap, "copies", checks.PARTITIONS)
        self.transactions = create(bootstrap, "transactions", checks.PARTITIONS)
        stream = create(bootstrap, "stream", 4, retention_bytes=4 * MB)
        compacted = create(bootstrap, "compacted", 1, cleanup_policy="compact", segment_bytes=MB, min_cleanable_dirty_ratio=0.3)
        self.probed = create(bootstrap, "probed", 1, retention_bytes=MB)

        self.numbered = IdempotentProducer("confluent-kafka", bootstrap, self.numbers, checks.PARTITIONS, per_s=20)
        self.transactional = [TransactionalProducer(bootstrap, n, self.transactions, checks.PARTITIONS, pause_s=0.3) for n in range(2)]
        self.readers = [Reader(client, bootstrap, self.transactions, checks.PARTITIONS) for client in ("kafka-python", "confluent-kafka")]
        self.copiers = [Transformer(bootstrap, n, "copiers", [self.numbers], self.sink) for n in range(2)]
        self.streams = [work.Stream(bootstrap, stream, 4, compression, per_s=25) for compression in work.COMPRESSIONS]
        self.stream_reader = work.StreamReader(bootstrap, stream, 4)
        self.compacted = work.Compacted(bootstrap, compacted, per_s=60)
        self.committer = Committer(bootstrap, "committing", self.numbers)
        self.watch = Watch(bootstrap, {topic: checks.PARTITIONS for topic in (self.numbers, self.sink, self.transactions)},
                           [("committing", self.numbers, checks.PARTITIONS), ("copiers", self.numbers, checks.PARTITIONS)],
                           self.committer, pause_s=0.5)
        self.writers = [self.numbered, *self.transactional, *self.streams, self.compacted]
        self.all = [*self.writers, *self.readers, *self.copiers, self.stream_reader, self.committer, self.watch,
                    work.Members(bootstrap, "members", self.numbers), work.Topics(bootstrap), work.Connections(bootstrap, self.numbers)]

    def failures(self):
        return [load.failure for load in self.all if load.failure]

    def acknowledged(self):
        return sum(load.progress for load in self.writers)

    def check(self, bootstrap):
        """Once everything that was written was also read."""
        for load in self.writers:
            load.stop()
        written = sum((load.acknowledged for load in self.streams), start=type(self.streams[0].acknowledged)())
        checks.wait_until(self.all, lambda: sum(self.stream_reader.next.values()) == sum(written.values()),
                          lambda: f"{sum(self.stream_reader.next.values())} of {sum(written.values())} records of the stream")
        checks.wait_for_copies(self.all, bootstrap, "copiers", [self.numbers])
        for load in self.all:
            load.stop()
        assert self.failures() == [], "\n".join(self.failures())
        source = checks.read_all(bootstrap, self.numbers, "read_uncommitted")
        checks.check_idempotent(self.numbered, source)
        committed = checks.read_all(bootstrap, self.transactions, "read_committed")
        checks.check_transactions(self.transactional, committed)
        for reader in self.readers:
            checks.check_reader(reader, committed)
        checks.check_copies(checks.read_all(bootstrap, self.sink, "read_committed"), {self.numbers: source})
        return self.compacted.check()


class Sampler:
    def __init__(self, broker, loads):
        self.broker, self.loads = broker, loads
        command = [sys.executable, "-B", str(HERE / "probe.py"), broker.bootstrap, loads.probed]
        self.probe = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.begun = time.monotonic()
        self.before = (self.begun, self._cpu_s(), loads.acknowledged())
        self.samples = []

    def _cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.broker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sample(self):
        """Waits for the probe's next line, which sets the pace."""
        latencies = [float(word) for word in self.probe.stdout.readline().split()]
        assert len(latencies) == 4, "the latency probe has ended"
        proc = pathlib.Path(f"/proc/{self.broker.process.pid}")
        status = (proc / "status").read_text()
        now = (time.monotonic(), self._cpu_s(), self.loads.acknowledged())
        passed, cpu, records = (new - old for new, old in zip(now, self.before))
        self.before = now
        self.samples.append({
            "s": now[0] - self.begun,
            "rss_mb": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024,
            "files": len(os.listdir(proc / "fd")),
            "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
            "cpu_percent": 100 * cpu / passed,
            "disk_mb": disk_bytes(self.broker.folder) / MB,
            **dict(zip(("produce_p50_ms", "produce_p99_ms", "fetch_p50_ms", "fetch_p99_ms"), latencies)),
            "records_per_s": records / passed,
        })
        return self.samples[-1]

    def stop(self):
        self.probe.terminate()
        self.probe.wait()


def disk_bytes(folder):
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # it is gone by now
    return total


def run(broker, minutes, out):
    loads = Loads(broker.bootstrap)
    for load in loads.all:
        load.start()
    sampler = Sampler(broker, loads)
    try:
        with (out / "samples.csv").open("w", newline="") as file:
            writer = None
            while time.monotonic() < sampler.begun + minutes * 60:
                sample = sampler.sample()
                writer = writer or csv.DictWriter(file, sample)
                if len(sampler.samples) == 1:
                    writer.writeheader()
                writer.writerow({key: round(value, 3) for key, value in sample.items()})
                file.flush()
                assert broker.is_running(), f"the server died:\n{broker.output()}"
                assert loads.failures() == [], "\n".join(loads.failures())
    finally:
        sampler.stop()
    found = loads.check(broker.bootstrap)
    members = next(load for load in loads.all if isinstance(load, work.Members))
    topics = next(load for load in loads.all if isinstance(load, work.Topics))
    did = (f"{loads.acknowledged():,} records and transactions were acknowledged, {topics.progress:,} topics made and deleted; of a group's "
           f"members {members.changes['joined']} joined, {members.changes['SIGTERM']} left and {members.changes['SIGKILL']} were killed. "
           f"{found}.")
    return sampler.samples, did


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=30, help="at least 1: compaction needs as long to show")
    arguments = parser.parse_args()
    os.environ["MILLRACE_BINARY"] = str(arguments.binary.resolve())
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as folder:
        broker = Broker(folder, SETTINGS).start()
        try:
            samples, did = run(broker, arguments.minutes, arguments.out)
        finally:
            code = broker.stop()
    assert code == 0, f"the server ended with {code}"
    rows = report.verdict(samples)
    (arguments.out / "soak.svg").write_text(report.svg(samples))
    (arguments.out / "soak.md").write_text(did + "\n\n" + report.table(rows))
    print(did, report.table(rows), sep="\n\n")
    return 0 if all(flat for *_, flat in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
