"""A member of a consumer group, as a process of its own, so that it can be killed.

group_member.py CLIENT BOOTSTRAP GROUP TOPIC SESSION_TIMEOUT_MS [INSTANCE_ID]

SESSION_TIMEOUT_MS sets the client's intervals for heartbeats and commits, too; "default" leaves all of them as the client has them.
Prints one JSON object a line: {"assigned": [partitions]} at each change, {"record": [partition, offset, value]} for each
record, and only then commits past it. SIGTERM makes it leave the group and end.
"""

import json
import signal
import sys

import confluent_kafka
from kafka import ConsumerRebalanceListener, KafkaConsumer


stopping = False


def stop(*_):
    # Not in the middle of something: a record that was taken is said before the last commit.
    global stopping
    stopping = True


def say(what):
    print(json.dumps(what), flush=True)


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        say({"assigned": []})

    def on_partitions_assigned(self, assigned):
        say({"assigned": sorted(partition.partition for partition in assigned)})


def run_kafka_python(bootstrap, group, topic, session_timeout_ms, instance_id):
    times = {}
    if session_timeout_ms:
        times = {"session_timeout_ms": session_timeout_ms, "heartbeat_interval_ms": session_timeout_ms // 6, "auto_commit_interval_ms": 500}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, group_instance_id=instance_id,
                             auto_offset_reset="earliest", **times)
    # A leader of this client that does not know the topic yet gives everybody nothing and joins again, and may then miss
    # the answer for as long as it polls in short turns.
    consumer.partitions_for_topic(topic)
    consumer.subscribe([topic], listener=Listener())
    try:
        while not stopping:
            # Not in shorter turns: this client can lose its assignment where a poll() ends in the middle of a rebalance.
            for records in consumer.poll(timeout_ms=2000).values():
                for record in records:
                    say({"record": [record.partition, record.offset, record.value.decode()]})
    finally:
        consumer.close()


def run_confluent_kafka(bootstrap, group, topic, session_timeout_ms, instance_id):
    config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.offset.store": False}
    if session_timeout_ms:
        config |= {"session.timeout.ms": session_timeout_ms, "heartbeat.interval.ms": session_timeout_ms // 6,
                   "auto.commit.interval.ms": 500}
    if instance_id:
        config["group.instance.id"] = instance_id
    consumer = confluent_kafka.Consumer(config)

    def assigned(_, partitions):
        say({"assigned": sorted(partition.partition for partition in partitions)})

    consumer.subscribe([topic], on_assign=assigned, on_revoke=lambda *_: say({"assigned": []}))
    try:
        while not stopping:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                say({"record": [message.partition(), message.offset(), message.value().decode()]})
                try:
                    consumer.store_offsets(message)
                except confluent_kafka.KafkaException:
                    pass  # the partition is another's by now
    finally:
        consumer.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    client, bootstrap, group, topic, session_timeout_ms, *rest = sys.argv[1:]
    run = run_kafka_python if client == "kafka-python" else run_confluent_kafka
    run(bootstrap, group, topic, None if session_timeout_ms == "default" else int(session_timeout_ms), rest[0] if rest else None)
