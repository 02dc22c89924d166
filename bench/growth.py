#!/usr/bin/env python3
"""What a broker's work costs as it grows: partitions, connections, bytes of a batch; a plot each, Millrace beside Apache Kafka.

growth.py BUILD_DIR OUT_DIR [--runs 3] [--scale 1.0]
Writes OUT_DIR/growth.svg and OUT_DIR/growth.json; medians. A cliff is what to look for: both axes are logarithmic.
"""

import argparse
import contextlib
import html
import json
import math
import pathlib
import statistics
import subprocess
import sys

import targets
from broker import build_franz, program
from targets import create_topic, kafka, resident_mb

PARTITIONS = [1, 10, 100, 1_000, 10_000]
CONNECTIONS = [1, 10, 100, 1_000, 5_000]
BATCH_BYTES = [1 << 10, 8 << 10, 64 << 10, 512 << 10, 4 << 20, 10 << 20]
RECORD_BYTES = 900  # one fits into the smallest batch
# Of a topic and of the client, with room for the batch's header.
BATCH_BYTES_MAX = (10 << 20) + 65536


def by_partitions(broker, build, count: int, run: int, scale: float, _) -> dict:
    topic = f"partitions-{count}-{run}"
    create_topic(build, broker, topic, count)
    result = program(build / "bin/broker_load", broker, "produce", broker.bootstrap, topic, count, int(1_000_000 * scale), 100)
    return {"records_per_s": result["records_per_s"], "resident_mb": resident_mb(broker.process.pid)}


def by_connections(broker, build, count: int, run: int, scale: float, franz) -> dict:
    topic = f"connections-{count}-{run}"
    create_topic(build, broker, topic, 16)
    with subprocess.Popen([franz, "connections", broker.bootstrap, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if not holder.stdout.readline():
            raise RuntimeError(f"{count} connections could not be opened")
        result = program(build / "bin/broker_load", broker, "latency", broker.bootstrap, topic, 16, 10_000, 200, 0, max(1, int(4 * scale)))
        resident = resident_mb(broker.process.pid)
        holder.stdin.close()
    return {"p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"], "resident_mb": resident}


def by_batch_bytes(broker, build, size: int, run: int, scale: float, _) -> dict:
    topic = f"batch-{size}-{run}"
    create_topic(build, broker, topic, 1, f"max.message.bytes={BATCH_BYTES_MAX}")
    # Enough for a second, however small the batches are.
    records = int(min(400_000, max(50_000, 400 * size / 1024)) * scale)
    result = program(build / "bin/broker_load", broker, "produce", broker.bootstrap, topic, 1, records, RECORD_BYTES, f"batch.size={size}",
                     f"message.max.bytes={BATCH_BYTES_MAX}", "batch.num.messages=1000000", "linger.ms=50")
    return {"mb_per_s": result["mb_per_s"]}


SERIES = [
    ("partitions", by_partitions, PARTITIONS, [("records_per_s", "produced, records of 100 B a second"), ("resident_mb", "resident memory, MB")]),
    ("idle connections", by_connections, CONNECTIONS,
     [("p50_ms", "10,000 records a second, p50, ms"), ("p99_ms", "the same, p99, ms"), ("resident_mb", "resident memory, MB")]),
    ("largest batch", by_batch_bytes, BATCH_BYTES, [("mb_per_s", "produced, MB a second")]),
]
COLOURS = ["#2563a8", "#c2571a", "#6b7280"]


def short(value: float) -> str:
    for unit, name in ((1 << 20, "MB"), (1 << 10, "KB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit:.0f} {name}"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def panel(left: float, top: float, title: str, axis: str, lines: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Both axes logarithmic; a point where it was measured."""
    wide, high = 330, 130
    x_all = [x for points in lines.values() for x, _ in points]
    y_all = [y for points in lines.values() for _, y in points if y > 0]
    x_low, x_high = math.log10(min(x_all)), math.log10(max(x_all))
    y_low, y_high = math.floor(math.log10(min(y_all))), math.ceil(math.log10(max(y_all)))
    y_high = max(y_high, y_low + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (left + wide * (math.log10(x) - x_low) / (x_high - x_low), top + high * (1 - (math.log10(max(y, 10**y_low)) - y_low) / (y_high - y_low)))

    parts = [f'<text x="{left}" y="{top - 8}" font-weight="bold">{html.escape(title)}</text>',
             f'<path d="M{left},{top}v{high}h{wide}" fill="none" stroke="#999"/>',
             f'<text x="{left + wide / 2}" y="{top + high + 28}" text-anchor="middle">{html.escape(axis)}</text>']
    for power in range(y_low, y_high + 1):
        y = top + high * (1 - (power - y_low) / (y_high - y_low))
        parts.append(f'<path d="M{left},{y}h{wide}" stroke="#e5e7eb"/><text x="{left - 5}" y="{y + 4}" text-anchor="end">{short(10.0**power)}</text>')
    for x in sorted(set(x_all)):
        parts.append(f'<text x="{at(x, 10**y_low)[0]:.1f}" y="{top + high + 14}" text-anchor="middle">{short(x)}</text>')
    for colour, points in zip(COLOURS, lines.values()):
        placed = [at(x, y) for x, y in points]
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in placed]
    return parts


def svg(medians: dict, names: list[str]) -> str:
    width, height = 430, 200
    columns = max(len(measures) for *_, measures in SERIES)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * width}" height="{len(SERIES) * height + 30}" font-family="sans-serif" '
             'font-size="11"><rect width="100%" height="100%" fill="white"/>']
    for index, (name, colour) in enumerate(zip(names, COLOURS)):
        parts.append(f'<circle cx="{70 + 130 * index}" cy="16" r="4" fill="{colour}"/><text x="{80 + 130 * index}" y="20">{html.escape(name)}</text>')
    for row, (axis, _, sizes, measures) in enumerate(SERIES):
        for column, (key, title) in enumerate(measures):
            lines = {name: [(size, medians[axis, name, size][key]) for size in sizes if (axis, name, size) in medians] for name in names}
            lines = {name: points for name, points in lines.items() if len(points) > 1}
            if lines:
                parts += panel(column * width + 70, row * height + 55, title, axis, lines)
    return "\n".join(parts) + "\n</svg>\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    makers = {"Millrace": lambda: targets.Millrace(build)}
    try:
        kafka.jars(build / "peers")
        makers["Kafka"] = lambda: kafka.Kafka(build / "peers")
    except kafka.Unavailable as why:
        print(f"Without Apache Kafka: {why}")
    franz = build_franz(build)
    results: dict[tuple, list[dict]] = {}
    for axis, measure, sizes, _ in SERIES:
        if measure is by_connections and franz is None:
            continue
        for name, make in makers.items():
            # A broker of its own for each axis: what one left behind would show in the next one's memory.
            with contextlib.ExitStack() as stack:
                broker = stack.enter_context(make())
                for size in sizes:
                    for run in range(arguments.runs):
                        try:
                            results.setdefault((axis, name, size), []).append(measure(broker, build, size, run, arguments.scale, franz))
                        except (RuntimeError, subprocess.SubprocessError) as why:
                            print(f"{name}, {size} {axis}, run {run + 1}: {why}", file=sys.stderr)
        print(f"measured: {axis}", file=sys.stderr)
    medians = {at: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for at, rows in results.items() if rows}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "growth.svg").write_text(svg(medians, list(makers)))
    (arguments.out / "growth.json").write_text(json.dumps([{"axis": axis, "target": name, "size": size, **row}
                                                           for (axis, name, size), row in medians.items()], indent=1) + "\n")
    for (axis, name, size), row in medians.items():
        print(f"{name:9} {size:>10,} {axis}: " + ", ".join(f"{key} {value:,.2f}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
