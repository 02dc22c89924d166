#!/usr/bin/env python3
"""probe.py BOOTSTRAP TOPIC: produces a record of 100 bytes and fetches it, twenty times a second, in a process of its own, where
nobody else's work delays the clock. Every 5 s it prints produce p50 and p99 and fetch p50 and p99, in milliseconds."""

import pathlib
import statistics
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "pipelines"))
import raw_client  # noqa: E402

PAUSE_S = 0.05
WINDOW = 100


def main() -> None:
    bootstrap, topic = sys.argv[1:]
    with raw_client.Connection(bootstrap, timeout=30) as connection:
        while True:
            produced, fetched = [], []
            for _ in range(WINDOW):
                batch = raw_client.record_batch(b"x" * 100, time_ms=int(time.time() * 1000))
                begun = time.monotonic()
                offset = connection.produce(topic, 0, batch)
                answered = time.monotonic()
                assert connection.fetch(topic, 0, offset), "what was acknowledged is not there"
                produced.append((answered - begun) * 1000)
                fetched.append((time.monotonic() - answered) * 1000)
                time.sleep(PAUSE_S)
            percentiles = [statistics.quantiles(times, n=100)[p - 1] for times in (produced, fetched) for p in (50, 99)]
            print(*(f"{ms:.3f}" for ms in percentiles), flush=True)


main()
