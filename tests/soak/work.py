"""What the broker has to do all the while. Each Load checks what it can check on the way; see tests/clients/loads.py."""

import collections
import itertools
import json
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

import raw_client
from loads import WAIT_S, Load

CLIENTS = pathlib.Path(__file__).resolve().parents[1] / "clients"
COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]


def create(bootstrap, name, partitions, **configs):
    topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): str(value) for key, value in configs.items()})
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([topic])[name].result(WAIT_S)
    return name


class Stream(Load):
    """An idempotent producer of one compression: records from a few bytes to tens of kilobytes, numbered by partition."""

    def __init__(self, bootstrap, topic, partitions, compression, per_s):
        super().__init__(f"stream {compression}")
        self.bootstrap, self.topic, self.partitions = bootstrap, topic, partitions
        self.compression, self.per_s = compression, per_s
        self.acknowledged = collections.Counter()  # by partition

    def work(self):
        producer = confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True,
                                             "compression.type": self.compression, "linger.ms": 20})

        def delivered(error, message):
            assert error is None, error
            self.acknowledged[message.partition()] += 1
            self.progress += 1

        chance = random.Random(self.compression)
        words = [chance.randbytes(8) for _ in range(50)]
        for number in itertools.count():
            if self.stopping.is_set():
                break
            padding = b"".join(chance.choices(words, k=min(5000, int(chance.expovariate(1 / 100)))))
            producer.produce(self.topic, b"%d " % (number // self.partitions) + padding, key=self.compression,
                             partition=number % self.partitions, on_delivery=delivered)
            producer.poll(0)
            time.sleep(1 / self.per_s)
        assert producer.flush(WAIT_S) == 0


class StreamReader(Load):
    """Sees every record of every producer once and in order."""

    def __init__(self, bootstrap, topic, partitions):
        super().__init__("stream reader")
        self.bootstrap, self.topic, self.partitions = bootstrap, topic, partitions
        self.next = collections.Counter()  # by producer and partition

    def work(self):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": "unused",
                                             "enable.auto.commit": False, "auto.offset.reset": "error"})
        consumer.assign([confluent_kafka.TopicPartition(self.topic, partition, 0) for partition in range(self.partitions)])
        while not self.stopping.is_set():
            for message in consumer.consume(100, 0.2):
                assert message.error() is None, message.error()
                of = message.key().decode(), message.partition()
                number = int(message.value().split(b" ", 1)[0])
                assert number == self.next[of], f"{of}: {number} comes where {self.next[of]} is due"
                self.next[of] += 1
                self.progress += 1
        consumer.close()


class Compacted(Load):
    """Overwrites a thousand keys again and again."""

    def __init__(self, bootstrap, topic, per_s):
        super().__init__("compacted")
        self.bootstrap, self.topic, self.per_s = bootstrap, topic, per_s
        self.last = {}  # key -> the value that was acknowledged last

    def work(self):
        producer = confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 20})

        def delivered(error, message):
            assert error is None, error
            self.last[message.key()] = message.value()
            self.progress += 1

        chance = random.Random(1)
        for number in itertools.count():
            if self.stopping.is_set():
                break
            key = b"%d" % chance.randrange(1000)
            producer.produce(self.topic, b"%d " % number + b"x" * 1000, key=key, partition=0, on_delivery=delivered)
            producer.poll(0)
            time.sleep(1 / self.per_s)
        assert producer.flush(WAIT_S) == 0

    def check(self):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": "unused",
                                             "enable.partition.eof": True})
        consumer.assign([confluent_kafka.TopicPartition(self.topic, 0, confluent_kafka.OFFSET_BEGINNING)])
        found, count = {}, 0
        while (message := consumer.poll(WAIT_S)) is not None and message.error() is None:
            found[message.key()] = message.value()
            count += 1
        consumer.close()
        assert message is not None, "the end of the compacted topic did not come"
        assert found == self.last, "the compacted topic does not end with the last value of each key"
        assert count < self.progress / 2, f"{count} of {self.progress} records are left: nothing was compacted"
        return f"{count:,} of {self.progress:,} records are left of the compacted topic, the last of each key among them"


class Members(Load):
    """A group whose members, processes of both clients, come, leave and are killed; none of its partitions' records is left out."""

    def __init__(self, bootstrap, group, topic):
        super().__init__("members")
        self.bootstrap, self.group, self.topic = bootstrap, group, topic
        self.mutex = threading.Lock()
        self.next = collections.Counter()  # by partition: the offset that is due
        self.gaps = []
        self.changes = collections.Counter()

    def work(self):
        chance = random.Random(2)
        running = []
        due = 0.0
        while not self.stopping.is_set():
            assert not self.gaps, self.gaps
            if time.monotonic() < due:
                time.sleep(0.2)
                continue
            if len(running) < 2 or (len(running) < 4 and chance.random() < 0.5):
                running.append(self._join(chance.choice(["kafka-python", "confluent-kafka"])))
                self.changes["joined"] += 1
            else:
                how = chance.choice([signal.SIGTERM, signal.SIGKILL])
                self._end(running.pop(chance.randrange(len(running))), how)
                self.changes[how.name] += 1
            due = time.monotonic() + chance.uniform(4, 12)
        for process in running:
            self._end(process, signal.SIGTERM)

    def _join(self, client):
        command = [sys.executable, "-B", str(CLIENTS / "group_member.py"), client, self.bootstrap, self.group, self.topic, "10000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._follow, args=(process,), daemon=True).start()
        return process

    def _follow(self, process):
        for line in process.stdout:
            if not line.endswith("\n"):
                return  # killed while it wrote
            if "record" not in (said := json.loads(line)):
                continue
            partition, offset, _ = said["record"]
            with self.mutex:
                if offset > self.next[partition]:
                    self.gaps.append((partition, self.next[partition], offset))
                self.next[partition] = max(self.next[partition], offset + 1)
                self.progress += 1

    @staticmethod
    def _end(process, how):
        process.send_signal(how)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Topics(Load):
    """Topics that are made, written, read and deleted."""

    def __init__(self, bootstrap):
        super().__init__("topics")
        self.bootstrap = bootstrap

    def work(self):
        chance = random.Random(3)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        alive = collections.deque()
        for number in itertools.count():
            if self.stopping.wait(3):
                return
            topic = create(self.bootstrap, f"passing-{number}", chance.randint(1, 8))
            value = b"%d" % number
            with raw_client.Connection(self.bootstrap) as connection:
                offset = connection.produce(topic, 0, raw_client.record_batch(value, time_ms=int(time.time() * 1000)))
                assert offset == 0 and value in connection.fetch(topic, 0, 0)
            alive.append(topic)
            if len(alive) > 5:
                admin.delete_topics([oldest := alive.popleft()])[oldest].result(WAIT_S)
            self.progress += 1


class Connections(Load):
    """Connections that come, ask something and go, some in the middle of a request; and a hundred that only stay."""

    def __init__(self, bootstrap, topic, idle=100):
        super().__init__("connections")
        self.bootstrap, self.topic, self.idle = bootstrap, topic, idle

    def work(self):
        host, port = self.bootstrap.split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(self.idle)]
        while not self.stopping.wait(0.1):
            with raw_client.Connection(self.bootstrap) as connection:
                connection.ends(self.topic, 1)
                if self.progress % 5 == 0:
                    connection.socket.sendall(b"\0\0\1\0half of a req")
            self.progress += 1
        for each in idle:
            each.close()
