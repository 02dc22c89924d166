"""Bytes that are no Kafka, clients that stall: nobody else may notice."""

import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from both import consume, produce
from conftest import make_topic

API_VERSIONS = 18


class Healthy:
    """A producer and a consumer of the same topic, connected before the trouble starts."""

    def __init__(self, bootstrap):
        self.topic = make_topic(bootstrap)
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)
        self.consumer = KafkaConsumer(bootstrap_servers=bootstrap)
        self.consumer.assign([TopicPartition(self.topic, 0)])
        self.consumer.seek(TopicPartition(self.topic, 0), 0)
        self.sent = 0

    def round_trip(self):
        """One record there and back, in seconds."""
        started = time.monotonic()
        self.sent += 1
        self.producer.send(self.topic, b"%d" % self.sent).get(timeout=10)
        assert int(next(self.consumer).value) == self.sent
        return time.monotonic() - started

    def close(self):
        self.producer.close()
        self.consumer.close()


@pytest.fixture
def healthy(broker):
    pair = Healthy(broker.bootstrap)
    pair.round_trip()
    yield pair
    assert pair.round_trip() < 5
    assert broker.is_running()
    pair.close()


def connect(broker):
    return socket.create_connection(("127.0.0.1", broker.port), timeout=10)


def frame(api_key, version, body=b"", correlation_id=7, client_id=b"raw"):
    head = struct.pack(">hhih", api_key, version, correlation_id, len(client_id)) + client_id
    return struct.pack(">i", len(head + body)) + head + body


def receive(connection):
    """One response frame, or None where the server closes the connection."""

    def exactly(count):
        data = b""
        while len(data) < count:
            more = connection.recv(count - len(data))
            if not more:
                return None
            data += more
        return data

    try:
        size = exactly(4)
        return size and exactly(struct.unpack(">i", size)[0])
    except ConnectionResetError:
        return None


def ends(connection):
    """The server closes the connection without an answer."""
    return receive(connection) is None


@pytest.mark.parametrize("size", [-1, -2**31, 0, 1, 7, 2**31 - 1, 200 << 20])
def test_impossible_frame_sizes_end_their_connection_only(broker, healthy, size):
    with connect(broker) as connection:
        connection.sendall(struct.pack(">i", size) + b"\x00" * 7)
        assert ends(connection)


def test_http_to_the_kafka_port_is_turned_away(broker, healthy):
    with connect(broker) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ends(connection)


def test_an_unknown_api_ends_its_connection_only(broker, healthy):
    with connect(broker) as connection:
        connection.sendall(frame(999, 0))
        assert ends(connection)


def test_an_unknown_version_of_api_versions_is_told_the_known_ones(broker, healthy):
    with connect(broker) as connection:
        connection.sendall(frame(API_VERSIONS, 999, b"\x00" * 20))
        answer = receive(connection)
        correlation_id, error = struct.unpack(">ih", answer[:6])
        assert (correlation_id, error) == (7, 35)
        count = struct.unpack(">i", answer[6:10])[0]
        ranges = {}
        for i in range(count):
            key, lowest, highest = struct.unpack(">hhh", answer[10 + 6 * i : 16 + 6 * i])
            ranges[key] = (lowest, highest)
        assert ranges[API_VERSIONS][0] == 0 and ranges[API_VERSIONS][1] >= 3
        # The connection goes on with a version that is known.
        connection.sendall(frame(API_VERSIONS, 0, correlation_id=8))
        assert struct.unpack(">ih", receive(connection)[:6]) == (8, 0)


def test_an_array_that_claims_two_billion_elements_is_not_believed(broker, healthy):
    with connect(broker) as connection:
        connection.sendall(frame(3, 1, struct.pack(">i", 2**31 - 1)))  # Metadata
        assert ends(connection)


def test_a_frame_that_never_ends_holds_up_nobody(broker, healthy):
    stalled = [connect(broker) for _ in range(50)]
    for connection in stalled:
        connection.sendall(struct.pack(">i", 1000) + b"\x00\x03\x00")
    assert max(healthy.round_trip() for _ in range(10)) < 2
    for connection in stalled:
        connection.close()


def test_random_bytes_in_well_formed_frames_are_survived(broker, healthy):
    chance = random.Random(20240607)
    for round_number in range(400):
        api_key, version = chance.randrange(0, 70), chance.randrange(0, 14)
        body = chance.randbytes(chance.randrange(0, 200))
        try:
            with connect(broker) as connection:
                connection.sendall(frame(api_key, version, body))
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(0.05)
                try:
                    connection.recv(4096)
                except TimeoutError:
                    pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        if round_number % 100 == 99:
            assert healthy.round_trip() < 5


def test_random_bytes_without_frames_are_survived(broker, healthy):
    chance = random.Random(7)
    for _ in range(200):
        try:
            with connect(broker) as connection:
                connection.sendall(chance.randbytes(chance.randrange(1, 3000)))
        except (ConnectionResetError, BrokenPipeError):
            pass


def test_mutilated_produce_requests_are_survived(broker, healthy, topic):
    """As a broken network card would mutilate them."""
    request = produce_request(broker, topic)
    chance = random.Random(99)
    for _ in range(300):
        mutilated = bytearray(request)
        for _ in range(chance.randrange(1, 5)):
            mutilated[chance.randrange(8, len(mutilated))] = chance.randrange(256)
        with connect(broker) as connection:
            connection.sendall(mutilated)
            connection.settimeout(0.2)
            try:
                connection.recv(4096)
            except (TimeoutError, ConnectionResetError):
                pass
    values = [value for _, _, value in consume("kafka-python", broker.bootstrap, topic, 1)]
    assert set(values) <= {b"a value of some length"}, "a batch with a wrong checksum is never stored"


def produce_request(broker, topic):
    """A produce request around a batch that a real client made."""
    produce("kafka-python", broker.bootstrap, topic, [(b"key", b"a value of some length")], **{"enable.idempotence": False})
    batch = fetched_batch(broker, topic)
    name = topic.encode()
    body = struct.pack(">hhi", -1, -1, 5000)  # transactional id, acks, timeout
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, 0, len(batch)) + batch
    return frame(0, 7, body)


def fetch_request(topic, offset, wait_ms, correlation_id=7):
    name = topic.encode()
    body = struct.pack(">iiiib", -1, wait_ms, 1, 1 << 20, 0)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, offset, 1 << 20)
    return frame(1, 4, body, correlation_id)


def fetched_batch(broker, topic):
    """The first batch of a topic as it is stored."""
    name = topic.encode()
    with connect(broker) as connection:
        connection.sendall(fetch_request(topic, 0, 1000))
        answer = receive(connection)
    # correlation id, throttle time, one topic, its name, one partition: number, error, high watermark, last stable
    # offset, no aborted transactions, the size of the records.
    position = 4 + 4 + 4 + 2 + len(name) + 4
    partition, error, _, _, aborted, size = struct.unpack(">ihqqii", answer[position : position + 30])
    assert (partition, error) == (0, 0) and aborted in (0, -1)
    return answer[position + 30 : position + 30 + size]


def test_a_client_that_stops_reading_holds_up_nobody(broker, healthy):
    topic = make_topic(broker.bootstrap)
    produce("confluent-kafka", broker.bootstrap, topic, [(None, b"x" * 100_000)] * 100)
    script = (
        "import sys, time\n"
        "from kafka import KafkaConsumer\n"
        "consumer = KafkaConsumer(sys.argv[2], bootstrap_servers=sys.argv[1], auto_offset_reset='earliest')\n"
        "next(consumer)\n"
        "print('reading', flush=True)\n"
        "for record in consumer: time.sleep(0.001)\n")
    sleeper = subprocess.Popen([sys.executable, "-c", script, broker.bootstrap, topic], stdout=subprocess.PIPE)
    try:
        ready, _, _ = select.select([sleeper.stdout], [], [], 30)
        assert ready
        sleeper.send_signal(signal.SIGSTOP)
        assert max(healthy.round_trip() for _ in range(20)) < 2
    finally:
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()


def test_pipelined_requests_are_answered_in_their_order(broker, healthy):
    with connect(broker) as connection:
        connection.sendall(b"".join(frame(API_VERSIONS, 0, correlation_id=i) for i in range(200)))
        for i in range(200):
            assert struct.unpack(">i", receive(connection)[:4])[0] == i


def test_a_request_behind_a_waiting_fetch_is_answered_after_it(broker, healthy, topic):
    with connect(broker) as connection:
        started = time.monotonic()
        connection.sendall(fetch_request(topic, 0, 700, correlation_id=1))
        time.sleep(0.1)
        connection.sendall(frame(API_VERSIONS, 0, correlation_id=2))
        connection.sendall(frame(API_VERSIONS, 0, correlation_id=3))
        answers = [struct.unpack(">i", receive(connection)[:4])[0] for _ in range(3)]
        assert answers == [1, 2, 3]
        assert time.monotonic() - started >= 0.6, "the fetch waited for records"


def test_hundreds_of_connections_come_and_go(broker, healthy):
    for _ in range(5):
        crowd = [connect(broker) for _ in range(100)]
        for connection in crowd:
            connection.sendall(frame(API_VERSIONS, 0))
        assert all(receive(connection) for connection in crowd)
        for connection in crowd:
            connection.close()


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def array(*elements):
    return struct.pack(">i", len(elements)) + b"".join(elements)


def peak_memory(broker):
    """The most that the server has had resident, in bytes."""
    with open(f"/proc/{broker.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


METADATA = frame(3, 1, array(string("nowhere")))
JOIN_GROUP = frame(11, 2, string("g") + struct.pack(">ii", 10_000, 10_000) + string("") + string("consumer") + array(string("range") + array()))
OFFSET_COMMIT = frame(8, 2, string("g") + struct.pack(">i", -1) + string("") + struct.pack(">q", -1) + array(string("t") + array(struct.pack(">iq", 0, 5) + string(""))))


@pytest.mark.parametrize("whole", [METADATA, JOIN_GROUP, OFFSET_COMMIT], ids=["metadata", "join_group", "offset_commit"])
def test_a_request_that_ends_anywhere_but_at_its_end_ends_its_connection_only(broker, healthy, whole):
    header_size = 4 + 8 + 2 + 3
    for size in range(header_size, len(whole)):
        with connect(broker) as connection:
            connection.sendall(struct.pack(">i", size - 4) + whole[4:size])
            assert ends(connection), f"cut to {size} of {len(whole)} bytes"


def test_versions_that_are_not_advertised_end_their_connection_only(broker, healthy):
    with connect(broker) as connection:
        connection.sendall(frame(API_VERSIONS, 0))
        answer = receive(connection)
    count = struct.unpack(">i", answer[6:10])[0]
    served = [struct.unpack(">hhh", answer[10 + 6 * i : 16 + 6 * i]) for i in range(count)]
    assert len(served) > 40
    for api_key, _, highest in served:
        if api_key == API_VERSIONS:
            continue
        # Produce 12 is served to those who ask for it.
        for version in (-1, highest + 2, 32767):
            with connect(broker) as connection:
                connection.sendall(frame(api_key, version, b"\x00" * 50))
                assert ends(connection), f"API {api_key} version {version}"


def test_every_api_and_version_survives_an_empty_body(broker, healthy):
    for api_key in range(100):
        for version in range(20):
            with connect(broker) as connection:
                connection.sendall(frame(api_key, version))
                connection.settimeout(0.02)
                try:
                    connection.recv(4096)
                except (TimeoutError, ConnectionResetError):
                    pass


def test_why_a_connection_was_closed_is_said_but_not_each_time(own_broker):
    for _ in range(300):
        with connect(own_broker) as connection:
            connection.sendall(frame(999, 0))
            assert ends(connection)
    assert 1 <= own_broker.output().count("API 999 (?) is not served") <= 20


def test_naming_a_thing_often_costs_no_more_memory_than_naming_it_once(broker, healthy):
    topic = make_topic(broker.bootstrap, partitions=200)
    before = peak_memory(broker)
    with connect(broker) as connection:
        connection.sendall(frame(3, 1, array(*[string(topic)] * 50_000)))
        assert len(receive(connection)) < 100_000
        describe_broker = struct.pack(">b", 4) + string("") + struct.pack(">i", -1)
        connection.sendall(frame(32, 1, array(*[describe_broker] * 20_000) + b"\x01"))
        assert len(receive(connection)) < 100_000
        connection.sendall(frame(15, 0, array(*[string("g")] * 100_000)))
        assert len(receive(connection)) < 1_000
        connection.sendall(frame(9, 1, string("g") + array(*[string(topic) + array(*[struct.pack(">i", 1)] * 10)] * 10_000)))
        assert len(receive(connection)) < 1_000
    assert peak_memory(broker) - before < 100 << 20


def test_large_requests_without_records_end_their_connection(broker, healthy):
    before = peak_memory(broker)
    for _ in range(5):
        with connect(broker) as connection:
            connection.sendall(frame(10, 4, b"\x00" * (20 << 20)))
            assert ends(connection)
    assert peak_memory(broker) - before < 100 << 20


def test_a_compressed_bomb_is_refused_before_it_is_unpacked_whole(broker, healthy):
    topic = make_topic(broker.bootstrap, configs={"compression.type": "uncompressed"})
    before = peak_memory(broker)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, compression_type="gzip", max_request_size=1 << 30)
    with pytest.raises(KafkaError):
        producer.send(topic, bytes(500 << 20)).get(timeout=60)
    producer.close()
    assert peak_memory(broker) - before < 400 << 20


def test_clients_that_vanish_in_the_middle_of_a_wait_hold_nothing_up(broker, healthy, topic):
    linger_not = struct.pack("ii", 1, 0)
    for _ in range(200):
        connection = connect(broker)
        connection.sendall(fetch_request(topic, 0, 60_000) + frame(API_VERSIONS, 0))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        connection.close()
    assert max(healthy.round_trip() for _ in range(10)) < 2


def test_thousands_of_pipelined_requests_are_answered_in_their_order(broker, healthy):
    count = 5_000
    with connect(broker) as connection:
        sender = threading.Thread(target=lambda: connection.sendall(b"".join(frame(API_VERSIONS, 0, correlation_id=i) for i in range(count))))
        sender.start()
        for i in range(count):
            assert struct.unpack(">i", receive(connection)[:4])[0] == i
        sender.join()


def test_very_many_partitions_in_one_fetch_are_answered(broker, healthy, topic):
    count = 100_000
    partitions = b"".join(struct.pack(">iqi", i, 0, 1 << 20) for i in range(count))
    body = struct.pack(">iiiib", -1, 0, 1, 1 << 20, 0)
    body += struct.pack(">i", 1) + string(topic) + struct.pack(">i", count) + partitions
    before = peak_memory(broker)
    with connect(broker) as connection:
        connection.sendall(frame(1, 4, body))
        answer = receive(connection)
    assert answer is not None and len(answer) < 100 * count
    assert peak_memory(broker) - before < 200 << 20
