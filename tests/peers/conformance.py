#!/usr/bin/env python3
"""Compares the schemas of src/wire field by field with Kafka's message definitions, which lie in its jars.

    conformance.py --jars DIR     DIR/lib holds the kafka-clients jar and those of both coordinators

Compared in every version that a schema of ours covers: names and order of fields, types, nullability, tags, ignorable, defaults, from
where on messages are flexible. Exit status 1, and a line for each difference.
"""

import argparse
import json
import pathlib
import re
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src/wire"))
sys.dont_write_bytecode = True  # the source tree stays as it is
import schema  # noqa: E402
from schema import NO_VERSIONS, Field, Message, Struct, Versions  # noqa: E402

# Theirs are plain numbers; ours say what the number means.
ERROR_FIELDS = {"error_code", "topic_config_error_code", "partition_error_code"}

JARS = ("kafka-clients", "kafka-group-coordinator", "kafka-transaction-coordinator")


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def load(jars: pathlib.Path) -> dict[str, dict]:
    """Kafka's definitions by name."""
    found = {}
    for jar in sorted(path for name in JARS for path in jars.glob(f"lib/{name}-[0-9]*.jar")):
        with zipfile.ZipFile(jar) as archive:
            for entry in archive.namelist():
                if entry.startswith("common/message/") and entry.endswith(".json"):
                    text = re.sub(r"^\s*//.*$", "", archive.read(entry).decode(), flags=re.MULTILINE)
                    definition = json.loads(text)
                    found[definition["name"]] = definition
    return found


def versions(text: str | None, within: Versions) -> Versions:
    if text is None or text == "none":
        return NO_VERSIONS
    parsed = Versions.parse(text, within)
    return parsed if parsed else NO_VERSIONS


def normal_default(kind: str, array: bool, struct: bool, nullable: bool, default) -> str:
    """A default in one spelling, with what both sides mean by saying nothing."""
    if kind == "records":
        return "null" if nullable else "empty"
    if default is not None and str(default) == "null":
        return "null"
    if array or struct or kind in ("string", "bytes", "uuid"):
        return str(default) if default else "empty"
    if kind == "bool":
        return str(default).lower() if default is not None else "false"
    return str(int(str(default), 0)) if default is not None else "0"


def describe_ours(field: Field) -> dict:
    array, struct = field.array, field.struct is not None
    kind = "int16" if field.type == "error" else field.type
    return {
        "type": ("[]" if array else "") + kind,
        "versions": field.versions,
        "nullable": field.nullable if field.nullable else NO_VERSIONS,
        "tag": field.tag,
        "ignorable": field.ignorable,
        "default": normal_default(kind, array, struct, bool(field.nullable), field.default),
    }


def versions_text(field: dict) -> str:
    """Kafka may leave out the versions of a field that is tagged in all of them."""
    return field.get("versions", field.get("taggedVersions"))


def describe_theirs(field: dict, struct: bool, within: Versions) -> dict:
    array = field["type"].startswith("[]")
    kind = field["type"].removeprefix("[]")
    inside = versions(versions_text(field), within)
    tagged = versions(field.get("taggedVersions"), inside)
    nullable = versions(field.get("nullableVersions"), inside)
    result = {
        "type": field["type"],
        "versions": inside,
        "nullable": nullable,
        "tag": field["tag"] if tagged else None,
        "ignorable": field.get("ignorable", False),
        "default": normal_default(kind, array, struct, bool(nullable), field.get("default")),
    }
    if tagged and tagged != inside:
        raise ValueError(f"{field['name']} is tagged in only a part of its versions: the notation has no word for that")
    return result


def always_present(ours: Field, struct: Struct) -> bool:
    return ours.versions == struct.versions


def compare_struct(path: str, ours: Struct, theirs: list[dict], common: dict[str, list[dict]], found: list[str]) -> int:
    """The number of fields compared."""
    relevant = [field for field in theirs if versions(versions_text(field), ours.versions)]
    our_names, their_names = [field.name for field in ours.fields], [snake(field["name"]) for field in relevant]
    if our_names != their_names:
        found.append(f"{path}: fields are {our_names}, Kafka's are {their_names}")
        return 0
    compared = 0
    for mine, other in zip(ours.fields, relevant):
        place = f"{path}.{mine.name}"
        nested = other.get("fields") or common.get(other["type"].removeprefix("[]"))
        here, there = describe_ours(mine), describe_theirs(other, bool(nested), ours.versions)
        if always_present(mine, ours):
            there["ignorable"] = here["ignorable"]  # without meaning where no version lacks the field
        for aspect in here:
            if here[aspect] != there[aspect]:
                found.append(f"{place}: {aspect} is {here[aspect]}, Kafka's is {there[aspect]}")
        is_error = there["type"] == "int16" and mine.name in ERROR_FIELDS
        if (mine.type == "error") != is_error:
            found.append(f"{place}: {'is' if is_error else 'is not'} an error code")
        compared += 1
        if mine.struct and nested:
            compared += compare_struct(place, mine.struct, nested, common, found)
    return compared


def compare_message(ours: Message, theirs: dict, found: list[str]) -> int:
    valid = Versions.parse(theirs["validVersions"], Versions(0, 32767))
    if ours.versions.low < valid.low or ours.versions.high > valid.high:
        found.append(f"{ours.name}: versions {ours.versions} are not all among Kafka's {theirs['validVersions']}")
    flexible = versions(theirs["flexibleVersions"], ours.versions)
    if (ours.flexible if ours.flexible else NO_VERSIONS) != flexible:
        found.append(f"{ours.name}: flexible in {ours.flexible}, Kafka's in {flexible}")
    if ours.kind != "data" and ours.key != theirs["apiKey"]:
        found.append(f"{ours.name}: key is {ours.key}, Kafka's is {theirs['apiKey']}")
    common = {struct["name"]: struct["fields"] for struct in theirs.get("commonStructs", [])}
    return compare_struct(ours.name, ours.root, theirs["fields"], common, found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jars", type=pathlib.Path, required=True)
    jars = parser.parse_args().jars
    if not (jars / "lib").exists():
        print(f"SKIPPED: {jars} does not hold the Java client's jars (JDK or Maven missing?)")
        return 77
    definitions = load(jars)
    found: list[str] = []
    messages = fields = 0
    for path in sorted((ROOT / "src/wire/schema").glob("*.msg")):
        for message in schema.parse_file(path):
            if message.name not in definitions:
                found.append(f"{message.name}: Kafka has no such message")
                continue
            messages += 1
            fields += compare_message(message, definitions[message.name], found)
    print("\n".join(found) if found else f"{messages} messages, {fields} fields: as in Kafka's definitions")
    return 1 if found or messages == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
