"""Probes of same_answers.py: record batches that do not hold together, and fetch sessions."""

import struct
import time
import uuid
import zlib

from record_batches import crc32c, record_batch, zigzag


def now_ms() -> int:
    return int(time.time() * 1000)


def raw_record(value: bytes | None = b"v", delta: int = 0) -> bytes:
    fields = b"\x00" + zigzag(0) + zigzag(delta) + zigzag(1) + b"k" + (zigzag(-1) if value is None else zigzag(len(value)) + value) + zigzag(0)
    return zigzag(len(fields)) + fields


def raw_batch(records: bytes, count: int, last_delta: int | None = None, attributes: int = 0, times: tuple[int, int] | None = None, producer: tuple[int, int, int] = (-1, -1, -1), length: int | None = None, epoch: int = -1, magic: int = 2) -> bytes:
    """With a good checksum, whatever else is wrong."""
    tail = struct.pack(">hiqqqhii", attributes, count - 1 if last_delta is None else last_delta, *(times or (now_ms(), now_ms())), *producer, count) + records
    body = struct.pack(">ibI", epoch, magic, crc32c(tail)) + tail
    return struct.pack(">qi", 0, len(body) if length is None else length) + body


def old_message(magic: int) -> bytes:
    body = bytes([magic, 0]) + (struct.pack(">q", now_ms()) if magic else b"") + struct.pack(">i", 1) + b"k" + struct.pack(">i", 1) + b"v"
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", 0, len(message)) + message


def malformed(side):
    side.topic("malformed.t", 2)
    one, now = raw_record(), now_ms()
    whole = raw_batch(one, 1)
    cases = {
        "nothing": b"", "no records": raw_batch(b"", 0), "no records, delta 0": raw_batch(b"", 0, 0), "count 0": raw_batch(one, 0), "count 0, delta 0": raw_batch(one, 0, 0), "count -1": raw_batch(one, -1, 0),
        "count 1 of none": raw_batch(b"", 1), "delta 5": raw_batch(one, 1, 5), "delta -1": raw_batch(one, 1, -1), "count 2 of one": raw_batch(one, 2), "null value": raw_batch(raw_record(None), 1),
        "magic 0": old_message(0), "magic 1": old_message(1), "magic 3": raw_batch(one, 1, magic=3), "magic -1": raw_batch(one, 1, magic=-1), "epoch": raw_batch(one, 1, epoch=7),
        **{f"cut at {size}": whole[:size] for size in (5, 12, 16, 17, 40, 61, len(whole) - 1)}, "20 bytes more": whole + b"\x00" * 20, **{f"length {length}": raw_batch(one, 1, length=length) for length in (-1, 0, 13, 14, 48, 49)},
        "append time": raw_batch(one, 1, attributes=8), "delete horizon": raw_batch(one, 1, attributes=0x40), "unknown attribute": raw_batch(one, 1, attributes=0x100), "control": raw_batch(one, 1, attributes=0x20),
        "sequence without id": raw_batch(one, 1, producer=(-1, -1, 0)), "epoch without id": raw_batch(one, 1, producer=(-1, 0, -1)), "id without sequence": raw_batch(one, 1, producer=(77, 0, -1)), "sequence -2": raw_batch(one, 1, producer=(78, 0, -2)),
        "transactional without id": raw_batch(one, 1, attributes=0x10), "transactional, not named": raw_batch(one, 1, attributes=0x10, producer=(79, 0, 0)), "control, not named": raw_batch(one, 1, attributes=0x30, producer=(79, 0, 0)),
        "two of a producer": raw_batch(one, 1, producer=(80, 0, 0)) + raw_batch(one, 1, producer=(80, 0, 1)), "last sequence": raw_batch(one, 1, producer=(81, 0, 2**31 - 1)), "sequence begins anew": raw_batch(one, 1, producer=(81, 0, 0)),
        "no time": raw_batch(one, 1, times=(-1, -1)), "wrong greatest time": raw_batch(one, 1, times=(now, now + 5)), "before 1970": raw_batch(one, 1, times=(-5, -5)),
    }
    for version in (3, 9, 12):
        for what, data in cases.items():
            # The producers are to be new ones each time.
            partition = 1 if what in ("last sequence", "sequence begins anew") and version == 9 else 0
            if partition or version == 3 or "sequence" not in what:
                side.produce(what, "malformed.t", data, version, partition)
    part = {"index": 0, "records": whole}
    ask = lambda what, topics, **more: side.ask(what, "Produce", 9, **{"acks": -1, "timeout_ms": 1000, "topic_data": topics, **more})
    ask("no topics", [])
    ask("no topics, acks 2", [], acks=2)
    ask("no topics, acks -2", [], acks=-2)
    ask("negative partition", [{"name": "malformed.t", "partition_data": [{**part, "index": -1}]}])
    for timeout in (0, -1):
        ask(f"timeout {timeout}", [{"name": "malformed.t", "partition_data": [part]}], timeout_ms=timeout)


def fetch_sessions(side):
    ids = {"sessions.t": side.topic("sessions.t", 3), "sessions.u": side.topic("sessions.u"), "nope": uuid.UUID(int=77)}
    side.produce("a record", "sessions.t", record_batch(b"v", key=b"k", time_ms=now_ms()))
    for version in (7, 12, 13, 17):
        sessions_of(side, version, ids)
    fetch = lambda version, session, epoch, topics=(): side.client.call("Fetch", version, max_wait_ms=0, min_bytes=0, max_bytes=1, topics=list(topics), session_id=session, session_epoch=epoch, replica_id=-1)
    session = fetch(12, 0, 0, [{"topic": "sessions.t", "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1}]}])["session_id"]
    for version, epoch in ((13, 1), (12, 1), (12, 2)):
        side.answers.append((f"Fetch {version}, epoch {epoch} of a session of names", fetch(version, session, epoch)["error_code"]))


def sessions_of(side, version: int, ids: dict[str, uuid.UUID]) -> None:
    topic_of = lambda name: {"topic_id": ids[name]} if version >= 13 else {"topic": name}
    part = lambda index=0, offset=0, **more: {"partition": index, "fetch_offset": offset, "partition_max_bytes": 1 << 20, **more}
    of = lambda *parts, name="sessions.t": {**topic_of(name), "partitions": list(parts)}
    names = {topic_id: name for name, topic_id in ids.items()}

    def fetch(what: str, session: int = 0, epoch: int = 0, topics=(), forgotten=(), **more) -> int:
        asked = {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1 << 20, "topics": list(topics), "session_id": session, "session_epoch": epoch, "forgotten_topics_data": list(forgotten), **({"replica_id": -1} if version < 15 else {})}
        answer = side.client.call("Fetch", version, **{**asked, **more})
        told = sorted((topic.get("topic") or names[topic["topic_id"]], one["partition_index"], str({**one, "records": one["records"] is not None and len(one["records"])})) for topic in answer["responses"] for one in topic["partitions"])
        side.answers.append((f"Fetch {version}, {what}", (answer["error_code"], answer["session_id"] != 0, told)))
        return answer["session_id"]

    for what, topics in (("nothing", ()), ("no partitions", [of()])):
        for then, more in (("nothing more", {}), ("one more", {"topics": [of(part())]})):
            session = fetch(f"of {what}", topics=topics)
            fetch(f"of {what}, then {then}", session, 1, **more)
            fetch(f"of {what}, then {then}, and again", session, 2)
    for epoch in (-2, -1, 0, 1):
        fetch(f"no session, epoch {epoch}", epoch=epoch)
        fetch(f"unknown session, epoch {epoch}", 12345, epoch)
    session = fetch("two", topics=[of(part(), part(1))])
    for what, epoch, more in (("nothing new", 1, {}), ("an epoch again", 1, {}), ("an epoch left out", 3, {}), ("epoch -2", -2, {}), ("still there", 2, {}), ("goes on", 3, {"topics": [of(part(0, 1))]}), ("nothing more", 4, {}),
                              ("forgets one", 5, {"forgotten": [{**topic_of("sessions.t"), "partitions": [1]}]}), ("forgets what it has not", 6, {"forgotten": [{**topic_of("nope"), "partitions": [0, 9]}]}),
                              ("goes back", 7, {"topics": [of(part())]}), ("names what it forgets", 8, {"topics": [of(part())], "forgotten": [{**topic_of("sessions.t"), "partitions": [0]}]}), ("has ended", 9, {})):
        fetch(what, session, epoch, **more)
    session = fetch("another", topics=[of(part(0, 1))])
    for what, epoch, more in (("unknown topic", 1, {"topics": [of(part(), name="nope")]}), ("unknown topic, again", 2, {}), ("unknown partition", 3, {"topics": [of(part(9))]}), ("unknown partition, again", 4, {}),
                              ("out of range", 5, {"topics": [of(part(1, 99))]}), ("out of range, again", 6, {}), ("in range", 7, {"topics": [of(part(1))]}), ("quiet", 8, {"forgotten": [{**topic_of("sessions.t"), "partitions": [9]}]}),
                              ("read_committed", 9, {"isolation_level": 1}), ("forgets all but the unknown", 10, {"forgotten": [{**topic_of("sessions.t"), "partitions": [0, 1]}]}), ("has the unknown", 11, {})):
        fetch(what, session, epoch, **more)
    fetch("only what is not there", topics=[of(part(9)), of(part(), name="nope")])
    session = fetch("one", topics=[of(part())])
    other = fetch("anew, by its id", session, 0, [of(part())])
    for what, one, epoch, more in (("the one before", session, 1, {}), ("the one after", other, 1, {}), ("ends", other, -1, {}), ("after its end", other, 2, {})):
        fetch(what, one, epoch, **more)
    session = fetch("once more", topics=[of(part())])
    fetch("ends with topics", session, -1, [of(part())])
    for what, topics, more in (("a partition twice", [of(part(), part(0, 1))], {}), ("a topic twice", [of(part(0, 1)), of(part())], {}), ("read_committed", [of(part(), part(1, 99), part(9))], {"isolation_level": 1}), ("max_bytes 0", [of(part())], {"max_bytes": 0}),
                               ("a partition's max_bytes 0", [of({**part(), "partition_max_bytes": 0})], {}), ("min_bytes -1", [of(part())], {"min_bytes": -1}), ("wait -1", [of(part(1))], {"max_wait_ms": -1, "min_bytes": 1}),
                               ("epoch to come", [of(part(**({"current_leader_epoch": 7} if version >= 9 else {})))], {})):
        fetch(f"no session, {what}", 0, -1, topics, **more)


PROBES = [malformed, fetch_sessions]
