"""From samples to a verdict and a plot."""

import dataclasses
import html
import statistics

WARM_UP = 0.2  # of the run, which the verdict leaves out


@dataclasses.dataclass(frozen=True)
class Measure:
    """`flat` where the last third's median is at most `factor` times the middle third's plus `slack`; None: only shown."""
    key: str
    title: str
    factor: float | None = None
    slack: float = 0


MEASURES = [
    Measure("rss_mb", "resident memory, MB", 1.05, 4),
    Measure("files", "open files", 1.05, 10),
    Measure("threads", "threads", 1, 0),
    Measure("cpu_percent", "CPU, % of a core", 1.5, 5),
    Measure("disk_mb", "data folder, MB", 1.1, 32),
    Measure("produce_p50_ms", "produce p50, ms", 1.5, 0.5),
    Measure("produce_p99_ms", "produce p99, ms", 2, 10),
    Measure("fetch_p50_ms", "fetch p50, ms", 1.5, 0.5),
    Measure("fetch_p99_ms", "fetch p99, ms", 2, 10),
    Measure("records_per_s", "records acknowledged a second"),
]


def slope_per_hour(samples, key):
    """Of the straight line that fits best (least squares)."""
    times = [sample["s"] / 3600 for sample in samples]
    values = [sample[key] for sample in samples]
    return statistics.linear_regression(times, values).slope if len(samples) > 1 else 0.0


def verdict(samples):
    """[(measure, middle, last, slope per hour, is it flat)]"""
    begun = samples[0]["s"] + WARM_UP * (samples[-1]["s"] - samples[0]["s"])
    counted = [sample for sample in samples if sample["s"] >= begun]
    half = len(counted) // 2
    rows = []
    for measure in MEASURES:
        middle, last = (statistics.median(sample[measure.key] for sample in part) for part in (counted[:half], counted[half:]))
        flat = measure.factor is None or last <= measure.factor * middle + measure.slack
        rows.append((measure, middle, last, slope_per_hour(counted, measure.key), flat))
    return rows


def table(rows):
    text = "| what | first half | second half | slope an hour | bound | flat |\n|---|---:|---:|---:|---|---|\n"
    for measure, middle, last, slope, flat in rows:
        bound = f"≤ {measure.factor} × + {measure.slack}" if measure.factor is not None else "–"
        text += f"| {measure.title} | {middle:,.2f} | {last:,.2f} | {slope:+,.2f} | {bound} | {'yes' if flat else 'NO'} |\n"
    return text


def svg(samples):
    """A panel for each measure, one below another in two columns."""
    width, height, columns, margin = 460, 130, 2, 14
    rows = -(-len(MEASURES) // columns)
    minutes = max(samples[-1]["s"] / 60, 1e-9)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * width}" height="{rows * height}" font-family="sans-serif" '
             'font-size="11"><rect width="100%" height="100%" fill="white"/>']
    for index, measure in enumerate(MEASURES):
        left, top = index % columns * width + 50, index // columns * height + 24
        wide, high = width - 50 - margin, height - 24 - 22
        highest = max(sample[measure.key] for sample in samples) * 1.1 or 1
        points = " ".join(f"{left + wide * sample['s'] / 60 / minutes:.1f},{top + high * (1 - sample[measure.key] / highest):.1f}"
                          for sample in samples)
        parts.append(
            f'<text x="{left}" y="{top - 8}" font-weight="bold">{html.escape(measure.title)}</text>'
            f'<rect x="{left + wide * WARM_UP:.1f}" y="{top}" width="{wide * (1 - WARM_UP):.1f}" height="{high}" fill="#f3f6fa"/>'
            f'<path d="M{left},{top}v{high}h{wide}" fill="none" stroke="#999"/>'
            f'<text x="{left - 5}" y="{top + 9}" text-anchor="end">{highest:,.4g}</text>'
            f'<text x="{left - 5}" y="{top + high}" text-anchor="end">0</text>'
            f'<text x="{left + wide}" y="{top + high + 13}" text-anchor="end">{minutes:.0f} min</text>'
            f'<polyline points="{points}" fill="none" stroke="#2563a8" stroke-width="1.2"/>')
    return "\n".join(parts) + "\n</svg>\n"
