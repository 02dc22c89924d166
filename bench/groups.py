#!/usr/bin/env python3
"""Groups and connections at the edges: many members joining at once, members that die, thousands of idle connections.

groups.py BUILD_DIR [--bootstrap HOST:PORT]

The clients are plain sockets that follow the classic protocol, so that none of a client's own waits and none of its CPU count but
the heartbeat interval of 3 s that most clients have. With --bootstrap, that broker is measured instead, without connections.
"""

import argparse
import heapq
import pathlib
import random
import resource
import select
import statistics
import struct
import sys
import time

from targets import Millrace, cpu_seconds, resident_mb
import raw_client  # where targets.py looks for it

HEARTBEAT, JOIN_GROUP, SYNC_GROUP, FIND_COORDINATOR, API_VERSIONS = 12, 11, 14, 10, 18
NO_ERROR = 0
# The coordinator loads; a rebalance is under way; here is the member's id.
AGAIN = (14, 15, 16, 27, 79)
SESSION_TIMEOUT_MS, REBALANCE_TIMEOUT_MS = 45_000, 60_000
HEARTBEAT_S = 3.0
TOPIC = "wide"
MEMBERS, PARTITIONS, PARTITIONS_OF_FEW, IDLE_CONNECTIONS = 100, 1000, 20, 5000


def string(text):
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text)) + text.encode()


def compact(text):
    return bytes([len(text) + 1]) + text.encode()


def blob(data):
    return struct.pack(">i", len(data)) + data


class Member(raw_client.Connection):
    """A consumer's connection to its coordinator."""

    def __init__(self, bootstrap, group):
        super().__init__(bootstrap, timeout=120)
        # Heartbeats are kept back only from clients that are known to bear it.
        self.request(API_VERSIONS, 3, b"\0" + compact("librdkafka") + compact("1.0") + b"\0")
        self.group, self.id, self.generation = group, "", -1
        self.waits_for = None  # which answer
        # The subscription, version 1: topics, no user data, nothing owned.
        self.metadata = struct.pack(">hi", 1, 1) + string(TOPIC) + struct.pack(">ii", -1, 0)

    def send_join(self):
        self.waits_for = "join"
        self.send(JOIN_GROUP, 5, string(self.group) + struct.pack(">ii", SESSION_TIMEOUT_MS, REBALANCE_TIMEOUT_MS) + string(self.id)
                  + string(None) + string("consumer") + struct.pack(">i", 1) + string("cooperative-sticky") + blob(self.metadata))

    def joined(self):
        """The error, and as the leader everybody's ids, else None."""
        answer = self.receive()
        _, error, self.generation = answer.take("ihi")
        answer.string()
        leader, self.id = answer.string(), answer.string()

        def member():
            member_id = answer.string()
            answer.take("h")
            answer.bytes(answer.take("i"))
            return member_id

        return error, answer.array(member) if leader == self.id else None

    def send_sync(self, everybody, partitions):
        """As the leader, with a round-robin assignment."""
        self.waits_for = "sync"
        given = []
        for index, member_id in enumerate(everybody or []):
            own = range(index, partitions, len(everybody))
            assignment = struct.pack(">hi", 0, 1) + string(TOPIC) + struct.pack(f">i{len(own)}i", len(own), *own) + struct.pack(">i", -1)
            given.append(string(member_id) + blob(assignment))
        self.send(SYNC_GROUP, 3, string(self.group) + struct.pack(">i", self.generation) + string(self.id) + string(None)
                  + struct.pack(">i", len(given)) + b"".join(given))

    def send_heartbeat(self):
        self.waits_for = "heartbeat"
        self.send(HEARTBEAT, 3, string(self.group) + struct.pack(">i", self.generation) + string(self.id) + string(None))

    def advance(self, partitions):
        """Takes the answer that has come, and asks what comes next. Is it the assignment?"""
        waited_for, self.waits_for = self.waits_for, None
        if waited_for == "join":
            error, everybody = self.joined()
            if error == NO_ERROR:
                self.send_sync(everybody, partitions)
                return False
        else:
            error = self.receive().take("ih")[1]  # of both answers; nothing is done with the assignment itself
        if error == NO_ERROR:
            return waited_for == "sync"
        assert error in AGAIN, error
        self.send_join()
        return False


def find_coordinator(connection, group):
    """Kafka makes its topic of offsets at the first call."""
    for _ in range(300):
        answer = connection.request(FIND_COORDINATOR, 1, string(group) + b"\0")
        if answer.take("ih")[1] == NO_ERROR:
            return
        time.sleep(0.1)
    raise RuntimeError("no coordinator")


def answers(members, due):
    """Lets everyone send heartbeats: `due` is a heap of when which one sends its next. Yields whose answer has come, and None at times."""
    poll, by_file = select.poll(), {member.socket.fileno(): member for member in members}
    for file in by_file:
        poll.register(file, select.POLLIN)
    while True:
        now = time.monotonic()
        while due[0][0] <= now:
            at, number = heapq.heapreplace(due, (due[0][0] + HEARTBEAT_S, due[0][1]))
            if members[number].waits_for is None:
                members[number].send_heartbeat()
        yield from (by_file[file] for file, _ in poll.poll(1000 * min(0.05, max(0.0, due[0][0] - now))))
        yield None


def drive(members, partitions, due, generation=-1):
    """Lets everyone join, sync and send heartbeats as the answers ask for it, until all have their assignment in the same generation, a
    later one than `generation`. Returns the generations in which somebody had one."""
    generations, current = set(), {}
    begun = time.monotonic()
    for member in answers(members, due):
        assert time.monotonic() < begun + 90, "the group does not settle"
        if member and member.advance(partitions) and member.generation > generation:
            generations.add(member.generation)
            current[member] = member.generation
        if len(current) == len(members) and len(set(current.values())) == 1:
            return generations


def keep_alive(members, partitions, due, seconds):
    """Lets everyone send heartbeats for so long."""
    end = time.monotonic() + seconds
    for member in answers(members, due):
        if member:
            member.advance(partitions)
        if time.monotonic() >= end:
            return


def join_all(members, partitions):
    """Everyone joins at once. (seconds until all have their assignment, rebalances that it took)."""
    begun = time.monotonic()
    for member in members:
        member.send_join()
    generations = drive(members, partitions, [(begun + HEARTBEAT_S, number) for number in range(len(members))])
    return time.monotonic() - begun, len(generations)


def measure_joins(bootstrap, runs):
    """The first run, which finds the broker cold, does not count."""
    times, rebalances = [], []
    for run in range(runs + 1):
        members = [Member(bootstrap, f"wide-{run}") for _ in range(MEMBERS)]
        find_coordinator(members[0], members[0].group)
        took, count = join_all(members, PARTITIONS)
        times.append(took)
        rebalances.append(count)
        for member in members:
            member.socket.close()
    return times[1:], rebalances[1:]


def takeover(members, partitions):
    """From the moment that one of the group is gone until all others have their assignment without it, each with its heartbeat
    every 3 s at a moment of its own."""
    due = [(time.monotonic() + random.uniform(0, HEARTBEAT_S), number) for number in range(len(members))]
    heapq.heapify(due)
    keep_alive(members, partitions, due, random.uniform(1, 2) * HEARTBEAT_S)
    dead = members.pop()
    dead.socket.close()
    due = [(at, number) for at, number in due if number < len(members)]
    heapq.heapify(due)
    begun = time.monotonic()
    drive(members, partitions, due, members[0].generation)
    return time.monotonic() - begun


def measure_takeovers(bootstrap, size, runs):
    times = []
    for run in range(runs):
        members = [Member(bootstrap, f"dying-{size}-{run}") for _ in range(size)]
        find_coordinator(members[0], members[0].group)
        join_all(members, PARTITIONS_OF_FEW)
        times.append(takeover(members, PARTITIONS_OF_FEW))
        for member in members:
            member.socket.close()
    return times


def idle_cpu_percent(pid, seconds=10):
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds * 100


def measure_connections(bootstrap, pid, count):
    """(resident MB before, with them, after; CPU percent with them). Each has asked for the broker's metadata once."""
    before = resident_mb(pid)
    connections = []
    for _ in range(count):
        connection = raw_client.Connection(bootstrap, timeout=60)
        connection.ends(TOPIC, 1)
        connections.append(connection)
    time.sleep(2)
    cpu, with_them = idle_cpu_percent(pid), resident_mb(pid)
    for connection in connections:
        connection.socket.close()
    time.sleep(2)
    return before, with_them, resident_mb(pid), cpu


def show(name, times, unit="s"):
    ordered = sorted(times)
    p90 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
    print(f"{name}: median {statistics.median(times):.2f} {unit}, 90 % {p90:.2f}, from {ordered[0]:.2f} to {ordered[-1]:.2f} ({len(times)} runs)")


def measure_groups(bootstrap, runs):
    with raw_client.Connection(bootstrap, timeout=60) as connection:
        connection.create_topic(TOPIC, PARTITIONS)
    times, rebalances = measure_joins(bootstrap, 5)
    show(f"{MEMBERS} members join a group of {PARTITIONS} partitions", times)
    print(f"rebalances that it took: {', '.join(map(str, rebalances))}")
    for size in (2, 4, 10):
        show(f"a member of {size} dies, the others have its partitions", measure_takeovers(bootstrap, size, runs))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--bootstrap", help="of a broker that runs")
    parser.add_argument("--runs", type=int, default=15, help="of each group with a member that dies")
    arguments = parser.parse_args()
    if arguments.bootstrap:
        measure_groups(arguments.bootstrap, arguments.runs)
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Millrace(arguments.build.resolve()) as server:
        measure_groups(server.bootstrap, arguments.runs)
    with Millrace(arguments.build.resolve()) as server:
        with raw_client.Connection(server.bootstrap) as connection:
            connection.create_topic(TOPIC, 1)
        before, with_them, after, cpu = measure_connections(server.bootstrap, server.process.pid, IDLE_CONNECTIONS)
        print(f"{IDLE_CONNECTIONS} idle connections: {before:.1f} MB resident without, {with_them:.1f} with, {after:.1f} after them; "
              f"{cpu:.2f} % CPU with them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
