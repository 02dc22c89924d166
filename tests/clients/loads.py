"""Clients at work, each on a thread of its own, unmodified and left to their own devices when their broker dies. Each keeps
what was answered to it, so that a test can compare that with what the log holds in the end."""

import collections
import itertools
import threading
import time
import traceback

import confluent_kafka
from confluent_kafka import KafkaException
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

import raw_client

WAIT_S = 30
QUICK = {"log_level": 2, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
QUICK_PYTHON = {"reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 200}


class Load:
    """Runs `work` until it is stopped; `progress` grows with everything that was answered."""

    def __init__(self, name):
        self.name = name
        self.progress = 0
        self.failure = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.thread.join(2 * WAIT_S)
        assert not self.thread.is_alive(), f"{self.name} does not come to an end"

    def _guarded(self):
        try:
            self.work()
        except Exception:  # it is the test's to report, on its own thread
            self.failure = f"{self.name}:\n{traceback.format_exc()}"

    def work(self):
        raise NotImplementedError


class IdempotentProducer(Load):
    """Sends numbered records round the partitions, so many a second at the most."""

    def __init__(self, client, bootstrap, topic, partitions, per_s=2000):
        super().__init__(f"idempotent {client}")
        self.client, self.bootstrap, self.topic, self.partitions = client, bootstrap, topic, partitions
        self.per_s = per_s
        self.acknowledged = {}  # number -> (partition, offset)

    def work(self):
        if self.client == "kafka-python":
            self._work_kafka_python()
        else:
            self._work_confluent_kafka()

    def _numbers(self):
        at_once = max(1, self.per_s // 100)
        for number in itertools.count():
            if self.stopping.is_set():
                return
            yield number
            if number % at_once == at_once - 1:
                time.sleep(at_once / self.per_s)

    def _work_kafka_python(self):
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, linger_ms=2,
                                 **QUICK_PYTHON)
        for number in self._numbers():
            try:
                future = producer.send(self.topic, b"%d" % number, partition=number % self.partitions)
                future.add_callback(lambda done, number=number: self._done(number, done.partition, done.offset))
            except KafkaError:
                time.sleep(0.05)
        producer.flush(timeout=WAIT_S)
        producer.close(timeout=10)

    def _work_confluent_kafka(self):
        producer = confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True,
                                             "linger.ms": 2, **QUICK})

        def delivered(error, message):
            if error is None:
                self._done(int(message.value()), message.partition(), message.offset())

        for number in self._numbers():
            try:
                producer.produce(self.topic, b"%d" % number, partition=number % self.partitions, on_delivery=delivered)
            except BufferError:
                time.sleep(0.05)
            producer.poll(0)
        producer.flush(WAIT_S)

    def _done(self, number, partition, offset):
        self.acknowledged[number] = (partition, offset)
        self.progress += 1


class TransactionalWriter:
    """librdkafka's transactional producer with the care that its documentation asks of an application."""

    def __init__(self, bootstrap, transactional_id):
        self._config = {"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "linger.ms": 0, **QUICK}
        self._open()

    def _open(self):
        self.producer = confluent_kafka.Producer(self._config)
        self._retry(lambda: self.producer.init_transactions(5))

    @staticmethod
    def _retry(call):
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return call()
            except KafkaException as problem:
                if not problem.args[0].retriable() or time.monotonic() > deadline:
                    raise

    def transact(self, fill, commit=True):
        """`fill` it, and end it. What became of it: committed, aborted, or unknown where its end was not answered."""
        try:
            self.producer.begin_transaction()
            fill(self.producer)
            if commit:
                self._retry(lambda: self.producer.commit_transaction(5))
                return "committed"
            self._retry(lambda: self.producer.abort_transaction(5))
            return "aborted"
        except KafkaException as problem:
            if not problem.args[0].fatal():
                try:
                    self._retry(lambda: self.producer.abort_transaction(5))
                    return "aborted"
                except KafkaException:
                    pass
            self._open()
            return "unknown"


class TransactionalProducer(Load):
    """Each transaction writes its number to every partition; every fourth is aborted. librdkafka's: kafka-python's forgets
    requests that fail before they are sent, and then waits for ever."""

    def __init__(self, bootstrap, number, topic, partitions, pause_s=0.005):
        super().__init__(f"transactions {number}")
        self.bootstrap, self.number, self.topic, self.partitions = bootstrap, number, topic, partitions
        self.pause_s = pause_s
        self.outcomes = {}  # value -> committed, aborted or unknown

    def work(self):
        writer = TransactionalWriter(self.bootstrap, f"{self.topic}-{self.number}")
        for count in itertools.count():
            if self.stopping.is_set():
                return
            value = f"{self.number} {count}"

            def fill(producer, value=value):
                for partition in range(self.partitions):
                    producer.produce(self.topic, value, partition=partition)

            self.outcomes[value] = writer.transact(fill, commit=count % 4 != 3)
            self.progress += self.outcomes[value] != "unknown"
            time.sleep(self.pause_s)


class Transformer(Load):
    """Consume, transform, produce, exactly once: copies topics to `sink`, the offsets within the same transactions."""

    def __init__(self, bootstrap, number, group, topics, sink):
        super().__init__(f"transformer {number}")
        self.bootstrap, self.group, self.topics, self.sink = bootstrap, group, topics, sink
        self.transactional_id = f"{sink}-{number}"
        self.outcomes = collections.Counter()
        self.taken = []  # read since the last transaction

    def work(self):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": self.group, "isolation.level": "read_committed",
            "auto.offset.reset": "earliest", "enable.auto.commit": False, "heartbeat.interval.ms": 500, **QUICK})
        # What was read of partitions that may now be another's counts for nothing.
        forget = lambda *_: self.taken.clear()  # noqa: E731
        consumer.subscribe(self.topics, on_assign=forget, on_revoke=forget, on_lost=forget)
        writer = TransactionalWriter(self.bootstrap, self.transactional_id)
        while not self.stopping.is_set():
            message = consumer.poll(0.1 if not self.taken else 0)
            if message is not None:
                if message.error() is None:
                    self.taken.append(message)
                if len(self.taken) < 100:
                    continue
            if self.taken:
                self._copy(consumer, writer)
        consumer.close()

    def _copy(self, consumer, writer):
        taken = list(self.taken)
        self.taken.clear()

        def fill(producer):
            ends = {}
            for message in taken:
                source = f"{message.topic()} {message.partition()} {message.offset()}"
                producer.produce(self.sink, source, partition=message.partition())
                ends[message.topic(), message.partition()] = message.offset() + 1
            positions = [confluent_kafka.TopicPartition(*of, end) for of, end in ends.items()]
            metadata = consumer.consumer_group_metadata()
            writer._retry(lambda: producer.send_offsets_to_transaction(positions, metadata, 5))

        outcome = writer.transact(fill)
        self.outcomes[outcome] += 1
        if outcome == "committed":
            self.progress += len(taken)
        else:
            self._rewind(consumer)

    def _rewind(self, consumer):
        """To what is committed, for all that is assigned; a rebalance in between does the same."""
        while not self.stopping.is_set():
            try:
                for partition in consumer.committed(consumer.assignment(), 5):
                    if partition.offset < 0:
                        partition.offset = confluent_kafka.OFFSET_BEGINNING
                    consumer.seek(partition)
                return
            except KafkaException:
                consumer.poll(0.05)
                self.taken.clear()


class Committer(Load):
    """The only member of a group: reads, and commits what it read before it reads on. Kafka-python's."""

    def __init__(self, bootstrap, group, topic):
        super().__init__("committer")
        self.bootstrap, self.group, self.topic = bootstrap, group, topic
        self.committed = {}  # partition -> the last that was acknowledged

    def work(self):
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.group,
                                 auto_offset_reset="earliest", enable_auto_commit=False, **QUICK_PYTHON)
        # A leader that does not know its topic yet assigns nothing, and may then miss the answer of its next rebalance where
        # it polls in short turns.
        consumer.partitions_for_topic(self.topic)
        consumer.subscribe([self.topic])
        while not self.stopping.is_set():
            read = {of: records[-1].offset + 1 for of, records in consumer.poll(timeout_ms=2000).items()}
            if not read:
                continue
            try:
                consumer.commit({of: OffsetAndMetadata(end, "", -1) for of, end in read.items()}, timeout_ms=5000)
            except KafkaError:
                continue
            self.committed |= {of.partition: end for of, end in read.items()}
            self.progress += 1
        consumer.close()


class Reader(Load):
    """Reads what is committed, from the beginning on, with partitions of its own choice."""

    def __init__(self, client, bootstrap, topic, partitions):
        super().__init__(f"reader {client}")
        self.client, self.bootstrap, self.topic, self.partitions = client, bootstrap, topic, partitions
        self.seen = {partition: [] for partition in range(partitions)}  # (offset, value)

    def work(self):
        read, close = self._kafka_python() if self.client == "kafka-python" else self._confluent_kafka()
        while not self.stopping.is_set():
            for partition, offset, value in read():
                seen = self.seen[partition]
                assert not seen or offset > seen[-1][0], f"{partition}: offset {offset} after {seen[-1]}"
                seen.append((offset, value.decode()))
                self.progress += 1
        close()

    def _kafka_python(self):
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed",
                                 auto_offset_reset="none", **QUICK_PYTHON)
        partitions = [TopicPartition(self.topic, partition) for partition in range(self.partitions)]
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)

        def read():
            for records in consumer.poll(timeout_ms=100).values():
                yield from ((record.partition, record.offset, record.value) for record in records)

        return read, consumer.close

    def _confluent_kafka(self):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "unused", "isolation.level": "read_committed",
            "auto.offset.reset": "error", "enable.auto.commit": False, **QUICK})
        consumer.assign([confluent_kafka.TopicPartition(self.topic, partition, 0) for partition in range(self.partitions)])

        def read():
            for message in consumer.consume(200, timeout=0.1):
                if message.error() is None:
                    yield message.partition(), message.offset(), message.value()
                else:
                    assert message.error().code() != confluent_kafka.KafkaError._AUTO_OFFSET_RESET, message.error()

        return read, consumer.close


class Watch(Load):
    """Asks again and again for ends of logs and committed offsets: none ever goes back, none is behind its commit."""

    def __init__(self, bootstrap, ends, committed, committer, pause_s=0.02):
        """`ends`: {topic: partitions}; `committed`: (group, topic, partitions)s."""
        super().__init__("watch")
        self.bootstrap, self.of_ends, self.of_groups, self.committer = bootstrap, ends, committed, committer
        self.pause_s = pause_s
        self.highest = {}

    def work(self):
        while not self.stopping.is_set():
            try:
                with raw_client.Connection(self.bootstrap) as connection:
                    while not self.stopping.is_set():
                        self._look(connection)
                        self.progress += 1
                        time.sleep(self.pause_s)
            except (OSError, raw_client.Failed):  # it is down, or loads its groups
                time.sleep(0.02)

    def _look(self, connection):
        acknowledged = dict(self.committer.committed)
        for topic, partitions in self.of_ends.items():
            self._compare(("end", topic), connection.ends(topic, partitions))
        for group, topic, partitions in self.of_groups:
            found = connection.committed(group, topic, partitions)
            self._compare((group, topic), found)
            if group == self.committer.group:
                behind = {p: (found[p], end) for p, end in acknowledged.items() if found[p] < end}
                assert not behind, f"{group}: committed, but not there: {behind}"

    def _compare(self, what, found):
        before = self.highest.get(what, {})
        back = {p: (before[p], offset) for p, offset in found.items() if offset < before.get(p, 0)}
        assert not back, f"{what} went back: {back}"
        self.highest[what] = found
