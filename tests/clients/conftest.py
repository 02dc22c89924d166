import itertools
import os
import uuid

import pytest
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from broker import Broker, ExternalBroker

EXTERNAL = os.environ.get("MILLRACE_CLIENT_TESTS_BOOTSTRAP")
counter = itertools.count()


def new_broker(folder, settings=None):
    if EXTERNAL:
        pytest.skip("needs a broker of its own to kill")
    return Broker(folder, settings).start()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """One broker for the tests of a file."""
    if EXTERNAL:
        yield ExternalBroker(EXTERNAL)
        return
    running = Broker(tmp_path_factory.mktemp("server")).start()
    yield running
    assert running.is_running(), f"the server died:\n{running.output()}"
    assert running.stop() == 0


@pytest.fixture
def own_broker(tmp_path):
    """A broker for one test, which may kill it."""
    running = new_broker(tmp_path)
    yield running
    if running.is_running():
        running.stop()


@pytest.fixture
def bootstrap(broker):
    return broker.bootstrap


def unique(stem):
    return f"{stem}-{next(counter)}-{uuid.uuid4().hex[:6]}"


def make_topic(bootstrap, partitions=1, configs=None):
    name = unique("topic")
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
        admin.wait_for_topics([name])
    finally:
        admin.close()
    return name


@pytest.fixture
def topic(bootstrap):
    return make_topic(bootstrap)


@pytest.fixture
def group():
    return unique("group")


@pytest.fixture
def admin(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


@pytest.fixture
def kafka_python_admin(bootstrap):
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    yield client
    client.close()
