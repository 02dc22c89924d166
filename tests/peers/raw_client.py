"""Requests of any shape, well-formed or not, and answers field by field: the bytes follow the schemas of src/wire, which are Kafka's."""

import functools
import pathlib
import socket
import struct
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src/wire"), str(ROOT / "tests")]
import schema  # noqa: E402
from record_batches import varint  # noqa: E402

NUMBERS = {"int8": ">b", "int16": ">h", "error": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
API_VERSIONS = 18
ANSWER_TIMEOUT_S = 20


@functools.cache
def messages() -> dict[str, schema.Message]:
    return {message.name: message for path in sorted((ROOT / "src/wire/schema").glob("*.msg")) for message in schema.parse_file(path)}


@functools.cache
def errors() -> dict[int, str]:
    """The names of the error codes."""
    lines = (ROOT / "src/wire/golden/errors.txt").read_text().splitlines()
    return {int(code): name for code, name, *_ in (line.split() for line in lines)}


def default_of(field: schema.Field):
    """What a field has that a request says nothing of."""
    if field.default == "null":
        return None
    if field.array:
        return []
    if field.type in NUMBERS:
        return int(field.default or "0", 0)
    return {"string": "", "bytes": b"", "records": None, "bool": False, "uuid": uuid.UUID(int=0)}.get(field.type, {})


class Writer:
    def __init__(self, version: int, flexible: bool):
        self.version, self.flexible = version, flexible

    def length(self, length: int, wide: bool) -> bytes:
        """`length` -1: null."""
        return varint(length + 1) if self.flexible else struct.pack(">i" if wide else ">h", length)

    def struct(self, shape: schema.Struct, given: dict) -> bytes:
        unknown = set(given) - {field.name for field in shape.fields}
        if unknown:
            raise KeyError(f"{shape.name} has no {unknown}")
        out, tagged = b"", []
        for field in shape.fields:
            if self.version not in field.versions:
                continue
            if field.tag is None:
                out += self.field(field, given.get(field.name, default_of(field)))
            elif field.name in given:
                tagged.append((field.tag, self.field(field, given[field.name])))
        if self.flexible:
            out += varint(len(tagged)) + b"".join(varint(tag) + varint(len(data)) + data for tag, data in sorted(tagged))
        return out

    def field(self, field: schema.Field, value) -> bytes:
        if not field.array:
            return self.one(field, value)
        if value is None:
            return self.length(-1, wide=True)
        return self.length(len(value), wide=True) + b"".join(self.one(field, one) for one in value)

    def one(self, field: schema.Field, value) -> bytes:
        if field.struct:
            nullable = not field.array and self.version in field.nullable
            if nullable and value is None:
                return b"\xff"
            return (b"\x01" if nullable else b"") + self.struct(field.struct, value)
        if field.type in NUMBERS:
            return struct.pack(NUMBERS[field.type], value)
        if field.type == "bool":
            return bytes([value])
        if field.type == "uuid":
            return value.bytes
        data = value.encode() if isinstance(value, str) else value
        return self.length(-1 if data is None else len(data), wide=field.type != "string") + (data or b"")


class Reader:
    def __init__(self, version: int, flexible: bool, data: bytes):
        self.version, self.flexible, self.data, self.at = version, flexible, data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise EOFError("the answer is too short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def length(self, wide: bool) -> int:
        return self.varint() - 1 if self.flexible else self.number(">i" if wide else ">h")

    def struct(self, shape: schema.Struct) -> dict:
        present = [field for field in shape.fields if self.version in field.versions]
        out = {field.name: self.field(field) for field in present if field.tag is None}
        by_tag = {field.tag: field for field in present if field.tag is not None}
        for _ in range(self.varint() if self.flexible else 0):
            tag, size = self.varint(), self.varint()
            if tag in by_tag:
                out[by_tag[tag].name] = self.field(by_tag[tag])
            else:
                self.take(size)
        return out

    def field(self, field: schema.Field):
        if not field.array:
            return self.one(field)
        count = self.length(wide=True)
        return None if count < 0 else [self.one(field) for _ in range(count)]

    def one(self, field: schema.Field):
        if field.struct:
            nullable = not field.array and self.version in field.nullable
            return None if nullable and self.number(">b") < 0 else self.struct(field.struct)
        if field.type in NUMBERS:
            return self.number(NUMBERS[field.type])
        if field.type == "bool":
            return self.take(1) != b"\x00"
        if field.type == "uuid":
            return uuid.UUID(bytes=self.take(16))
        count = self.length(wide=field.type != "string")
        if count < 0:
            return None
        data = self.take(count)
        return data.decode() if field.type == "string" else data


class Closed(Exception):
    """The broker has closed the connection."""


class RawClient:
    """One connection, made anew after the broker has closed it."""

    def __init__(self, port: int):
        self.port = port
        self.socket: socket.socket | None = None

    def close(self) -> None:
        if self.socket:
            self.socket.close()
            self.socket = None

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            data += more
        return data

    def call(self, api: str, version: int, **body):
        """The answer, or "closed"."""
        request, response = messages()[f"{api}Request"], messages()[f"{api}Response"]
        flexible = version in request.flexible
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_TIMEOUT_S)
        header = struct.pack(">hhih", request.key, version, 7, 5) + b"probe" + (b"\x00" if flexible else b"")
        frame = header + Writer(version, flexible).struct(request.root, body)
        try:
            self.socket.sendall(struct.pack(">i", len(frame)) + frame)
            size = struct.unpack(">i", self.receive(4))[0]
            reader = Reader(version, flexible, self.receive(size))
        except (Closed, BrokenPipeError, ConnectionResetError):
            self.close()
            return "closed"
        reader.take(4)
        if flexible and request.key != API_VERSIONS:
            reader.take(1)  # no tagged fields
        answer = reader.struct(response.root)
        if reader.at < size:
            raise ValueError(f"{api} {version}: {size - reader.at} bytes too many in the answer")
        return answer
