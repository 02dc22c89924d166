"""Record batches of version 2, byte by byte, sound or not."""

import struct


def _crc32c_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def zigzag(number: int) -> bytes:
    return varint(((number << 1) ^ (number >> 63)) & (2**64 - 1))


def record_batch(*values: bytes, key: bytes | None = None, time_ms: int, producer_id=-1, epoch=-1, sequence=-1, attributes=0, base_offset=0, magic=2,
                 count: int | None = None, crc: int | None = None) -> bytes:
    """A batch of one record for each value; what is given besides may be wrong."""
    records = b""
    for index, value in enumerate(values):
        fields = b"\x00" + zigzag(0) + zigzag(index) + (zigzag(-1) if key is None else zigzag(len(key)) + key) + zigzag(len(value)) + value + zigzag(0)
        records += zigzag(len(fields)) + fields
    number = len(values) if count is None else count
    # Attributes, last offset delta, first and last timestamp, producer id and epoch, sequence, number of records.
    tail = struct.pack(">hiqqqhii", attributes, number - 1, time_ms, time_ms, producer_id, epoch, sequence, number) + records
    body = struct.pack(">ibI", -1, magic, crc32c(tail) if crc is None else crc) + tail
    return struct.pack(">qi", base_offset, len(body)) + body
