#!/usr/bin/env python3
"""Writes the C++ of Kafka's messages from the schema files.

    generate.py message SCHEMA OUT      OUT/wire/<stem>.h and .cc of one schema file
    generate.py tables SCHEMA_DIR OUT   OUT/wire/{api,error_code,messages}.{h,cc}, from all of them
    generate.py seeds SCHEMA_DIR OUT    OUT/*: the golden bytes as inputs of frame_fuzz.cc
    generate.py requests SCHEMA_DIR OUT   OUT/*: the golden requests, as inputs of the broker's request_fuzz.cc
"""

import pathlib
import struct
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
import cpp_messages  # noqa: E402
import cpp_tables  # noqa: E402
import schema  # noqa: E402


def write_seeds(schemas: pathlib.Path, out: pathlib.Path) -> None:
    """One file per golden message: its place in all_messages(), its version, its bytes."""
    messages = [message for path in sorted(schemas.glob("*.msg")) for message in schema.parse_file(path)]
    places = {message.name: (index, message.versions.low) for index, message in enumerate(messages)}
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted((schemas.parent / "golden").glob("*.hex")):
        for number, line in enumerate(path.read_text().splitlines()):
            name, version, *content = line.split(" ")
            if name in places:
                index, low = places[name]
                (out / f"{name}_v{version}_{number}").write_bytes(bytes([index, int(version) - low]) + bytes.fromhex("".join(content)))


def write_requests(schemas: pathlib.Path, out: pathlib.Path) -> None:
    """One file per API: all versions of its request, as src/broker/internal/request_sequence.h says."""
    messages = {message.name: message for path in sorted(schemas.glob("*.msg")) for message in schema.parse_file(path)}
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted((schemas.parent / "golden").glob("*.hex")):
        sequence = b""
        for line in path.read_text().splitlines():
            name, version, *content = line.split(" ")
            message = messages.get(name)
            if message is None or message.kind != "request":
                continue
            body = bytes.fromhex("".join(content))
            sequence += struct.pack(">BBH", message.key, int(version) - message.versions.low, len(body)) + body
        if sequence:
            (out / path.stem).write_bytes(sequence)


def put(path: pathlib.Path, text: str) -> None:
    """Leaves a file alone that is as it should be: whoever includes it need not be compiled again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main(arguments: list[str]) -> int:
    if len(arguments) != 3 or arguments[0] not in ("message", "tables", "seeds", "requests"):
        print(__doc__, file=sys.stderr)
        return 2
    given, out = pathlib.Path(arguments[1]), pathlib.Path(arguments[2]) / "wire"
    try:
        if arguments[0] == "message":
            messages = schema.parse_file(given)
            put(out / f"{given.stem}.h", cpp_messages.header(messages, given.name))
            put(out / f"{given.stem}.cc", cpp_messages.source(messages, given.stem))
            return 0
        if arguments[0] == "seeds":
            write_seeds(given, pathlib.Path(arguments[2]))
            return 0
        if arguments[0] == "requests":
            write_requests(given, pathlib.Path(arguments[2]))
            return 0
        for name, (head, body) in cpp_tables.files(given).items():
            put(out / f"{name}.h", head)
            put(out / f"{name}.cc", body)
    except schema.SchemaError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
