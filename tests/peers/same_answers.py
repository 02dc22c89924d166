#!/usr/bin/env python3
"""Sends the same requests, good and bad ones, to Apache Kafka and to the embedded broker, and compares the answers field by field.

same_answers.py MILLRACE_BINARY CACHE_DIR [PROBE…]; exit status 77: Java or Maven is missing.

Not compared: ids, times and addresses, the wording of messages, the order in lists that have none, and what
docs/manual/kafka-differences.md says is different.
"""

import contextlib
import json
import pathlib
import sys
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "kafka")]
sys.dont_write_bytecode = True  # the source tree stays as it is
import clients  # noqa: E402
import kafka  # noqa: E402
import raw_client  # noqa: E402
import record_probes  # noqa: E402
import request_probes  # noqa: E402
import transaction_probes  # noqa: E402
from record_batches import record_batch  # noqa: E402

NOT_COMPARED = {"throttle_time_ms", "host", "port", "cluster_id", "error_message", "batch_index_error_message", "client_host", "log_append_time_ms", "log_start_offset", "last_timestamp"}
IDS = {"topic_id", "member_id", "leader", "producer_id", "session_id", "transaction_start_time_ms"}
UNORDERED = {"topics", "responses", "results", "members", "groups", "partitions", "results_by_partition", "transaction_states", "configs", "active_producers", "topic_results"}
NO_ID = (None, "", 0, -1, uuid.UUID(int=0))
SETTINGS = {"num.partitions": 4, "offsets.topic.num.partitions": 4, "transaction.state.log.num.partitions": 4, "group.initial.rebalance.delay.ms": 0}
THEIRS_ONLY = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": 50}
OURS_ONLY = {"group.rebalance.debounce.ms": 0, "group.disconnect.grace.ms": 0}
SOON_S = 20


def batch(*values: bytes, key: bytes | None = b"k", **more) -> bytes:
    return record_batch(*values, key=key, **more)


def comparable(value, key: str = ""):
    if isinstance(value, dict):
        return {name: comparable(one, name) for name, one in value.items() if name not in NOT_COMPARED}
    if isinstance(value, list):
        items = [comparable(one, key) for one in value]
        return sorted(items, key=lambda one: json.dumps(one, sort_keys=True, default=str)) if key in UNORDERED else items
    if key.endswith("error_code"):
        return raw_client.errors()[value]
    if key in IDS:
        return value if value in NO_ID else "an id"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value) if isinstance(value, uuid.UUID) else value


class Side:
    """One of the two brokers, and what it has answered."""

    def __init__(self, port: int):
        self.port = port
        self.client = raw_client.RawClient(port)
        self.answers: list[tuple[str, object]] = []

    def ask(self, what: str, api: str, version: int, **body):
        answer = self.client.call(api, version, **body)
        self.answers.append((f"{api} {version}, {what}", comparable(answer)))
        return answer

    def until(self, is_so, api: str, version: int, **body):
        """Kafka does some things a moment after it has answered."""
        deadline = time.monotonic() + SOON_S
        while not is_so(answer := self.client.call(api, version, **body)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{api}: {answer}")
            time.sleep(0.05)
        return answer

    def topic(self, name: str, partitions: int = 1, **configs: str) -> uuid.UUID:
        settings = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
        topic = {"name": name, "num_partitions": partitions, "replication_factor": 1, "configs": settings}
        made = self.client.call("CreateTopics", 7, topics=[topic], timeout_ms=10_000)["topics"][0]
        served = lambda answer: [one["leader_id"] for one in answer["topics"][0]["partitions"]] == [1] * partitions
        self.until(served, "Metadata", 12, topics=[{"name": name}], allow_auto_topic_creation=False)
        asked = [{"name": name, "partitions": [{"partition_index": index, "timestamp": -1} for index in range(partitions)]}]
        ready = lambda answer: not any(one["error_code"] for one in answer["topics"][0]["partitions"])
        self.until(ready, "ListOffsets", 4, replica_id=-1, topics=asked)
        return made["topic_id"]

    def coordinators(self, group: str, transactional_id: str) -> None:
        for kind, key in enumerate((group, transactional_id)):
            self.until(lambda answer: answer["error_code"] == 0, "FindCoordinator", 3, key=key, key_type=kind)
        self.until(lambda answer: answer["error_code"] == 0, "InitProducerId", 2, transactional_id=f"{transactional_id}-first", transaction_timeout_ms=1000)

    def produce(self, what: str, topic: str, records: bytes | None, version: int = 9, partition: int = 0, acks: int = -1, transactional_id: str | None = None):
        data = [{"name": topic, "partition_data": [{"index": partition, "records": records}]}]
        return self.ask(what, "Produce", version, transactional_id=transactional_id, acks=acks, timeout_ms=5000, topic_data=data)


def api_versions(side: Side):
    for name, version in (("", ""), ("-a", "1"), ("a b", "1"), ("a", "1_0"), ("a.", "1")):
        side.ask(f"{name!r} {version!r}", "ApiVersions", 3, client_software_name=name, client_software_version=version)


def topics(side: Side):
    side.topic("topics.old", 2)
    made = {"num_partitions": 1, "replication_factor": 1}
    assigned = lambda *parts: {"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": index, "broker_ids": ids} for index, ids in parts]}
    config = lambda name, value: {**made, "configs": [{"name": name, "value": value}]}
    cases = {"": made, "a b": made, "x" * 250: made, "topics.old": made, "topics_old": made, "zero": {**made, "num_partitions": 0}, "none": {**made, "replication_factor": 0},
             "gap": assigned((0, [1]), (2, [1])), "stranger": assigned((0, [7])), "repeated": assigned((0, [1]), (0, [1])), "empty": assigned((0, [])),
             "both": {**made, **assigned((0, [1])), "num_partitions": 1}, "bogus": config("bogus", "1"), "null": config("retention.ms", None), "text": config("retention.ms", "1e3"),
             "plus": config("retention.ms", "+1000"), "case": config("preallocate", "TRUE"), "policies": config("cleanup.policy", " compact , delete"), "nothing": config("cleanup.policy", ""),
             "gzip": config("compression.gzip.level", "0"), "replicas": config("leader.replication.throttled.replicas", "x"), "assigned": assigned((0, [1]), (1, [1]))}
    for name, topic in cases.items():
        answer = side.client.call("CreateTopics", 5, topics=[{"name": name, **topic}], timeout_ms=10_000)["topics"][0]
        side.answers.append((f"CreateTopics 5, {name[:20]}", (raw_client.errors()[answer["error_code"]], answer["num_partitions"])))
    side.ask("a name twice", "CreateTopics", 7, topics=[{"name": "twice", **made}] * 2, timeout_ms=10_000)
    for version in (0, 3):
        for what, name, count in (("as many", "topics.old", 2), ("fewer", "topics.old", 1), ("unknown", "nope", 3)):
            side.ask(what, "CreatePartitions", version, topics=[{"name": name, "count": count, "assignments": None}], timeout_ms=5000)
        assignments = [{"broker_ids": [1]}, {"broker_ids": [1]}]
        side.ask("too many assignments", "CreatePartitions", version, topics=[{"name": "topics.old", "count": 3, "assignments": assignments}], timeout_ms=5000)
    for version in (1, 5):
        side.ask("names twice", "DeleteTopics", version, topic_names=["topics.old", "topics.old"], timeout_ms=5000)
    topic_id = side.until(lambda answer: True, "Metadata", 12, topics=[{"name": "topics.old"}])["topics"][0]["topic_id"]
    for what, named in (("id twice", [{"name": None, "topic_id": topic_id}] * 2), ("neither", [{"name": None}]), ("both", [{"name": "topics.old", "topic_id": topic_id}]),
                        ("unknown", [{"name": "nope"}, {"name": None, "topic_id": uuid.UUID(int=5)}])):
        side.ask(what, "DeleteTopics", 6, topics=named, timeout_ms=5000)
    for version in range(4, 14):
        side.ask("some", "Metadata", version, topics=[{"name": "topics.old"}, {"name": "nope"}, {"name": "a b"}], allow_auto_topic_creation=False)
        side.ask("none", "Metadata", version, topics=[], allow_auto_topic_creation=False)


def configs(side: Side):
    side.topic("configs.t", retention_ms="1000")
    def alter(what: str, name: str, operation: int, value: str | None, topic: str = "configs.t", kind: int = 2):
        change = {"resource_type": kind, "resource_name": topic, "configs": [{"name": name, "config_operation": operation, "value": value}]}
        side.ask(what, "IncrementalAlterConfigs", 1, resources=[change])
    for name, value in (("retention.ms", "5000"), ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.25"), ("leader.replication.throttled.replicas", "0:1")):
        for operation, what in enumerate(("set", "delete", "append", "subtract")):
            alter(f"{what} {name}", name, operation, None if what == "delete" else value)
    alter("null", "retention.ms", 0, None)
    alter("unknown", "bogus", 0, "1")
    alter("delete unknown", "bogus", 1, None)
    alter("bad value", "retention.ms", 0, "x")
    alter("unknown topic", "retention.ms", 0, "1", topic="nope")
    alter("another broker", "log.retention.ms", 0, "1", topic="7", kind=4)
    alter("unknown kind", "a", 0, "1", kind=99)
    for version in (0, 2):
        for what, name, value in (("set", "segment.ms", "5000"), ("null", "segment.ms", None), ("unknown", "bogus", "1")):
            side.ask(what, "AlterConfigs", version, resources=[{"resource_type": 2, "resource_name": "configs.t", "configs": [{"name": name, "value": value}]}])
    for what, topic, keys in (("one", "configs.t", ["segment.ms"]), ("unknown key", "configs.t", ["bogus"]), ("unknown topic", "nope", None), ("no name", "", None)):
        side.ask(what, "DescribeConfigs", 2, resources=[{"resource_type": 2, "resource_name": topic, "configuration_keys": keys}])
    count = lambda keys: len(side.client.call("DescribeConfigs", 2, resources=[{"resource_type": 2, "resource_name": "configs.t", "configuration_keys": keys}])["results"][0]["configs"])
    side.answers.append(("no keys are all keys", count([]) == count(None)))


def records(side: Side):
    topic_id = side.topic("records.t", 2)
    side.topic("records.compacted", cleanup_policy="compact")
    side.coordinators("records.g", "records.x")
    now = int(time.time() * 1000)
    for version in (3, 8, 12):
        for what, data in (("good", batch(b"v", time_ms=now)), ("bad checksum", batch(b"v", time_ms=now, crc=1)), ("two batches", batch(b"v", time_ms=now) * 2),
                           ("wrong count", batch(b"v", time_ms=now, count=2)), ("control", batch(b"v", time_ms=now, attributes=0x20)), ("future", batch(b"v", time_ms=now + 10**8)),
                           ("base offset", batch(b"v", time_ms=now, base_offset=7)), ("no sequence", batch(b"v", time_ms=now, producer_id=5, epoch=0)), ("long ago", batch(b"v", time_ms=0))):
            side.produce(what, "records.t", data, version)
        side.produce("unknown topic", "nope", batch(b"v", time_ms=now), version)
        side.produce("unknown partition", "records.t", batch(b"v", time_ms=now), version, partition=9)
        side.produce("acks 2", "records.t", batch(b"v", time_ms=now), version, acks=2)
        side.produce("no key", "records.compacted", batch(b"v", key=None, time_ms=now), version)
        side.produce("internal", "__consumer_offsets", batch(b"v", time_ms=now), version)
    producer = side.client.call("InitProducerId", 4, transactional_id=None, transaction_timeout_ms=1000)["producer_id"]
    for epoch, sequence in ((0, 0), (0, 1), (0, 1), (0, 3), (1, 2), (1, 0), (0, 2), (1, 1)):
        side.produce(f"epoch {epoch} sequence {sequence}", "records.t", batch(b"v", time_ms=now, producer_id=producer, epoch=epoch, sequence=sequence), partition=1)
    for version in (1, 4, 7, 10):
        for timestamp in (-1, -2, -3, -4, -5, -6, -7, 0, now, now + 10**6):
            asked = [{"partition_index": 0, "timestamp": timestamp}]
            what = f"now + {timestamp - now}" if timestamp > 0 else str(timestamp)
            answer = side.client.call("ListOffsets", version, replica_id=-1, topics=[{"name": "records.t", "partitions": asked}])
            side.answers.append((f"ListOffsets {version}, {what}", [(one["partition_index"], one["error_code"], one["offset"], one["timestamp"] > 0) for one in answer["topics"][0]["partitions"]]))
    for version in (4, 7, 12, 17):
        def fetch(what: str, offset: int, partition: int = 0, epoch: int = -1, **session):
            asked = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20, **({"current_leader_epoch": epoch} if version >= 9 else {})}
            name = {"topic_id": topic_id} if version >= 13 else {"topic": "records.t"}
            answer = side.client.call("Fetch", version, max_wait_ms=0, min_bytes=0, max_bytes=1 << 20, topics=[{**name, "partitions": [asked]}] if partition >= 0 else [],
                                      **(session if version >= 7 else {}), **({"replica_id": -1} if version < 15 else {}))
            seen = [(one["error_code"], bool(one["records"])) for topic in answer["responses"] for one in topic["partitions"]]
            side.answers.append((f"Fetch {version}, {what}", (answer.get("error_code"), seen)))
            return answer.get("session_id", 0)
        for what, offset in (("first", 0), ("past the end", 99), ("negative", -1)):
            fetch(what, offset)
        fetch("unknown partition", 0, 9)
        fetch("epoch to come", 0, epoch=5)
        fetch("epoch -2", 0, epoch=-2)
        session = fetch("session", 0, session_epoch=0)
        for what, epoch in (("next", 1), ("not next", 5), ("end", -1), ("after its end", 2)):
            fetch(f"session, {what}", 0, -1 if epoch > 0 else 0, session_id=session, session_epoch=epoch)
    for what, offset in (("negative", -2), ("past the end", 99), ("one", 1), ("all", -1)):
        side.ask(what, "DeleteRecords", 2, topics=[{"name": "records.t", "partitions": [{"partition_index": 0, "offset": offset}]}], timeout_ms=5000)


def groups(side: Side):
    side.topic("groups.t", 2)
    side.coordinators("g", "groups.x")
    for version in (0, 4, 9):
        group = f"g{version}"
        protocols = [{"name": "range", "metadata": b"m"}]
        def join(what: str, **more):
            asked = {"group_id": group, "session_timeout_ms": 10_000, "member_id": "", "protocol_type": "consumer", "protocols": protocols, **({"rebalance_timeout_ms": 5000} if version else {}), **more}
            return side.ask(what, "JoinGroup", version, **asked)
        def sync(what: str, member: str, generation: int, sync_version: int = 5, **more):
            protocol = {"protocol_type": "consumer", "protocol_name": "range"} if sync_version >= 5 else {}
            side.ask(what, "SyncGroup", sync_version, group_id=group, member_id=member, generation_id=generation, assignments=[{"member_id": member, "assignment": b"a"}], **{**protocol, **more})
        def commit(what: str, generation: int = -1, member: str = "", metadata: str = "m", partition: int = 0, topic: str = "groups.t"):
            partitions = [{"partition_index": partition, "committed_offset": 5, "committed_metadata": metadata}]
            side.ask(what, "OffsetCommit", 8, group_id=group, generation_id_or_member_epoch=generation, member_id=member, topics=[{"name": topic, "partitions": partitions}])
        beat = lambda what, generation, member: side.ask(what, "Heartbeat", 4, group_id=group, generation_id=generation, member_id=member)
        describe = lambda what: side.ask(what, "DescribeGroups", 6, groups=[group])
        commit("nobody's group")
        commit("metadata too long", metadata="x" * 4097)
        commit("unknown partition", partition=9)
        commit("with a generation", generation=3, member="x")
        join("session too short", session_timeout_ms=5)
        join("no protocols", protocols=[])
        join("unknown member", member_id="nobody")
        joined = join("new")
        member = joined["member_id"]
        if version >= 4:
            describe("with one to come")
            joined = join("with its id", member_id=member)
        generation = joined["generation_id"]
        describe("completing")
        beat("completing", generation, member)
        commit("completing", generation, member)
        for what, name, number in (("wrong generation", member, generation + 1), ("unknown member", "nobody", generation)):
            sync(what, name, number)
            beat(what, number, name)
            commit(what, number, name)
        sync("no protocol", member, generation, protocol_name=None)
        sync("good", member, generation)
        sync("again", member, generation, 3)
        describe("stable")
        commit("a member's", generation, member)
        commit("a simple consumer's", -1, "")
        join("another protocol", protocols=[{"name": "other", "metadata": b""}])
        side.ask("not empty", "DeleteGroups", 2, groups_names=[group, group, "nope"])
        for number, leaving in ((5, [{"member_id": "nobody"}, {"member_id": member}]), (5, [{"member_id": member}])):
            side.ask("some", "LeaveGroup", number, group_id=group, members=leaving)
        side.ask("no group", "LeaveGroup", 5, group_id="nope", members=[{"member_id": "m"}])
        describe("empty")
        for number in (1, 5, 7):
            side.ask("fetch", "OffsetFetch", number, group_id=group, topics=[{"name": "groups.t", "partition_indexes": [0, 1, 9]}])
        side.ask("all", "OffsetFetch", 8, groups=[{"group_id": group, "topics": None}, {"group_id": "nope", "topics": None}])
        side.ask("delete offsets", "OffsetDelete", 0, group_id=group, topics=[{"name": "groups.t", "partitions": [{"partition_index": 0}, {"partition_index": 9}]}])
        side.ask("empty", "DeleteGroups", 2, groups_names=[group])
        describe("deleted")


def transactions(side: Side):
    side.topic("transactions.t", 2)
    side.coordinators("transactions.g", "x")
    now = int(time.time() * 1000)
    for what, timeout, name in (("no timeout", 0, "y"), ("timeout too long", 900_001, "y"), ("empty id", 1000, "")):
        side.ask(what, "InitProducerId", 4, transactional_id=name, transaction_timeout_ms=timeout)
    started = side.ask("first", "InitProducerId", 4, transactional_id="x", transaction_timeout_ms=60_000)
    me = {"producer_id": started["producer_id"], "producer_epoch": started["producer_epoch"]}
    def add(what: str, transactional_id: str = "x", topic: str = "transactions.t", partitions=(0,), **more):
        given = {f"v3_and_below_{name}": value for name, value in {**me, **more, "transactional_id": transactional_id}.items()}
        side.ask(what, "AddPartitionsToTxn", 3, **given, v3_and_below_topics=[{"name": topic, "partitions": list(partitions)}])
    def end(what: str, version: int = 4, committed: bool = True, **more):
        answer = side.ask(what, "EndTxn", version, **{"transactional_id": "x", "committed": committed, **me, **more})
        is_over = lambda told: not told["transaction_states"][0]["transaction_state"].startswith("Prepare")
        side.until(is_over, "DescribeTransactions", 0, transactional_ids=["x"])
        return answer
    def write(what: str, sequence: int, version: int = 9, partition: int = 0, epoch: int = 0, transactional_id: str = "x"):
        data = batch(b"v", time_ms=now, producer_id=me["producer_id"], epoch=me["producer_epoch"] + epoch, sequence=sequence, attributes=0x10)
        side.produce(what, "transactions.t", data, version, partition, transactional_id=transactional_id)
    state = lambda what: side.ask(what, "DescribeTransactions", 0, transactional_ids=["x", "nope"])
    end("nothing begun")
    state("empty")
    add("unknown id", "nope")
    add("fenced", producer_epoch=me["producer_epoch"] + 1)
    add("unknown partition", partitions=[0, 9])
    add("internal", topic="__transaction_state")
    write("not added", 0)
    add("good")
    write("first", 0)
    state("ongoing")
    end("wrong epoch", producer_epoch=me["producer_epoch"] + 1)
    end("wrong id", transactional_id="nope")
    for what in ("commit", "commit again"):
        end(what)
    end("abort after commit", committed=False)
    state("complete")
    started = side.ask("again", "InitProducerId", 5, transactional_id="x", transaction_timeout_ms=60_000)
    me.update(producer_epoch=started["producer_epoch"])
    write("behind one that is missing", 3, 12)
    write("adds itself", 0, 12)
    write("second", 1, 12)
    write("behind one that is missing, elsewhere", 3, 12, partition=1)
    me.update(producer_epoch=end("version 2", 5)["producer_epoch"])
    write("of the epoch before", 2, 12, epoch=-1)
    write("next transaction", 0, 12)
    end("abort", 5, committed=False)
    for isolation in (0, 1):
        side.ask(f"isolation {isolation}", "ListOffsets", 7, replica_id=-1, isolation_level=isolation, topics=[{"name": "transactions.t", "partitions": [{"partition_index": 0, "timestamp": -1}]}])


def cluster(side: Side):
    side.topic("cluster.a", 3)
    side.topic("cluster.b", 2)
    names = [{"name": name} for name in ("cluster.a", "cluster.b", "nope", "a b")]
    for what, limit, cursor in (("all", 2000, None), ("pages", 2, None), ("limit 0", 0, None), ("from the middle", 2000, {"topic_name": "cluster.b", "partition_index": 1}),
                                ("from nowhere", 2000, {"topic_name": "cluster.b", "partition_index": -1}), ("from a stranger", 2000, {"topic_name": "x", "partition_index": 0})):
        side.ask(what, "DescribeTopicPartitions", 0, topics=names[:2], response_partition_limit=limit, cursor=cursor)
    for version in (0, 1, 2):
        side.ask("one", "ElectLeaders", version, topic_partitions=[{"topic": "cluster.a", "partitions": [0, 9]}], timeout_ms=5000)
    for what, replicas in (("same", [1]), ("another", [7]), ("none", []), ("twice", [1, 1]), ("cancel", None)):
        side.ask(what, "AlterPartitionReassignments", 0, timeout_ms=5000, topics=[{"name": "cluster.a", "partitions": [{"partition_index": 0, "replicas": replicas}]}])
    for version in (2, 3, 4):
        for epoch in (0, 5, -1):
            asked = [{"partition": 0, "current_leader_epoch": -1, "leader_epoch": epoch}, {"partition": 1, "current_leader_epoch": 3, "leader_epoch": epoch}]
            side.ask(f"epoch {epoch}", "OffsetForLeaderEpoch", version, topics=[{"topic": "cluster.a", "partitions": asked}])
    def quota(what: str, kind: str, name: str | None, key: str, value: float):
        side.ask(what, "AlterClientQuotas", 1, entries=[{"entity": [{"entity_type": kind, "entity_name": name}], "ops": [{"key": key, "value": value, "remove": False}]}], validate_only=True)
    for what, kind, name, key, value in (("good", "client-id", "c", "producer_byte_rate", 1e9), ("no name", "client-id", "", "producer_byte_rate", 1e9), ("bad key", "client-id", "c", "bogus", 1),
                                         ("zero", "client-id", "c", "producer_byte_rate", 0), ("fraction", "client-id", "c", "producer_byte_rate", 1.5), ("bad kind", "bogus", "c", "producer_byte_rate", 1)):
        quota(what, kind, name, key, value)
    for what, match_type, match in (("exactly nobody", 0, None), ("default with a name", 1, "x"), ("unknown match", 7, None), ("unknown name", 0, "nobody")):
        side.ask(what, "DescribeClientQuotas", 1, components=[{"entity_type": "client-id", "match_type": match_type, "match": match}])


def features(side: Side):
    update = lambda name, level, **more: {"feature": name, "max_version_level": level, **more}
    good, bad = update("transaction.version", 2), update("bogus", 1)
    for version in (0, 1, 2):
        down = {"allow_downgrade": True} if version == 0 else {"upgrade_type": 2}
        cases = {"none": [], "unknown": [bad], "no name": [update("", 1)], "same": [good], "higher": [update("transaction.version", 3)], "negative": [update("transaction.version", -1)],
                 "lower without leave": [update("transaction.version", 1)], "good, then bad": [good, bad], "bad, then good": [bad, good], "twice": [good, good], "unknown, to be deleted": [update("bogus", 0, **down)],
                 "same, as a downgrade": [{**good, **down}], **{f"upgrade type {kind}": [{**good, "upgrade_type": kind}] for kind in ((0, 1, 2, 3, 4) if version else ())}}
        for what, updates in cases.items():
            side.ask(what, "UpdateFeatures", version, timeout_ms=5000, feature_updates=updates, **({"validate_only": True} if version else {}))


PROBES = [api_versions, topics, configs, records, groups, transactions, cluster, features, *transaction_probes.PROBES, *record_probes.PROBES, *request_probes.PROBES]


def compare(probe, theirs: Side, ours: Side) -> tuple[int, int]:
    """How many answers there were, and how many of them differ."""
    threads = []
    failures: list[str] = []
    for side, name in ((theirs, "Kafka"), (ours, "Millrace")):
        def run(side=side, name=name):
            try:
                probe(side)
            except Exception as error:  # a broker may answer anything
                failures.append(f"{probe.__name__}: {name}: {error!r} after {side.answers[-1:]}")
        threads.append(threading.Thread(target=run))
        threads[-1].start()
    for thread in threads:
        thread.join()
    different = len(failures)
    print("".join(f"{failure}\n" for failure in failures), end="")
    for (what, expected), (_, answer) in zip(theirs.answers, ours.answers):
        if expected != answer:
            different += 1
            print(f"{what}\n  Kafka:    {expected}\n  Millrace: {answer}")
    return len(theirs.answers), different


def main() -> int:
    binary, cache, *wanted = sys.argv[1:]
    probes = [probe for probe in PROBES if not wanted or probe.__name__ in wanted]
    with tempfile.TemporaryDirectory(prefix="millrace-peers-") as folder, contextlib.ExitStack() as stack:
        try:
            theirs = stack.enter_context(kafka.Kafka(pathlib.Path(cache), {name: str(value) for name, value in {**SETTINGS, **THEIRS_ONLY}.items()}, heap="512m"))
        except kafka.Unavailable as reason:
            print(f"SKIPPED: {reason}")
            return 77
        config = pathlib.Path(folder) / "config.yaml"
        config.write_text(json.dumps({"broker": {**SETTINGS, **OURS_ONLY}}))
        server = clients.Server(pathlib.Path(binary), pathlib.Path(folder))
        server.command += ["--config", str(config)]
        server.start()
        stack.callback(server.kill)
        port = int(server.address.rsplit(":", 1)[1])
        counts = [compare(probe, Side(theirs.port), Side(port)) for probe in probes]
    asked, different = (sum(column) for column in zip(*counts))
    print(f"{asked} answers compared, {different} are different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
