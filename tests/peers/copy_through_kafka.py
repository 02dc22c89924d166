#!/usr/bin/env python3
"""Topics and groups copied from Millrace to Apache Kafka and from there to a second Millrace are what they were; the
verbs of the command line do the same against either.

copy_through_kafka.py MILLRACE_BINARY CACHE_DIR; exit status 77: Java or Maven is missing.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE / "kafka"), str(HERE.parent / "server")]
import kafka  # noqa: E402
import test_server  # noqa: E402

RECORDS = 5_000


def millrace(bootstrap: str, *arguments: str, text: str | None = None) -> str:
    command = [test_server.BINARY, "--bootstrap", bootstrap, "--json", *arguments]
    result = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {result.stderr}")
    return result.stdout


def rows(bootstrap: str, *arguments: str) -> list[dict]:
    return json.loads(millrace(bootstrap, *arguments).splitlines()[0])


def records(bootstrap: str) -> list[tuple]:
    """What is in the topic, but for offsets, by partition and in order."""
    lines = [json.loads(line) for line in millrace(bootstrap, "topic", "consume", "moved").splitlines()]
    lines.sort(key=lambda row: (row["partition"], row["offset"]))
    return [(row["partition"], row["timestamp"], row["key"], row["headers"], row["value"]) for row in lines]


def next_records(bootstrap: str, group: str) -> dict:
    """The record that the group reads next in each partition."""
    committed = {row["partition"]: row["committed"] for row in rows(bootstrap, "group", "lag", group)}
    found: dict = {}
    for line in millrace(bootstrap, "topic", "consume", "moved").splitlines():
        row = json.loads(line)
        if row["offset"] >= committed[row["partition"]]:
            found.setdefault(row["partition"], (row["offset"], row["value"]))
            found[row["partition"]] = min(found[row["partition"]], (row["offset"], row["value"]))
    return {partition: value for partition, (_, value) in found.items()}


def settings(bootstrap: str) -> dict:
    return {row["setting"]: row["value"] for row in rows(bootstrap, "config", "list", "--topic", "moved", "--changed")
            if row["source"] == "DYNAMIC_TOPIC_CONFIG"}


def main() -> int:
    test_server.BINARY = sys.argv[1]
    try:
        peer = kafka.Kafka(pathlib.Path(sys.argv[2]))
    except kafka.Unavailable as why:
        print(f"skipped: {why}")
        return 77
    with tempfile.TemporaryDirectory() as folder, peer:
        servers = [test_server.Server(f"{folder}/{name}") for name in ("first", "second")]
        try:
            for server in servers:
                server.wait_started()
            first, second = (f"127.0.0.1:{server.kafka}" for server in servers)
            millrace(first, "topic", "create", "moved", "-p", "3", "-c", "retention.ms=-1", "-c", "max.message.bytes=500000")
            millrace(first, "topic", "produce", "moved", "-K", ":", text="".join(f"k{i % 97}:value {i}\n" for i in range(RECORDS)))
            millrace(first, "topic", "delete-records", "moved", "--before", "100", "--execute")
            millrace(first, "group", "reset-offsets", "readers", "--topic", "moved", "--to-offset", "700", "--execute")
            for source, destination in ((first, peer.bootstrap), (peer.bootstrap, second)):
                millrace(source, "topic", "copy", "moved", "--to", destination, "--groups", "readers")
                if records(source) != records(destination):
                    raise SystemExit(f"the records at {source} and {destination} differ")
                if settings(source) != settings(destination):
                    raise SystemExit(f"the settings differ: {settings(source)} and {settings(destination)}")
                if next_records(source, "readers") != next_records(destination, "readers"):
                    raise SystemExit(f"the group would go on elsewhere at {destination} than at {source}")
                again = rows(source, "topic", "copy", "moved", "--to", destination)
                if any(row["copied"] for row in again):
                    raise SystemExit("records were copied twice")
            print(f"{RECORDS} records went to Apache Kafka and back")
        finally:
            for server in servers:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
