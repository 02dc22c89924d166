#!/usr/bin/env python3
"""Other clients' own test suites, unmodified, against the program; writes the page docs/compatibility.md.

suites.py MILLRACE_BINARY --out DIR [--suite NAME] [--tests "0012 0026"] [--page FILE]

Each suite gets two servers with empty data folders: one as the suites ask for it, one that makes no topics by itself. A
test that fails here and passes against Apache Kafka is run again alone, with more patience, before it is believed: the
suites are full of fixed waits. What still fails needs a line in exceptions.txt that says why.

The suites' scripts and their lists of what passes against Apache Kafka are in MILLRACE_SUITES (by default
../shared/peers/suites beside the checkout). A suite's results stay in DIR, so that a run of some tests replaces only
theirs. Exit status: 0, or 1 where a failure has no reason or a reason no failure, or 77 where the suites are missing.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from ports import free_port  # noqa: E402

SUITES = pathlib.Path(os.environ.get("MILLRACE_SUITES", HERE.parents[2] / "shared/peers/suites"))
CACHE = pathlib.Path(os.environ.get("SUITES_CACHE", pathlib.Path.home() / ".cache/millrace-peers"))
READY_TIMEOUT_S = 20
PEER = "Apache Kafka 4.3.1"
SETTINGS = {"node.id": 0, "num.partitions": 4, "group.min.session.timeout.ms": 1000}


@dataclasses.dataclass(frozen=True)
class Suite:
    name: str
    client: str
    about: str
    folder: str  # of its runs, in the cache
    reference: str

    def command(self, first: "Server", second: "Server") -> list[str]:
        return [str(SUITES / f"{self.name}.sh"), first.bootstrap, *([second.bootstrap] if self.name == "librdkafka" else [])]

    def only(self, tests: list[str]) -> list[dict[str, str]]:
        """The environments of runs that run these tests, and perhaps others."""
        if self.name == "librdkafka":
            return [{"TESTS_ONLY": " ".join(tests)}]
        functions = [short(test).partition("[")[0] for test in tests]
        return [{"PYTEST_ARGS": f"-k {function}"} for function in functions]

    def known_passes(self) -> set[str]:
        lines = (SUITES / self.reference).read_text().splitlines()
        return {line for line in lines if line and not line.startswith("#")}


ALL_SUITES = [
    Suite("kafka-python", "kafka-python 3.0.12", "its `test/integration`", "kafka-python", "kafka-python.reference"),
    Suite("librdkafka", "librdkafka 2.15.1", "its own tests that need a broker, each in a process of its own, with the classic group protocol",
          "librdkafka", "librdkafka-classic.reference"),
]


class Server:
    """The program on a free port with an empty data folder; a context manager that stops it by process id."""

    def __init__(self, binary: str, log: pathlib.Path, settings: dict):
        self._binary, self._log, self._settings = binary, log, settings
        self.bootstrap = f"127.0.0.1:{free_port()}"

    def __enter__(self) -> "Server":
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-suites-")
        config = pathlib.Path(self._folder.name) / "config.yaml"
        lines = [f"  {name}: {str(value).lower()}\n" for name, value in self._settings.items()]
        config.write_text("broker:\n" + "".join(lines))
        command = [self._binary, "server", "--config", str(config), "--data", f"{self._folder.name}/data"]
        command += ["--kafka", self.bootstrap, "--http", "127.0.0.1:0"]
        with self._log.open("w") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        host, port = self.bootstrap.split(":")
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return self
            time.sleep(0.05)
        raise SystemExit(f"the server did not start: {self._log.read_text()[-2000:]}")

    def __exit__(self, *_):
        ended = self._process.poll()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
        if ended is not None:
            raise SystemExit(f"the server ended during the suite with status {ended}: {self._log.read_text()[-2000:]}")


def run_script(suite: Suite, command: list[str], environment: dict[str, str]) -> dict[str, str]:
    """The outcome, PASS, FAIL or SKIP, of each test that ran."""
    runs = CACHE / suite.folder
    before = set(runs.glob("run-*"))
    # Its exit status says only whether tests failed that pass elsewhere, which is decided below.
    subprocess.run(command, env={**os.environ, **environment}, stdout=sys.stderr, check=False)
    new = set(runs.glob("run-*")) - before
    results = new.pop() / "results" if new else None
    if results is None or not results.exists():
        raise SystemExit(f"{suite.name} did not run")
    outcomes = (line.split(" ", 1) for line in results.read_text().splitlines())
    return {test: outcome for outcome, test in outcomes}


def run_suite(suite: Suite, args: argparse.Namespace, reasons: dict[str, str]) -> dict[str, str]:
    def with_servers(only: dict[str, str], patience: str) -> dict[str, str]:
        environment = {"JOBS": os.environ.get("JOBS", "1"), "TEST_MULTIPLIER": patience, **only}
        with Server(args.binary, args.out / f"{suite.name}.server.log", SETTINGS) as first, \
             Server(args.binary, args.out / f"{suite.name}.second-server.log", {**SETTINGS, "auto.create.topics.enable": False}) as second:
            return run_script(suite, suite.command(first, second), environment)

    outcomes = with_servers({"TESTS_ONLY": args.tests}, "2")
    again = sorted(test for test in suite.known_passes() & outcomes.keys() if outcomes[test] != "PASS" and test not in reasons)
    for only in suite.only(again) if again else []:
        outcomes |= {test: outcome for test, outcome in with_servers(only, "4").items() if test in again}
    return outcomes


def load(path: pathlib.Path) -> dict[str, str]:
    if not path.exists():
        return {}
    return dict(reversed(line.split(" ", 1)) for line in path.read_text().splitlines())


def load_reasons() -> dict[str, dict[str, str]]:
    """By suite, the reason of each test that is known to fail here. A line of exceptions.txt: SUITE TEST REASON."""
    reasons: dict[str, dict[str, str]] = {suite.name: {} for suite in ALL_SUITES}
    for line in (HERE / "exceptions.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            suite, test, reason = line.split(maxsplit=2)
            reasons[suite][test] = reason
    return reasons


def disagreements(suite: Suite, outcomes: dict[str, str], reasons: dict[str, str]) -> list[str]:
    failed = {test for test in suite.known_passes() if outcomes.get(test) in ("FAIL", "SKIP")}
    return [f"{suite.name}: {test} fails and exceptions.txt has no reason" for test in sorted(failed - reasons.keys())] + \
        [f"{suite.name}: {test} passes and exceptions.txt says that it does not" for test in sorted(reasons) if outcomes.get(test) == "PASS"]


def page(results: dict[str, dict[str, str]], reasons: dict[str, dict[str, str]]) -> str:
    settings = ", ".join(f"`{name}={value}`" for name, value in SETTINGS.items())
    text = f"""# Compatibility

What the test suites of other projects' Kafka clients say of Millrace, unmodified. `make compatibility` runs them and writes this page;
`tests/compatibility/exceptions.txt` has the reasons.

The server has its defaults but for {settings}, which the suites ask for. A test that fails here and passes
against {PEER} is run again alone before it is believed: many have fixed waits and fail on a busy machine. What needs something that
is not built yet need not have run; it is listed with the reason.

| client | tests that ran | passed | failed | of those that {PEER} passes, passed here |
|---|---|---|---|---|
"""
    suites = [suite for suite in ALL_SUITES if results[suite.name]]
    for suite in suites:
        outcomes = results[suite.name]
        count = {word: sum(outcome == word for outcome in outcomes.values()) for word in ("PASS", "FAIL")}
        known = suite.known_passes()
        both = sum(outcomes.get(test) == "PASS" for test in known)
        text += f"| {suite.client} | {sum(count.values())} | {count['PASS']} | {count['FAIL']} | {both} of {len(known)} |\n"
    for suite in suites:
        text += f"\n## {suite.client}\n\nThat is {suite.about}.\n\n" + page_of(suite, results[suite.name], reasons[suite.name])
    return text


def page_of(suite: Suite, outcomes: dict[str, str], reasons: dict[str, str]) -> str:
    known = suite.known_passes()
    text = ""
    missing = sorted(test for test in known if outcomes.get(test) != "PASS")
    if missing:
        text += f"{PEER} passes these, Millrace does not:\n\n| why | tests |\n|---|---|\n"
        by_reason: dict[str, list[str]] = {}
        for test in missing:
            fallback = "not run" if test not in outcomes else "not known yet"
            by_reason.setdefault(reasons.get(test, fallback), []).append(f"`{short(test)}`")
        text += "".join(f"| {reason} | {', '.join(tests)} |\n" for reason, tests in sorted(by_reason.items(), key=lambda item: -len(item[1]))) + "\n"
    lists = {
        f"{PEER} fails these and Millrace does, too": [t for t, o in outcomes.items() if o == "FAIL" and t not in known],
        f"{PEER} fails these, Millrace passes them": [t for t, o in outcomes.items() if o == "PASS" and t not in known],
        "Skipped by the suite itself, against either (security, which the tests set up by themselves, or old versions)":
            [t for t, o in outcomes.items() if o == "SKIP" and t not in known],
    }
    for title, tests in lists.items():
        if tests:
            text += f"{title}: {', '.join(f'`{short(test)}`' for test in sorted(tests))}.\n\n"
    return text.rstrip("\n") + "\n"


def short(test: str) -> str:
    return re.sub(r"^.*::", "", test)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--suite", choices=[*(suite.name for suite in ALL_SUITES), "none"], help="only this one; none: only the page")
    parser.add_argument("--tests", default="", help="librdkafka: only these, by number or name")
    parser.add_argument("--page", type=pathlib.Path, default=HERE.parents[1] / "docs/compatibility.md")
    args = parser.parse_args()
    if not SUITES.is_dir():
        print(f"SKIPPED: the suites are not in {SUITES}; set MILLRACE_SUITES to where they are")
        return 77
    args.out.mkdir(parents=True, exist_ok=True)
    reasons = load_reasons()
    results = {suite.name: load(args.out / f"{suite.name}.results") for suite in ALL_SUITES}
    for suite in ALL_SUITES:
        if args.suite in (None, suite.name):
            results[suite.name] |= run_suite(suite, args, reasons[suite.name])
            lines = (f"{outcome} {test}\n" for test, outcome in sorted(results[suite.name].items()))
            (args.out / f"{suite.name}.results").write_text("".join(lines))
    args.page.write_text(page(results, reasons))
    wrong = [line for suite in ALL_SUITES for line in disagreements(suite, results[suite.name], reasons[suite.name])]
    print("\n".join([*wrong, f"wrote {args.page}"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
