"""Reads the schema files (schema/*.msg); docs/formats/wire-schemas.md describes their notation.

parse_file() answers the messages of one file, with every range of versions cut to what encloses it. Standard library only.
"""

import dataclasses
import pathlib
import re

NUMBERS = ("bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64")
SCALARS = NUMBERS + ("error", "string", "uuid", "bytes", "records")


class SchemaError(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Versions:
    """An inclusive range; empty where low > high."""

    low: int
    high: int

    @staticmethod
    def parse(text: str, within: "Versions") -> "Versions":
        match = re.fullmatch(r"(\d+)(\+|-(\d+))?", text)
        if not match:
            raise SchemaError(f"'{text}' is not a range of versions: write 3, 3+ or 3-7")
        low = int(match[1])
        high = within.high if match[2] == "+" else int(match[3] or match[1])
        return Versions(max(low, within.low), min(high, within.high))

    def __bool__(self) -> bool:
        return self.low <= self.high

    def __contains__(self, version: int) -> bool:
        return self.low <= version <= self.high


NO_VERSIONS = Versions(0, -1)


@dataclasses.dataclass
class Struct:
    name: str
    versions: Versions
    fields: list["Field"] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Field:
    name: str
    type: str  # a scalar, or the name of a struct
    array: bool
    versions: Versions
    nullable: Versions
    tag: int | None
    ignorable: bool
    default: str | None  # as written; None where the schema says nothing
    comment: str
    struct: Struct | None  # set where type names one


@dataclasses.dataclass
class Message:
    name: str
    versions: Versions
    flexible: Versions
    root: Struct
    kind: str  # request, response, data, key
    comment: str = ""
    api: str = ""
    key: int = -1  # the API's key, or the record type of a key
    advertised: Versions = NO_VERSIONS
    shared: dict[str, Struct] = dataclasses.field(default_factory=dict)  # the structs described apart from their fields

    def structs(self) -> list[Struct]:
        """The nested structs, each after those that it contains; one that several fields share is there once."""
        found: list[Struct] = []

        def visit(struct: Struct) -> None:
            for field in struct.fields:
                if field.struct and not any(field.struct is known for known in found):
                    visit(field.struct)
                    found.append(field.struct)

        visit(self.root)
        return found


@dataclasses.dataclass
class _Header:
    """What the lines above a file's messages say."""

    comment: str = ""
    api: str = ""
    key: int = -1
    versions: Versions = NO_VERSIONS
    flexible: Versions = NO_VERSIONS
    advertised: Versions = NO_VERSIONS


def _parse_type(word: str, versions: Versions) -> tuple[str, bool, Versions]:
    match = re.fullmatch(r"(\[\])?(\w+)(?:(\?)(\S*))?", word)
    if not match:
        raise SchemaError(f"'{word}' is not a type: write string, string?, string?3+ or []string")
    nullable = NO_VERSIONS
    if match[3]:
        nullable = Versions.parse(match[4], versions) if match[4] else versions
    return match[2], bool(match[1]), nullable


def _parse_field(text: str, comment: str, owner: Struct) -> Field:
    text, _, default = text.partition(" = ")
    words = text.split()
    if len(words) < 2:
        raise SchemaError("a field is written: name type [versions] [tag N] [ignorable] [= default]")
    versions, tag, ignorable = owner.versions, None, False
    rest = iter(words[2:])
    for word in rest:
        if word == "ignorable":
            ignorable = True
        elif word == "tag":
            tag = int(next(rest))
        else:
            versions = Versions.parse(word, owner.versions)
    type_name, array, nullable = _parse_type(words[1], versions)
    if type_name not in SCALARS and not type_name[0].isupper():
        raise SchemaError(f"'{type_name}' is neither one of {', '.join(SCALARS)} nor the name of a struct")
    return Field(words[0], type_name, array, versions, nullable, tag, ignorable, default.strip() or None, comment, None)


def _directive(words: list[str], header: _Header) -> bool:
    """Takes a line such as `versions 0-4`; false where it is not one."""
    everything = Versions(0, 32767)
    if words[0] == "api" and len(words) == 3:
        header.api, header.key = words[1], int(words[2])
    elif words[0] == "versions" and len(words) == 2:
        header.versions = Versions.parse(words[1], everything)
        header.advertised = header.versions
        header.flexible = NO_VERSIONS
    elif words[0] == "flexible" and len(words) == 2:
        header.flexible = Versions.parse(words[1], header.versions)
    elif words[0] == "advertise" and len(words) == 2:
        header.advertised = Versions.parse(words[1], everything)
    else:
        return False
    return True


def _begin_message(words: list[str], header: _Header) -> Message:
    if words in (["request"], ["response"]):
        name, kind, key = header.api + words[0].capitalize(), words[0], header.key
    elif words[0] == "data" and len(words) == 2:
        name, kind, key = words[1], "data", -1
    elif words[0] == "key" and len(words) == 3:
        name, kind, key = words[1], "key", int(words[2])
    else:
        raise SchemaError("expected api, versions, flexible, advertise, request, response, data NAME or key NAME TYPE")
    if not header.versions:
        raise SchemaError("the line `versions` must come before the message")
    return Message(name, header.versions, header.flexible, Struct(name, header.versions), kind, header.comment, header.api, key, header.advertised)


def _begin_shared(name: str, message: Message) -> Struct:
    if name in message.shared:
        raise SchemaError(f"{message.name} describes a struct twice")
    return message.shared.setdefault(name, Struct(name, message.versions))


def _check(message: Message) -> None:
    structs = [message.root, *message.structs()]
    for name, struct in message.shared.items():
        if not any(struct is used for used in structs):
            raise SchemaError(f"{message.name} describes the struct {name} for no field")
    if len({struct.name for struct in structs}) != len(structs):
        raise SchemaError(f"{message.name} describes a struct twice")
    for struct in structs:
        names = [field.name for field in struct.fields]
        if len(set(names)) != len(names):
            raise SchemaError(f"{struct.name} names a field twice")
        tags = [field.tag for field in struct.fields if field.tag is not None]
        if len(set(tags)) != len(tags):
            raise SchemaError(f"{struct.name} gives a tag twice")
        for field in struct.fields:
            if field.type not in SCALARS and (field.struct is None or not field.struct.fields):
                raise SchemaError(f"the struct {field.type} of {struct.name}.{field.name} has no fields")
            if field.struct and not field.array and field.nullable and field.default != "null":
                raise SchemaError(f"the struct {struct.name}.{field.name} may be null: write = null")
            if field.tag is not None and not (message.flexible and field.versions.low >= message.flexible.low):
                raise SchemaError(f"{struct.name}.{field.name} has a tag in a version that is not flexible")
            if not field.versions:
                raise SchemaError(f"{struct.name}.{field.name} is in none of the message's versions")


def parse(text: str) -> list[Message]:
    messages: list[Message] = []
    header = _Header()
    stack: list[tuple[int, Struct]] = []  # the open structs, with the indentation of their fields
    last: Field | None = None
    for number, line in enumerate(text.splitlines(), 1):
        code, _, comment = line.partition("#")
        comment = comment.strip()
        try:
            if not code.strip():
                if comment and not messages and not header.api and not header.versions:
                    header.comment = f"{header.comment} {comment}".strip()
                continue
            indent = len(code) - len(code.lstrip())
            if indent == 0:
                if not _directive(code.split(), header):
                    messages.append(_begin_message(code.split(), header))
                    stack, last = [(2, messages[-1].root)], None
                continue
            if not messages:
                raise SchemaError("a field outside a message")
            if indent > stack[-1][0]:
                if last is None or last.type in SCALARS or indent != stack[-1][0] + 2:
                    raise SchemaError("only the fields of a struct are indented further, by 2")
                if last.struct:
                    raise SchemaError(f"{messages[-1].name} describes a struct twice")
                last.struct = Struct(last.type, last.versions)
                stack.append((indent, last.struct))
            while indent < stack[-1][0]:
                stack.pop()
            if indent != stack[-1][0]:
                raise SchemaError("indentation of no open struct")
            if len(stack) == 1 and len(code.split()) == 2 and code.split()[0] == "struct":
                stack.append((indent + 2, _begin_shared(code.split()[1], messages[-1])))
                last = None
                continue
            last = _parse_field(code.rstrip(), comment, stack[-1][1])
            last.struct = messages[-1].shared.get(last.type)
            stack[-1][1].fields.append(last)
        except (SchemaError, ValueError, StopIteration) as error:
            raise SchemaError(f"line {number}: {error}") from None
    for message in messages:
        _check(message)
    return messages


def parse_file(path: pathlib.Path) -> list[Message]:
    try:
        return parse(path.read_text())
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None
