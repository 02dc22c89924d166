#!/usr/bin/env python3
"""Golden bytes of every message in every version, as Kafka's own Java client writes them.

    golden.py --jars DIR [--write]     compares src/wire/golden with what the client writes now, or writes it anew

DIR holds classes/ and lib/ of tests/peers/java. Exit status 1, and a line for each file that differs.
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src/wire"))
sys.dont_write_bytecode = True  # the source tree stays as it is
import schema  # noqa: E402

HEADERS = [("RequestHeader", 1, 2), ("ResponseHeader", 0, 1)]


def messages() -> dict[str, list[tuple[str, int, int]]]:
    """For each golden file the messages in it, with their versions."""
    files = {"headers": HEADERS}
    for path in sorted((ROOT / "src/wire/schema").glob("*.msg")):
        files[path.stem] = [(message.name, message.versions.low, message.versions.high) for message in schema.parse_file(path)]
    return files


def run_client(jars: pathlib.Path, wanted: dict[str, list[tuple[str, int, int]]]) -> list[str]:
    lines = "".join(f"{name} {low} {high}\n" for group in wanted.values() for name, low, high in group)
    command = ["java", "-Xshare:auto", "-cp", f"{jars}/classes:{jars}/lib/*", "millrace.GoldenBytes"]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout.splitlines()


def split(lines: list[str], wanted: dict[str, list[tuple[str, int, int]]]) -> dict[str, str]:
    """The content of each golden file."""
    texts = {}
    for stem, group in wanted.items():
        names = {name for name, _, _ in group}
        texts[f"{stem}.hex"] = "".join(f"{line}\n" for line in lines if line.split(" ", 1)[0] in names)
    for kind in ("error", "api"):
        texts[f"{kind}s.txt"] = "".join(f"{line.split(' ', 1)[1]}\n" for line in lines if line.startswith(f"{kind} "))
    return texts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jars", type=pathlib.Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not (options.jars / "classes").exists():
        print(f"SKIPPED: {options.jars} does not hold the Java client (JDK or Maven missing?)")
        return 77
    folder = ROOT / "src/wire/golden"
    wanted = messages()
    texts = split(run_client(options.jars, wanted), wanted)
    if options.write:
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
    different = [name for name, text in texts.items() if not (folder / name).exists() or (folder / name).read_text() != text]
    different += [path.name for path in sorted(folder.iterdir()) if path.name not in texts]
    for name in different:
        print(f"src/wire/golden/{name} is not what the Java client writes: run tests/peers/golden.py --write and look at the difference")
    print(f"{len(texts) - len(different)} of {len(texts)} files of golden bytes as the Java client writes them")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
