"""aiokafka, which writes its requests itself: no idea of it is librdkafka's or kafka-python's."""

import asyncio

import aiokafka
import pytest
from aiokafka import TopicPartition

from conftest import make_topic, unique

WAIT_S = 30
RECORDS = 20
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


async def read(consumer, count):
    records = []
    while len(records) < count:
        for some in (await consumer.getmany(timeout_ms=500)).values():
            records += some
    return records


def run(work):
    return asyncio.run(asyncio.wait_for(work, WAIT_S))


@pytest.mark.parametrize("codec", CODECS)
def test_what_it_produces_it_reads(bootstrap, codec):
    async def work():
        topic = make_topic(bootstrap)
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap, enable_idempotence=True, compression_type=codec
        ) as producer:
            for n in range(RECORDS):
                await producer.send(topic, b"%d" % n, key=b"k", headers=[("h", b"x")], timestamp_ms=1000 + n)
        async with aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=unique("group"), auto_offset_reset="earliest"
        ) as consumer:
            records = await read(consumer, RECORDS)
            at_1010 = await consumer.offsets_for_times({TopicPartition(topic, 0): 1010})
        assert [(r.offset, r.value, r.timestamp) for r in records] == [(n, b"%d" % n, 1000 + n) for n in range(RECORDS)]
        assert all(r.key == b"k" and r.headers == (("h", b"x"),) for r in records)
        assert [found.offset for found in at_1010.values()] == [10]

    run(work())


def test_a_group_shares_a_topic_out_and_again_when_one_leaves(bootstrap):
    async def work():
        topic, group = make_topic(bootstrap, partitions=4), unique("group")
        members = [aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group) for _ in range(2)]
        await asyncio.gather(*(member.start() for member in members))
        while sorted(len(member.assignment()) for member in members) != [2, 2]:
            await asyncio.gather(*(member.getmany(timeout_ms=50) for member in members))
        await members.pop().stop()
        while len(members[0].assignment()) != 4:
            await members[0].getmany(timeout_ms=50)
        await members[0].stop()

    run(work())


def test_a_transaction_takes_the_offsets_of_a_group_that_has_members(bootstrap):
    """aiokafka names nothing but the group: neither member nor generation."""

    async def work():
        source, target, group = make_topic(bootstrap), make_topic(bootstrap), unique("group")
        partition = TopicPartition(source, 0)
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=unique("tx"))
        consumer = aiokafka.AIOKafkaConsumer(
            source, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
        )
        async with producer:
            async with producer.transaction():
                for n in range(RECORDS):
                    await producer.send(source, b"%d" % n)
            async with consumer:
                records = await read(consumer, RECORDS)
                with pytest.raises(ZeroDivisionError):
                    async with producer.transaction():
                        await producer.send_and_wait(target, b"never seen")
                        await producer.send_offsets_to_transaction({partition: 3}, group)
                        raise ZeroDivisionError
                assert await consumer.committed(partition) is None
                async with producer.transaction():
                    for record in records:
                        await producer.send(target, record.value)
                    await producer.send_offsets_to_transaction({partition: records[-1].offset + 1}, group)
                while await consumer.committed(partition) != records[-1].offset + 1:  # Kafka writes markers a little later
                    pass
        async with aiokafka.AIOKafkaConsumer(
            target, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        ) as reader:
            assert [r.value for r in await read(reader, RECORDS)] == [r.value for r in records]

    run(work())
