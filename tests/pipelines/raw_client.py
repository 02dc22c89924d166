"""A few requests of Kafka's protocol over one socket, with nothing between: for tests that look at offsets every few
milliseconds, and for measurements in which a client's own waits must not count. Knows one broker, which leads all."""

import pathlib
import socket
import struct
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from record_batches import record_batch  # noqa: E402

PRODUCE, FETCH, LIST_OFFSETS, OFFSET_FETCH, CREATE_TOPICS = 0, 1, 2, 9, 19
LATEST = -1
EXISTS = 36
# The topic is not known yet, or has no leader yet.
SOON = {3, 5, 6}


class Failed(Exception):
    """The broker answered with an error."""


def _string(text):
    return struct.pack(">h", len(text)) + text.encode()


def _array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from(">" + layout, self.data, self.at)
        self.at += struct.calcsize(">" + layout)
        return values if len(values) > 1 else values[0]

    def bytes(self, length):
        self.at += max(length, 0)
        return self.data[self.at - max(length, 0):self.at]

    def string(self):
        return self.bytes(self.take("h")).decode()

    def array(self, read):
        return [read() for _ in range(self.take("i"))]


class Connection:
    def __init__(self, bootstrap, timeout=10):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionResetError("the broker closed the connection")
            data += more
        return bytes(data)

    def request(self, api, version, body):
        self.send(api, version, body)
        return self.receive()

    def send(self, api, version, body):
        head = struct.pack(">hhi", api, version, 1) + _string("raw")
        self.socket.sendall(struct.pack(">i", len(head + body)) + head + body)

    def receive(self):
        """The answer to the first request that has none yet."""
        answer = _Reader(self._exactly(struct.unpack(">i", self._exactly(4))[0]))
        answer.take("i")  # the correlation id
        return answer

    def create_topic(self, topic, partitions):
        """Makes the topic unless it is there."""
        wanted = _string(topic) + struct.pack(">ih", partitions, 1) + _array([]) + _array([])
        answer = self.request(CREATE_TOPICS, 2, _array([wanted]) + struct.pack(">ib", 10_000, 0))
        answer.take("i")  # throttle time
        for name, error in answer.array(lambda: (answer.string(), answer.take("h"), answer.string())[:2]):
            if error not in (0, EXISTS):
                raise Failed(f"create {name}: error {error}")

    def produce(self, topic, partition, batch):
        """With acks=all; returns the first offset, or None where the topic is not led yet."""
        records = struct.pack(">ii", partition, len(batch)) + batch
        body = struct.pack(">hhi", -1, -1, 10_000) + _array([_string(topic) + _array([records])])
        answer = self.request(PRODUCE, 3, body)
        read = lambda: answer.take("ihqq")  # noqa: E731: partition, error, offset, append time
        [(_, [(_, error, offset, _)])] = answer.array(lambda: (answer.string(), answer.array(read)))
        if error and error not in SOON:
            raise Failed(f"produce: error {error}")
        return None if error else offset

    def fetch(self, topic, partition, offset):
        """The bytes of the record batches from `offset` on; waits up to a second for the first one."""
        wanted = _string(topic) + _array([struct.pack(">iqi", partition, offset, 1 << 20)])
        answer = self.request(FETCH, 4, struct.pack(">iiiib", -1, 1000, 1, 1 << 20, 0) + _array([wanted]))
        answer.take("i")  # throttle time

        def read():
            _, error, _, _ = answer.take("ihqq")  # partition, error, high watermark, last stable offset
            answer.bytes(16 * max(answer.take("i"), 0))  # aborted transactions
            return error, answer.bytes(answer.take("i"))

        [(_, [(error, batches)])] = answer.array(lambda: (answer.string(), answer.array(read)))
        if error and error not in SOON:
            raise Failed(f"fetch: error {error}")
        return b"" if error else batches

    def ends(self, topic, partitions):
        """Each partition's end offset; 0 while the topic does not exist."""
        wanted = _string(topic) + _array([struct.pack(">iq", partition, LATEST) for partition in range(partitions)])
        answer = self.request(LIST_OFFSETS, 1, struct.pack(">i", -1) + _array([wanted]))
        found = {}

        def read():
            partition, error, _, offset = answer.take("ihqq")
            if error and error not in SOON:
                raise Failed(f"end of {topic}-{partition}: error {error}")
            found[partition] = 0 if error else offset

        answer.array(lambda: (answer.string(), answer.array(read)))
        return found

    def committed(self, group, topic, partitions):
        """What the group has committed of each partition; 0 where it has not."""
        wanted = _string(topic) + _array([struct.pack(">i", partition) for partition in range(partitions)])
        answer = self.request(OFFSET_FETCH, 1, _string(group) + _array([wanted]))
        found = {}

        def read():
            partition, offset = answer.take("iq")
            answer.string()
            error = answer.take("h")
            if error:
                raise Failed(f"committed offset of {group} for {topic}-{partition}: error {error}")
            found[partition] = max(offset, 0)

        answer.array(lambda: (answer.string(), answer.array(read)))
        return found


def first_record(bootstrap, deadline, topic="first"):
    """Produces a record with acks=all and reads it back as soon as the broker lets one, from the first connection that
    it takes on. Nothing waits longer than 1 ms."""
    value = b"there and back"
    batch = record_batch(value, time_ms=0)
    while time.monotonic() < deadline:
        try:
            with Connection(bootstrap) as connection:
                connection.create_topic(topic, 1)
                while (offset := connection.produce(topic, 0, batch)) is None:
                    time.sleep(0.001)
                while value not in connection.fetch(topic, 0, offset):
                    time.sleep(0.001)
                return
        except OSError:
            time.sleep(0.001)
    raise Failed("no record went through before the deadline")
