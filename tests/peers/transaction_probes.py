"""Probes of same_answers.py: how transactions begin, end and are told of."""

import itertools
import time

from record_batches import record_batch

CONCURRENT_TRANSACTIONS = 51


class Producer:
    """A transactional producer of its own. Epochs are given relative to the one that it has."""

    def __init__(self, side, transactional_id: str, timeout_ms: int = 60_000):
        self.side, self.transactional_id = side, transactional_id
        for _ in range(2):  # so that there is an epoch before
            begun = side.until(lambda answer: answer["error_code"] != CONCURRENT_TRANSACTIONS, "InitProducerId", 4, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
        self.producer_id, self.epoch = begun["producer_id"], begun["producer_epoch"]

    def named(self, epoch: int = 0) -> dict:
        return {"transactional_id": self.transactional_id, "producer_id": self.producer_id, "producer_epoch": self.epoch + epoch}

    def add(self, topic: str, *partitions: int) -> None:
        given = {f"v3_and_below_{name}": value for name, value in self.named().items()}
        self.side.client.call("AddPartitionsToTxn", 3, **given, v3_and_below_topics=[{"name": topic, "partitions": list(partitions)}])

    def end(self, what: str, version: int, committed: bool, epoch: int = 0, **more):
        answer = self.side.ask(what, "EndTxn", version, **{**self.named(epoch), "committed": committed, **more})
        self.until(lambda state: not state.startswith("Prepare"))
        return answer

    def until(self, is_so) -> None:
        self.side.until(lambda told: is_so(told["transaction_states"][0]["transaction_state"]), "DescribeTransactions", 0, transactional_ids=[self.transactional_id])

    def state(self, what: str) -> None:
        self.side.ask(what, "DescribeTransactions", 0, transactional_ids=[self.transactional_id])

    def write(self, what: str, version: int, topic: str, sequence: int, partition: int = 0, epoch: int = 0, attributes: int = 0x10, **more):
        data = record_batch(b"v", key=b"k", time_ms=int(time.time() * 1000), producer_id=self.producer_id, epoch=self.epoch + epoch, sequence=sequence, attributes=attributes)
        return self.side.produce(what, topic, data, version, partition, **{"transactional_id": self.transactional_id, **more})


def outcome(committed: bool) -> str:
    return "commit" if committed else "abort"


def ends(side):
    """An end, and another request to end it: the same again, the opposite, of another version, of another epoch."""
    side.topic("ends.t")
    side.coordinators("ends.g", "ends.x")
    for first, begun, committed, second, again, epoch in itertools.product((4, 5), (True, False), (True, False), (4, 5), (True, False), (-1, 0, 1, 2)):
        if (first, begun, second, epoch) == (4, True, 5, -1):
            continue  # docs/manual/kafka-differences.md: fenced producers stay so
        producer = Producer(side, f"ends-{first}-{begun}-{committed}-{second}-{again}-{epoch}")
        if begun:
            producer.add("ends.t", 0)
        case = f"{outcome(committed)} of {'one' if begun else 'none'}"
        producer.end(case, first, committed)
        producer.end(f"{case} of version {first}, then {outcome(again)}, epoch {epoch:+}", second, again, epoch)
        producer.state(f"{case} of version {first}, then {outcome(again)} of version {second}, epoch {epoch:+}")
    for first, second in itertools.product((4, 5), (4, 5)):
        producer = Producer(side, f"ends-with-one-open-{first}-{second}")
        producer.add("ends.t", 0)
        producer.epoch += first == 5 and producer.end("the first", first, True)["error_code"] == 0
        producer.add("ends.t", 0)
        for committed, epoch in itertools.product((True, False), (-1, 1)):
            producer.end(f"with one open, {outcome(committed)}, epoch {epoch:+}", second, committed, epoch)
        producer.end("another's", second, True, producer_id=producer.producer_id + 1000)
        producer.end("the second", second, False)
    for version, committed in itertools.product((4, 5), (True, False)):
        producer = Producer(side, f"ends-timed-out-{version}-{committed}", timeout_ms=1)
        producer.add("ends.t", 0)
        producer.until(lambda state: state == "CompleteAbort")
        for epoch in (0, 1, -1):
            producer.end(f"timed out, {outcome(committed)}, epoch {epoch:+}", version, committed, epoch)


def epochs(side):
    """Batches of other epochs, of other producers, and out of order: while a transaction is open, when it has ended, and before there is one."""
    side.topic("epochs.t", 3)
    side.coordinators("epochs.g", "epochs.x")
    Producer(side, "epochs-other")
    cases = {"next epoch": (0, {"epoch": 1}), "next epoch, sequence 1": (1, {"epoch": 1}), "next epoch, elsewhere": (0, {"epoch": 1, "partition": 1}), "epoch before": (0, {"epoch": -1}),
             "epoch before, sequence 1": (1, {"epoch": -1}), "epoch before, elsewhere": (0, {"epoch": -1, "partition": 1}), "another id": (1, {"transactional_id": "epochs-other"}),
             "unknown id": (1, {"transactional_id": "nope"}), "unknown id, elsewhere": (0, {"transactional_id": "nope", "partition": 2}), "no id": (1, {"transactional_id": None}),
             "no id, elsewhere": (0, {"transactional_id": None, "partition": 2}), "not transactional": (1, {"attributes": 0}), "not transactional, next epoch": (0, {"attributes": 0, "epoch": 1}),
             "not transactional, elsewhere": (0, {"attributes": 0, "partition": 2}), "gap": (3, {}), "duplicate": (0, {})}
    for version, when in itertools.product((9, 11, 12), ("open", "ended", "never")):
        for what, (sequence, more) in cases.items():
            if (what, when) in (("gap", "ended"), ("gap", "never"), ("duplicate", "ended")):
                continue  # docs/manual/kafka-differences.md: what does not fit adds nothing, what is there already is told
            producer = Producer(side, f"epochs-{version}-{when}-{what}")
            if when != "never":
                if version < 12:
                    producer.add("epochs.t", 0, 1)
                producer.write("first", version, "epochs.t", 0)
            if when == "ended":
                producer.end("the end", 5 if version == 12 else 4, True)
            answer = producer.write(f"{what}, {when}", version, "epochs.t", sequence, **more)
            if version < 12 or "sequence 1" not in what:
                producer.state(f"after {what}, {when}")
            if when == "open":
                producer.end("the end", 4, True)
            if answer["responses"][0]["partition_responses"][0]["error_code"] == 0 and when == "open":
                describe_producers(side, producer, f"version {version}, {what}, {when}")


def describe_producers(side, producer: Producer, what: str) -> None:
    """Of one producer: a partition has those of other cases, too."""
    asked = [{"name": "epochs.t", "partition_indexes": [0, 1, 2]}]
    told = side.client.call("DescribeProducers", 0, topics=asked)["topics"][0]["partitions"]
    side.answers += [(f"DescribeProducers 0, {what}, partition {part['partition_index']}", {**one, "last_timestamp": 0, "producer_id": 0, "current_txn_start_offset": 0})
                     for part in sorted(told, key=lambda part: part["partition_index"]) for one in part["active_producers"] if one["producer_id"] == producer.producer_id]


def producers(side):
    """What partitions tell of their producers, before and after markers, those of administrators among them."""
    side.topic("producers.t", 2)
    side.coordinators("producers.g", "producers.x")
    describe = lambda what: side.ask(what, "DescribeProducers", 0, topics=[{"name": "producers.t", "partition_indexes": [0, 1, 9]}, {"name": "nope", "partition_indexes": [0]}])
    describe("none")
    mine = side.client.call("InitProducerId", 4, transactional_id=None, transaction_timeout_ms=1000)["producer_id"]
    side.produce("idempotent", "producers.t", record_batch(b"v", key=b"k", time_ms=int(time.time() * 1000), producer_id=mine, epoch=0, sequence=0), partition=1)
    producer = Producer(side, "producers-1")
    producer.write("transactional", 12, "producers.t", 0)
    describe("open")
    producer.end("commit", 5, True)
    describe("ended")
    producer = Producer(side, "producers-2")
    producer.write("hangs", 12, "producers.t", 0)
    for what, epoch, coordinator, committed in (("good", 0, 3, False), ("again", 0, 3, True), ("an older coordinator's", 0, 1, False), ("a newer coordinator's", 0, 5, False), ("of no coordinator", 0, -1, False),
                                                ("next epoch", 1, 5, False), ("older epoch", 0, 7, False)):
        marker = {"producer_id": producer.producer_id, "producer_epoch": producer.epoch + epoch, "transaction_result": committed, "coordinator_epoch": coordinator, "topics": [{"name": "producers.t", "partition_indexes": [0]}]}
        side.ask(what, "WriteTxnMarkers", 1, markers=[marker])
        describe(what)


def listing(side):
    """ListTransactions, with all its filters."""
    side.topic("listing.t")
    side.coordinators("listing.g", "listing.x")
    empty, ongoing, committed, aborted = all_of_them = [Producer(side, f"list-{name}") for name in ("empty", "open", "done", "aborted")]
    for one in (ongoing, committed, aborted):
        one.add("listing.t", 0)
    committed.end("done", 4, True)
    aborted.end("aborted", 5, False)
    for one in all_of_them:
        one.state("as it is")
    ids = [one.producer_id for one in all_of_them]
    are_old = lambda answer: len(answer["transaction_states"]) == len(ids)
    side.until(are_old, "ListTransactions", 1, duration_filter=1, producer_id_filters=ids)
    for version in (0, 1, 2):
        ask = lambda what, **more: side.ask(what, "ListTransactions", version, **{"producer_id_filters": ids, **more})
        ask("all")
        ask("unknown producer", producer_id_filters=[10**9])
        for states in (["Empty"], ["Ongoing", "CompleteCommit"], ["bogus"], ["Ongoing", "bogus"], ["ongoing"], ["Dead"], ["PrepareEpochFence"], ["PrepareCommit"], [""], ["Ongoing"] * 2, ["bogus"] * 2):
            ask(f"states {states}", state_filters=states)
        for duration in (-5, -1, 0, 1, 10**7, 2**63 - 1) if version >= 1 else ():
            ask(f"duration {duration}", duration_filter=duration)
            ask(f"empty ones, duration {duration}", duration_filter=duration, state_filters=["Empty"])
        for pattern in (None, "", "list-.*", "list-o", ".*open", "LIST-OPEN", "list-(open|done)", "(", "[a", "list-open|nope", "^list-open$", "list-\\w+", "(?i)LIST-OPEN", "list-op{1,2}en",
                        "\\Qlist-open\\E", "*", "(?<n>list)-open", "list-\\d*open", "list\\x2dopen") if version >= 2 else ():
            ask(f"pattern {pattern}", transactional_id_pattern=pattern)
    side.ask("none", "DescribeTransactions", 0, transactional_ids=[])
    side.ask("no name", "DescribeTransactions", 0, transactional_ids=[""])


def verification(side):
    """AddPartitionsToTxn as brokers send it: of several transactions, to add or only to ask."""
    side.topic("verify.t", 3)
    side.coordinators("verify.g", "verify.x")
    producer, other = Producer(side, "verify-x"), Producer(side, "verify-y")
    other.add("verify.t", 1)
    for version in (4, 5):
        def one(verify_only: bool, *partitions: int, topics=None, epoch: int = 0, **more):
            named = [{"name": name, "partitions": list(indexes)} for name, indexes in (topics if topics is not None else [("verify.t", partitions or (0,))])]
            return {**producer.named(epoch), "verify_only": verify_only, "topics": named, **more}
        ask = lambda what, *transactions: side.ask(what, "AddPartitionsToTxn", version, transactions=list(transactions))
        ask("asked before it began", one(True))
        ask("added", one(False))
        ask("added again", one(False))
        for only in (True, False):
            name = "asked" if only else "added"
            ask(f"{name}: unknown partition", one(only, 0, 9))
            ask(f"{name}: unknown topic", one(only, topics=[("verify.t", (0,)), ("nope", (0,))]))
            ask(f"{name}: nothing", one(only, topics=[]))
            ask(f"{name}: no partitions", one(only, topics=[("verify.t", ())]))
            ask(f"{name}: next epoch", one(only, epoch=1))
            ask(f"{name}: epoch before", one(only, epoch=-1))
            ask(f"{name}: another producer", one(only, producer_id=10**9))
            ask(f"{name}: unknown id", one(only, transactional_id="nope"))
            ask(f"{name}: no id", one(only, transactional_id=""))
        ask("asked: in", one(True))
        ask("asked: another", one(True, 1))
        ask("asked: one and another", one(True, 0, 1))
        ask("asked: internal", one(True, topics=[("__transaction_state", (0,))]))
        ask("two", one(True), one(True, 1, **other.named()))
        ask("two, one of them wrong", one(True), one(True, transactional_id="verify-y"))
        producer.end("the end", 4, True)
        ask("asked after its end", one(True))


def transactional_offsets(side):
    """Offsets in transactions: who may commit them, and what is told of them while they are open."""
    side.topic("txn-offsets.t", 2)
    side.coordinators("txn-offsets.g", "txn-offsets.x")
    for version in (2, 3, 4, 5):
        producer, group = Producer(side, f"txn-offsets-{version}"), f"txn-offsets.g{version}"
        def commit(what: str, epoch: int = 0, topic: str = "txn-offsets.t", partition: int = 0, offset: int = 5, metadata: str | None = "m", **more):
            part = {"partition_index": partition, "committed_offset": offset, "committed_metadata": metadata}
            side.ask(what, "TxnOffsetCommit", version, **{**producer.named(epoch), "group_id": group, "topics": [{"name": topic, "partitions": [part]}], **more})
        add = lambda what, epoch=0, **more: side.ask(what, "AddOffsetsToTxn", min(version, 4), **{**producer.named(epoch), "group_id": group, **more})
        if version < 5:
            commit("not added")
        strangers = {"another producer": {"producer_id": 10**9}, "unknown id": {"transactional_id": "nope"}, "no id": {"transactional_id": ""}, "next epoch": {"epoch": 1}, "epoch before": {"epoch": -1}}
        for what, more in strangers.items():
            add(what, **more)
            commit(f"{what}, before", **more)
        add("no group", group_id="")
        add("good")
        add("again")
        for what, more in (("good", {}), ("unknown topic", {"topic": "nope"}), ("unknown partition", {"partition": 9}), ("long metadata", {"metadata": "x" * 5000}), ("no metadata", {"metadata": None}), ("offset -1", {"offset": -1, "partition": 1}),
                           ("another group", {"group_id": f"{group}-other"}), ("no group", {"group_id": ""}), ("another producer", strangers["another producer"]), ("next epoch", {"epoch": 1}), ("epoch before", {"epoch": -1})):
            commit(what, **more)
        for what, more in (("generation and member", {"generation_id": 1, "member_id": "m"}), ("member", {"member_id": "m"}), ("generation", {"generation_id": 3}), ("instance", {"group_instance_id": "i"}),
                           ("instance, member and generation", {"group_instance_id": "i", "member_id": "m", "generation_id": 1})) if version >= 3 else ():
            commit(what, **more)
        producer.state("open")
        for stable in (False, True):
            side.ask(f"open, stable {stable}", "OffsetFetch", 8, groups=[{"group_id": group, "topics": [{"name": "txn-offsets.t", "partition_indexes": [0, 1]}]}], require_stable=stable)
        side.ask("open", "DeleteGroups", 2, groups_names=[group])
        side.ask("open", "OffsetDelete", 0, group_id=group, topics=[{"name": "txn-offsets.t", "partitions": [{"partition_index": 0}]}])
        side.ask("open", "DescribeGroups", 5, groups=[group])
        producer.end("the end", 4, True)
        if version < 5:
            commit("after the end")


PROBES = [ends, epochs, producers, listing, verification, transactional_offsets]
