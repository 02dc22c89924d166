#!/usr/bin/env python3
"""Millrace beside Apache Kafka in one run: the same clients, the same machine, in turn; medians.

broker.py BUILD_DIR [--runs 5] [--scale 1.0] [--only GROUP,...] [--json FILE]
Groups: start idle throughput latency commits transactions memory.
Kafka runs twice, with its defaults (it never syncs) and with a sync per message, which is what Millrace promises.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import targets
from targets import cpu_seconds, create_topic, kafka, resident_mb

import raw_client  # noqa: E402  (targets made it findable)

GROUPS = ["start", "idle", "throughput", "latency", "commits", "transactions", "memory"]
# Record bytes, partitions, records, codec.
PRODUCE = [
    (100, 1, 1_500_000, "none"),
    (100, 16, 1_000_000, "none"),
    (100, 64, 1_000_000, "none"),
    (1024, 1, 400_000, "none"),
    (1024, 16, 300_000, "none"),
    (1024, 64, 300_000, "none"),
    (1024, 1, 400_000, "lz4"),
]


@dataclass
class Context:
    build: pathlib.Path
    scale: float
    run: int
    franz: pathlib.Path | None  # the program of bench/franz, where Go is installed


@dataclass
class Row:
    """One line of the table: `measure` gives what its columns show, the first of them the one to compare by."""

    what: str
    columns: list[tuple[str, str]]  # key of the result, format
    more_is_better: bool
    measure: Callable[[object, Context], dict]


def size_name(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size // 1024} KB"


def program(path: pathlib.Path, broker, *arguments) -> dict:
    """Runs a client that prints one JSON object; adds what the broker spent on it."""
    before = cpu_seconds(broker.process.pid)
    result = subprocess.run([str(path), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        raise RuntimeError(f"{path.name} {' '.join(map(str, arguments))}: {result.stderr[-500:]}")
    row = json.loads(result.stdout)
    row["broker_cpu_s"] = cpu_seconds(broker.process.pid) - before
    row["rss_mb"] = resident_mb(broker.process.pid)
    return row


def throughput_rows() -> Iterator[Row]:
    columns = [("records_per_s", "{:,.0f}/s"), ("cpu_s_per_million", "CPU {:.2f}")]

    def per_million(row: dict) -> dict:
        return {**row, "cpu_s_per_million": row["broker_cpu_s"] / row["records"] * 1e6}

    for size, partitions, records, codec in PRODUCE:
        name = f"{size_name(size)}{'' if codec == 'none' else ' ' + codec}, {partitions} partition{'' if partitions == 1 else 's'}"

        def topic(context, size=size, partitions=partitions, codec=codec):
            return f"load-{size}-{partitions}-{codec}-{context.run}"

        def produce(broker, context, size=size, partitions=partitions, records=records, codec=codec, topic=topic):
            create_topic(context.build, broker, topic(context), partitions)
            return per_million(program(context.build / "bin/broker_load", broker, "produce", broker.bootstrap, topic(context), partitions,
                                       int(records * context.scale), size, f"compression.type={codec}"))

        def consume(broker, context, partitions=partitions, records=records, topic=topic):
            return per_million(program(context.build / "bin/broker_load", broker, "consume", broker.bootstrap, topic(context), partitions,
                                       int(records * context.scale)))

        yield Row(f"produce {name}", columns, True, produce)
        if partitions <= 16 and codec == "none":
            yield Row(f"consume {name}", columns, True, consume)


def latency_rows() -> Iterator[Row]:
    for linger in (5, 0):
        for partitions in (1, 16):

            def measure(broker, context, partitions=partitions, linger=linger):
                topic = f"latency-{partitions}-{linger}-{context.run}"
                create_topic(context.build, broker, topic, partitions)
                return program(context.build / "bin/broker_load", broker, "latency", broker.bootstrap, topic, partitions, 10_000, 200, linger,
                               max(1, int(5 * context.scale)))

            yield Row(f"10,000 records/s of 200 B, linger {linger} ms, {partitions} partition{'' if partitions == 1 else 's'}",
                      [("p50_ms", "p50 {:.2f} ms"), ("p99_ms", "p99 {:.2f} ms")], False, measure)


def small_request_rows(kind: str, what: str, clients: tuple[int, int]) -> Iterator[Row]:
    for count in clients:

        def measure(broker, context, count=count):
            topic = f"{kind}-{count}-{context.run}"
            create_topic(context.build, broker, topic, 16)
            return program(context.franz, broker, kind, broker.bootstrap, topic, count, max(1, int(3 * context.scale)))

        yield Row(f"{what}, {count} client{'' if count == 1 else 's'}", [("per_s", "{:,.0f}/s"), ("p99_ms", "p99 {:.1f} ms")], True, measure)


def measure_memory(broker, _context: Context) -> dict:
    return {"mb": resident_mb(broker.process.pid)}


def rows_of(group: str) -> list[Row]:
    match group:
        case "throughput":
            return list(throughput_rows())
        case "latency":
            return list(latency_rows())
        case "commits":
            return list(small_request_rows("commits", "offset commits", (1, 16)))
        case "transactions":
            return list(small_request_rows("transactions", "transactions of one record and one offset", (1, 8)))
        case "memory":
            return [Row("resident memory after what is measured above", [("mb", "{:.0f} MB")], False, measure_memory)]
    return []


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


def spread(took: list[float]) -> str:
    return f"{statistics.median(took):.0f} ms (of {len(took)} runs {min(took):.0f} to {max(took):.0f})"


def print_start(build: pathlib.Path, with_kafka: bool):
    print(f"First record produced and read after process start, empty folder: Millrace {spread(first_record_ms(lambda: targets.Millrace(build)))}")
    if with_kafka:
        took = first_record_ms(lambda: kafka.Kafka(build / "peers"), 3)
        print(f"Kafka, its data folder formatted before: {spread(took)}")


def print_idle(build: pathlib.Path):
    with targets.Millrace(build) as broker:
        time.sleep(2)
        before = cpu_seconds(broker.process.pid)
        time.sleep(10)
        print(f"Millrace idle: {resident_mb(broker.process.pid):.0f} MB resident, {(cpu_seconds(broker.process.pid) - before) * 10:.2f} % CPU")


def print_table(rows: list[Row], results: dict, names: list[str]):
    print("\n| what | " + " | ".join(names) + " | Millrace ÷ Kafka |")
    print("|---|" + "---:|" * (len(names) + 1))
    for row in rows:
        medians = {name: {key: statistics.median(result[key] for result in results[row.what, name]) for key, _ in row.columns}
                   for name in names if results.get((row.what, name))}
        cells = [", ".join(shape.format(medians[name][key]) for key, shape in row.columns) if name in medians else "failed" for name in names]
        ratio = "–"
        if names[0] in medians and "Kafka" in medians:
            leading = row.columns[0][0]
            ratio = f"{medians[names[0]][leading] / medians['Kafka'][leading]:.2f}"
        print(f"| {row.what} | " + " | ".join(cells) + f" | {ratio}{'' if row.more_is_better else ' (less is better)'} |")


def measure_all(rows: list[Row], brokers: dict, runs: int, context: Context) -> dict:
    results: dict[tuple[str, str], list[dict]] = {}
    for context.run in range(runs):
        for row in rows:
            for name, broker in brokers.items():
                try:
                    results.setdefault((row.what, name), []).append(row.measure(broker, context))
                except (RuntimeError, subprocess.TimeoutExpired) as why:
                    print(f"{name}, {row.what}, run {context.run + 1}: {why}", file=sys.stderr)
    return results


def build_franz(build: pathlib.Path) -> pathlib.Path | None:
    out = build / "bench/franz"
    result = subprocess.run([targets.ROOT / "tests/peers/build_go.sh", out, targets.ROOT / "bench/franz"], capture_output=True, text=True)
    if result.returncode == 0:
        return out
    print(f"Without commits and transactions: {(result.stdout + result.stderr).strip()[-300:]}\n")
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", type=lambda text: text.split(","), default=GROUPS, help="of " + ",".join(GROUPS))
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    build = arguments.build.resolve()
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"Machine: {os.cpu_count()} cores, {model[1] if model else platform.machine()}; medians of {arguments.runs}; acks=all\n")
    peers = {}
    try:
        peers = targets.kafkas(build)
    except kafka.Unavailable as why:
        print(f"Without Apache Kafka: {why}\n")
    if "start" in arguments.only:
        print_start(build, bool(peers))
    if "idle" in arguments.only:
        print_idle(build)
    franz = build_franz(build)
    rows = [row for group in GROUPS if group in arguments.only for row in rows_of(group)
            if franz or group not in ("commits", "transactions")]
    if not rows:
        return 0
    with contextlib.ExitStack() as stack:
        brokers = {name: stack.enter_context(broker) for name, broker in {"Millrace": targets.Millrace(build), **peers}.items()}
        results = measure_all(rows, brokers, arguments.runs, Context(build, arguments.scale, 0, franz))
    print_table(rows, results, list(brokers))
    if arguments.json:
        arguments.json.write_text("".join(json.dumps({"what": what, "target": name, "run": run, **result}) + "\n"
                                          for (what, name), found in results.items() for run, result in enumerate(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
