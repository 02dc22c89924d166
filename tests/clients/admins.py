"""What tests of administration share."""

import time

import confluent_kafka
import pytest
from kafka import KafkaConsumer

from both import produce


def done(futures):
    """The one result of an admin call."""
    return next(iter(futures.values())).result(timeout=20)


def error_of(futures):
    with pytest.raises(confluent_kafka.KafkaException) as failure:
        done(futures)
    return failure.value.args[0].code()


def wait_until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running_member(bootstrap, topic, group, **options):
    """A consumer that has joined its group and read a record."""
    produce("kafka-python", bootstrap, topic, [(None, b"x")])
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", **options)
    next(consumer)
    return consumer
