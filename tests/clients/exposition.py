"""Prometheus' text exposition format, version 0.0.4, read strictly: what `promtool check metrics` finds fault with is an error, too."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
SUFFIXES = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
# Prometheus wants base units.
OTHER_UNITS = re.compile(r"_(milliseconds|microseconds|nanoseconds|ms|us|ns|minutes|hours|days|kilobytes|megabytes|kb|mb|bits|percent)(_|$)")


class FormatError(AssertionError):
    pass


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = {}  # (name, labels as sorted pairs) -> value, in the order in which they came


def check(condition, message):
    if not condition:
        raise FormatError(message)


def unescape(text):
    check(not re.search(r"\\[^\\n\"]", text), f"a wrong escape: {text!r}")
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def parse_labels(text):
    """The labels between the braces, and what comes behind them."""
    labels = []
    while not text.startswith("}"):
        found = re.match(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(,|(?=\}))', text)
        check(found, f"no labels: {text!r}")
        labels.append((found[1], unescape(found[2])))
        text = text[found.end() :]
    check(len({name for name, _ in labels}) == len(labels), f"a label comes twice: {labels}")
    return labels, text[1:]


def parse_value(text):
    check(text in ("NaN", "+Inf", "-Inf") or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", text), f"no number: {text!r}")
    return float(text)


def check_family(family):
    check(family.type in SUFFIXES, f"{family.name} has no type")
    check(family.help, f"{family.name} has no help")
    check((family.type == "counter") == family.name.endswith("_total"), f"{family.name} is a {family.type}")
    check(not re.search(r"_(count|sum|bucket|info_total)$", family.name), f"{family.name} has a reserved ending")
    check(not OTHER_UNITS.search(family.name), f"{family.name} is not in base units")
    for (name, labels), value in family.samples.items():
        if family.type == "counter":
            check(value >= 0 and not math.isinf(value), f"{name} is {value}")
        if family.type != "histogram":
            check("le" not in dict(labels) and "quantile" not in dict(labels), f"{name} has a reserved label")
    if family.type == "histogram":
        check_histogram(family)


def check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        plain = tuple(pair for pair in labels if pair[0] != "le")
        parts = series.setdefault(plain, {"buckets": []})
        if name.endswith("_bucket"):
            parts["buckets"].append((parse_value(dict(labels)["le"]), value))
        else:
            parts[name.removeprefix(family.name)] = value
    for labels, parts in series.items():
        bounds = [bound for bound, _ in parts["buckets"]]
        counts = [count for _, count in parts["buckets"]]
        check(bounds == sorted(set(bounds)) and bounds[-1] == math.inf, f"{family.name}{labels}: buckets {bounds}")
        check(counts == sorted(counts), f"{family.name}{labels}: counts go down")
        check(parts.get("_count") == counts[-1] and "_sum" in parts, f"{family.name}{labels}: no sum, or another count")


class Exposition:
    """All families of one answer, checked."""

    def __init__(self, text):
        check(text.endswith("\n"), "the last line has no end")
        self.families = {}
        family = None
        for line in text[:-1].split("\n"):
            if line.startswith("# HELP "):
                name, _, help_text = line[7:].partition(" ")
                check(NAME.fullmatch(name), f"no name: {line}")
                check(name not in self.families, f"{name} comes twice")
                family = self.families[name] = Family(name, unescape(help_text))
            elif line.startswith("# TYPE "):
                name, _, kind = line[7:].partition(" ")
                check(family and family.name == name and not family.type and not family.samples, f"out of place: {line}")
                family.type = kind
            else:
                check(family and family.type, f"a sample before its type: {line}")
                self.add_sample(family, line)
        for family in self.families.values():
            check_family(family)

    def add_sample(self, family, line):
        found = NAME.match(line)
        check(found, f"no sample: {line!r}")
        labels, rest = parse_labels(line[found.end() + 1 :]) if line[found.end()] == "{" else ([], line[found.end() :])
        check(found[0] in [family.name + suffix for suffix in SUFFIXES[family.type]], f"{found[0]} among {family.name}")
        check(rest.startswith(" "), f"no value: {line!r}")
        key = (found[0], tuple(sorted(labels)))
        check(key not in family.samples, f"{key} comes twice")
        family.samples[key] = parse_value(rest[1:])

    def get(self, name, **labels):
        """The value of one series; None: there is none."""
        family = self.families.get(re.sub(r"_(bucket|sum|count)$", "", name)) or self.families.get(name)
        return family and family.samples.get((name, tuple(sorted(labels.items()))))

    def table(self):
        """Markdown: every family with its type, labels and help."""
        lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
        for family in self.families.values():
            labels = {name: None for _, pairs in family.samples for name, _ in pairs if name != "le"}
            shown = ", ".join(f"`{name}`" for name in labels) or "–"
            lines.append(f"| `{family.name}` | {family.type} | {shown} | {family.help} |")
        return "\n".join(lines) + "\n"
