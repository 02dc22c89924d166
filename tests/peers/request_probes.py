"""Probes of same_answers.py: numbers, names and members that are not there, request by request."""

import time
import uuid

from record_batches import record_batch


def now_ms() -> int:
    return int(time.time() * 1000)


def a_record() -> bytes:
    return record_batch(b"v", key=b"k", time_ms=now_ms())


def producer_ids(side):
    side.coordinators("ids.g", "ids.x")
    for version in (2, 3, 4, 5):
        name = f"ids-{version}"
        def ask(what: str, transactional_id: str | None, timeout_ms: int = 60_000, **named):
            return side.ask(what, "InitProducerId", version, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms, **named)
        for what, transactional_id, timeout_ms in (("negative timeout", name, -1), ("idempotent, timeout 0", None, 0), ("idempotent, long timeout", None, 10**9), ("no name", "", 0), ("first", name, 60_000)):
            ask(what, transactional_id, timeout_ms)
        mine = ask("again", name)
        if version < 3:
            continue
        mine = {"producer_id": mine["producer_id"], "producer_epoch": mine["producer_epoch"]}
        for what, change in (("mine", {}), ("mine again", {}), ("the raised one", {"producer_epoch": mine["producer_epoch"] + 1}), ("too old", {}), ("too new", {"producer_epoch": 9}), ("another producer", {"producer_id": mine["producer_id"] + 999}),
                             ("id alone", {"producer_epoch": -1}), ("epoch alone", {"producer_id": -1}), ("id -2", {"producer_id": -2}), ("epoch -2", {"producer_epoch": -2})):
            ask(what, name, **{**mine, **change})
            ask(f"idempotent, {what}", None, **{**mine, **change})
        ask("another name", f"{name}-other", **mine)


def list_offsets(side):
    side.topic("offsets.t")
    for age_ms in (3000, 1000, 2000):
        side.produce("a record", "offsets.t", record_batch(b"v", key=b"k", time_ms=now_ms() - age_ms))
    def ask(what: str, version: int, partition: int, timestamp: int, epoch: int = -1, isolation: int = 0, name: str = "offsets.t", replica: int = -1):
        asked = {"partition_index": partition, "timestamp": timestamp, **({"current_leader_epoch": epoch} if version >= 4 else {})}
        answer = side.client.call("ListOffsets", version, replica_id=replica, topics=[{"name": name, "partitions": [asked]}], **({"isolation_level": isolation} if version >= 2 else {}))
        told = [{**one, "timestamp": one["timestamp"] > 0} for one in answer["topics"][0]["partitions"]]
        side.answers.append((f"ListOffsets {version}, timestamp {timestamp}, partition {partition}, epoch {epoch}, isolation {isolation}, {what}", told))
    for version in range(1, 11):
        for timestamp in (-1, -2, -3, -4, -5, -6, -100):
            for partition, epoch in ((0, -1), (0, 0), (0, 5), (9, -1), (-1, -1)):
                ask("good or not", version, partition, timestamp, epoch, isolation=version % 2)
        ask("unknown topic", version, 0, -1, name="nope")
        ask("no name", version, 0, -1, name="")
        for replica in (-2, 0, 7):
            ask(f"replica {replica}", version, 0, -1, replica=replica)
        side.ask("none", "ListOffsets", version, replica_id=-1, topics=[])


def delete_records(side):
    side.topic("deletions.t", 2)
    for policy in ("compact", "compact,delete"):
        side.topic(f"deletions.{len(policy)}", cleanup_policy=policy)
        side.produce(policy, f"deletions.{len(policy)}", a_record())
    for _ in range(4):
        side.produce("a record", "deletions.t", a_record())
    for version in (0, 1, 2):
        def ask(what: str, *named: tuple[str, int, int]):
            topics = [{"name": name, "partitions": [{"partition_index": index, "offset": offset}]} for name, index, offset in named]
            side.ask(what, "DeleteRecords", version, topics=topics, timeout_ms=5000)
        for offset in (0, 1, 0, 4, 5, -1, -2, 2):
            ask(f"to {offset}", ("deletions.t", 0, offset))
        for what, *named in (("empty one", "deletions.t", 1, 0), ("all of an empty one", "deletions.t", 1, -1), ("compacted", "deletions.7", 0, 1), ("both", "deletions.14", 0, 1), ("internal", "__consumer_offsets", 0, 0), ("all of an internal", "__transaction_state", 0, -1)):
            ask(what, tuple(named))
        ask("unknown", ("deletions.t", 9, 0), ("nope", 0, 0))
        ask("none")


def offsets(side):
    ids = {"commits.t": side.topic("commits.t", 2), "nope": uuid.UUID(int=9)}
    side.coordinators("commits", "commits.x")
    named = lambda version, name: {"topic_id": ids[name]} if version >= 10 else {"name": name}
    for version in range(2, 11):
        def commit(what: str, partition: int = 0, offset: int = 5, metadata: str | None = "m", topic: str = "commits.t", **more):
            part = {"partition_index": partition, "committed_offset": offset, "committed_metadata": metadata}
            side.ask(what, "OffsetCommit", version, **{"group_id": f"commits{version}", "generation_id_or_member_epoch": -1, "topics": [{**named(version, topic), "partitions": [part]}], **more})
        commit("good")
        commit("unknown topic", topic="nope")
        for what, more in (("unknown partition", {"partition": 9}), ("negative partition", {"partition": -1}), ("offset -1", {"offset": -1}), ("offset -2", {"offset": -2}), ("no metadata", {"metadata": None}), ("long metadata", {"metadata": "x" * 5000}),
                           ("generation alone", {"generation_id_or_member_epoch": 1}), ("member alone", {"member_id": "m"}), ("generation 0", {"generation_id_or_member_epoch": 0, "member_id": "m"})):
            commit(what, **more)
        if version >= 7:
            commit("instance", group_instance_id="i")
            commit("instance, member and generation", group_instance_id="i", member_id="m", generation_id_or_member_epoch=1)
    for version in range(1, 11):
        def fetch(what: str, group: str = "commits2", topics: list | None = None, **more):
            one = {"group_id": group, "topics": topics, **more}
            side.ask(what, "OffsetFetch", version, **({"groups": [one]} if version >= 8 else one))
        of = lambda name: [{**named(version, name), "partition_indexes": [0, 1, 9]}]
        for what, group, topics in (("some", "commits2", of("commits.t")), ("unknown topic", "commits2", of("nope")), ("unknown group", "nope", of("commits.t")), ("none", "commits2", [])):
            fetch(what, group, topics)
        if version >= 2:
            fetch("all")
            fetch("all of an unknown group", "nope")
        if version >= 8:
            side.ask("two groups", "OffsetFetch", version, groups=[{"group_id": "commits2", "topics": None}, {"group_id": "commits3", "topics": []}])
            side.ask("no groups", "OffsetFetch", version, groups=[])
        for what, more in (("member and epoch", {"member_id": "m", "member_epoch": 1}), ("epoch alone", {"member_epoch": 1}), ("member alone", {"member_id": "m"})) if version >= 9 else ():
            fetch(what, "commits2", of("commits.t"), **more)


def more_partitions(side):
    side.topic("grown.t", 2)
    for version in (0, 1, 2, 3):
        of = lambda count, assignments=None, name="grown.t": {"name": name, "count": count, "assignments": None if assignments is None else [{"broker_ids": ids} for ids in assignments]}
        cases = {"more": [of(4)], "zero": [of(0)], "negative": [of(-1)], "assigned": [of(3, [[1]])], "no assignments": [of(3, [])], "no replicas": [of(3, [[]])], "unknown broker": [of(3, [[7]])], "a broker twice": [of(3, [[1, 1]])],
                 "too few assignments": [of(4, [[1]])], "two replicas": [of(3, [[1, 2]])], "negative broker": [of(3, [[-1]])], "no name": [of(3, name="")], "bad name": [of(3, name="a b")], "a topic twice": [of(3), of(4)], "none": []}
        for what, topics in cases.items():
            side.ask(what, "CreatePartitions", version, topics=topics, timeout_ms=5000, validate_only=True)


def members(side):
    """Members, generations, protocols and instances that a group does not have."""
    side.topic("members.t", 2)
    side.coordinators("members", "members.x")
    for version in (2, 3, 5, 9):
        group = f"members{version}"
        def join(what: str, member: str = "", protocol: str = "range", **more):
            asked = {"group_id": group, "session_timeout_ms": 10_000, "rebalance_timeout_ms": 5000, "member_id": member, "protocol_type": "consumer", "protocols": [{"name": protocol, "metadata": b"m"}]}
            return side.ask(what, "JoinGroup", version, **{**asked, **more})
        beat = lambda what, generation, member, number=4, **more: side.ask(what, "Heartbeat", number, **{"group_id": group, "generation_id": generation, "member_id": member, **more})
        sync = lambda what, number, generation, member, assignments=(), **more: side.ask(what, "SyncGroup", number, **{"group_id": group, "generation_id": generation, "member_id": member, "assignments": list(assignments), **more})
        leave = lambda what, number, **more: side.ask(what, "LeaveGroup", number, **{"group_id": group, **more})
        for number in (0, 3, 5):
            sync("unknown group", number, 1, "m")
            sync("no member", number, 1, "")
            sync("no group", number, 1, "m", group_id="")
        for number in (0, 4):
            beat("unknown group", 1, "m", number)
            beat("no member", 1, "", number)
            beat("no group", 1, "m", number, group_id="")
        for what, more in (("no group", {"group_id": ""}), ("no type", {"protocol_type": ""}), ("long session", {"session_timeout_ms": 10**8}), ("negative session", {"session_timeout_ms": -1}), ("a stranger", {"member": "who"})):
            join(what, **more)
        if version >= 5:
            join("an unknown instance's stranger", "who", group_instance_id="i")
        joined = join("first")
        member = joined["member_id"]
        if version >= 4:
            joined = join("with its id", member)
        generation = joined["generation_id"]
        for what, number, name in (("joined", generation, member), ("next generation", generation + 1, member), ("no generation", -1, member), ("no member", generation, "")):
            beat(what, number, name)
        beat("unknown instance", generation, member, group_instance_id="i")
        join("another type", protocol_type="connect")
        join("another type, a member", member, protocol_type="connect")
        join("another protocol", protocol="x")
        for number in (0, 3, 5):
            sync("a generation to come", number, generation + 5, member)
        sync("another protocol", 5, generation, member, protocol_type="consumer", protocol_name="x")
        sync("another type", 5, generation, member, protocol_type="connect", protocol_name="range")
        sync("to strangers, and twice to one", 3, generation, member, [{"member_id": name, "assignment": data} for name, data in (("stranger", b"a"), (member, b"b"), (member, b"cc"))])
        for number in (generation, generation + 1):
            beat(f"stable, {number - generation} ahead", number, member)
        for number in (0, 2):
            for what, more in (("a stranger", {"member_id": "who"}), ("nobody", {"member_id": ""}), ("no group", {"group_id": "", "member_id": member})):
                leave(what, number, **more)
        for number in (3, 5):
            leave("nobody", number, members=[])
            leave("unknown instances", number, members=[{"member_id": "", "group_instance_id": "i"}, {"member_id": member, "group_instance_id": "i"}])
            leave("no group", number, group_id="", members=[{"member_id": member}])
        leave("twice the same", 3, members=[{"member_id": member}, {"member_id": member}])
        beat("gone", generation, member)
        for number in (0, 5, 6):
            side.ask("left", "DescribeGroups", number, groups=[group, "nope", ""])
        side.ask("no commits", "OffsetDelete", 0, group_id=group, topics=[{"name": "members.t", "partitions": [{"partition_index": 0}]}])
        side.ask("left", "DeleteGroups", 2, groups_names=[group])
        for number, filters in ((4, {"states_filter": ["bogus"]}), (5, {"types_filter": ["bogus"]})):
            side.ask(f"{filters}", "ListGroups", number, **filters)


def whereabouts(side):
    """Coordinators, brokers, log directories, reassignments and configurations: where things are, and where they are not."""
    side.topic("places.t", 2)
    side.coordinators("places.g", "places.x")
    for version in range(7):
        for kind in (0, 1, 2, 7, -1) if version else (0,):
            for key in ("places.g", "a:b:c", "x" * 300):
                asked = {"coordinator_keys": [key]} if version >= 4 else {"key": key}
                side.ask(f"{kind} {key[:9]}", "FindCoordinator", version, **asked, **({"key_type": kind} if version else {}))
            if version >= 4:
                side.ask(f"{kind} none", "FindCoordinator", version, key_type=kind, coordinator_keys=[])
    for version in (0, 1, 2):
        for endpoint in (0, 1, 2, 9) if version else (1,):
            side.ask(f"endpoint {endpoint}", "DescribeCluster", version, include_cluster_authorized_operations=endpoint == 1, **({"endpoint_type": endpoint} if version else {}))
    unknown = [("places.t", [0, 9]), ("nope", [0])]
    for version in (1, 2, 3, 4):
        for what, named in (("one", unknown[:1]), ("unknown", unknown), ("all", None), ("none", [])):
            answer = side.client.call("DescribeLogDirs", version, topics=named and [{"topic": topic, "partitions": parts} for topic, parts in named])
            told = [(topic["name"], sorted((part["partition_index"], part["offset_lag"], part["is_future_key"]) for part in topic["partitions"])) for place in answer["results"] for topic in place["topics"] if topic["name"] == "places.t"]
            side.answers.append((f"DescribeLogDirs {version}, {what}", (answer.get("error_code"), [place["error_code"] for place in answer["results"]], told)))
    for version in (1, 2):
        for path in ("/nowhere", "", "relative"):
            side.ask(path, "AlterReplicaLogDirs", version, dirs=[{"path": path, "topics": [{"name": topic, "partitions": parts} for topic, parts in unknown]}])
    for what, named in (("all", None), ("none", []), ("some", unknown)):
        side.ask(what, "ListPartitionReassignments", 0, timeout_ms=1000, topics=named and [{"name": topic, "partition_indexes": parts} for topic, parts in named])
    for kinds in ([2], [4], [16], [32], [99], [2, 4], [2, 99]):
        answer = side.client.call("ListConfigResources", 1, resource_types=kinds)
        side.answers.append((f"ListConfigResources 1, {kinds}", (answer["error_code"], sorted({one["resource_type"] for one in answer["config_resources"]}))))


def config_lists(side):
    """Words appended to settings that are lists, and subtracted from them."""
    side.topic("lists.t")
    def alter(name: str, operation: int, value: str | None):
        change = {"resource_type": 2, "resource_name": "lists.t", "configs": [{"name": name, "config_operation": operation, "value": value}]}
        side.ask(f"{('set', 'delete', 'append', 'subtract')[operation]} {value!r}", "IncrementalAlterConfigs", 1, resources=[change])
    for operation, value in ((2, "compact"), (2, "compact"), (3, "delete"), (3, "delete"), (3, "compact"), (2, "delete,compact"), (2, "bogus"), (3, ""), (2, None), (3, None), (2, ",,"), (2, " delete , compact "), (3, "delete,compact"), (3, "bogus"), (0, ""), (0, "delete,delete")):
        alter("cleanup.policy", operation, value)
    for operation, value in ((2, "0:1"), (2, "0:1"), (2, "x"), (2, ""), (2, "*"), (3, "0:1"), (0, "")):
        alter("leader.replication.throttled.replicas", operation, value)


PROBES = [producer_ids, list_offsets, delete_records, offsets, more_partitions, members, whereabouts, config_lists]
