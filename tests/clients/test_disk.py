"""A small disk of the kernel's own (tmpfs) under the server: full, read-only, and folders that cannot be what they should."""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time

import confluent_kafka
import crc32c
import pytest

import raw_client
import record_batches  # where raw_client.py looks for it
from both import consume
from broker import Broker
from conftest import EXTERNAL, make_topic, unique

STORAGE_ERROR = 56
DISK_MB = 200
RECORD_BYTES = 900_000
PATIENCE_S = 30

# The plain one takes a second for ten megabytes.
record_batches.crc32c = crc32c.crc32c

pytestmark = pytest.mark.skipif(bool(EXTERNAL), reason="needs a broker of its own")


class Disk:
    def __init__(self, folder, *mount):
        self.folder, self._mount = str(folder), [*mount, str(folder)]
        pathlib.Path(folder).mkdir()
        self.mount()

    def mount(self):
        mounted = subprocess.run(["mount", *self._mount], capture_output=True, text=True)
        if mounted.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")

    def unmount(self):
        subprocess.run(["umount", self.folder], check=True)

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    small = Disk(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs")
    yield small
    small.unmount()


@pytest.fixture
def journaled_disk(tmp_path):
    """One that can become read-only while files are open for writing, as disks do that begin to fail."""
    image = tmp_path / "ext4.img"
    image.touch()
    os.truncate(image, 300 << 20)
    if not shutil.which("mkfs.ext4"):
        pytest.skip("there is no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    journaled = Disk(tmp_path / "disk", "-o", "loop", str(image))
    yield journaled
    journaled.unmount()


@pytest.fixture
def server(tmp_path, disk):
    """A server whose data lie on the small disk, while its output does not."""
    yield from server_on(disk, tmp_path)


@pytest.fixture
def server_on_journaled_disk(tmp_path, journaled_disk):
    yield from server_on(journaled_disk, tmp_path)


def server_on(disk, folder):
    running = Broker(folder)
    running.data = os.path.join(disk.folder, "data")
    running.start()
    yield running
    if running.is_running():
        running.stop()


def produce(bootstrap, topic, value):
    """(error code, error message, offset)."""
    batch = raw_client.record_batch(value, time_ms=int(time.time() * 1000))
    with raw_client.Connection(bootstrap, timeout=PATIENCE_S) as connection:
        name = struct.pack(">h", len(topic)) + topic.encode()
        body = struct.pack(">hhi", -1, -1, 10_000) + struct.pack(">i", 1) + name + struct.pack(">iii", 1, 0, len(batch)) + batch
        answer = connection.request(raw_client.PRODUCE, 8, body)

        def partition():
            _, error, offset, _, _ = answer.take("ihqqq")
            answer.array(lambda: pytest.fail("no record of its own was refused"))
            length = answer.take("h")
            return error, answer.bytes(length).decode(), offset

        [[result]] = answer.array(lambda: (answer.string(), answer.array(partition))[1])
        return result


class Refused(Exception):
    """A record was, because of the disk."""


def fill(bootstrap, topic):
    """Until a record is refused: the values that were taken, and the refusal's message."""
    taken = []
    for number in range(2 * DISK_MB):
        value = b"%d " % number + os.urandom(RECORD_BYTES)
        error, message, offset = produce(bootstrap, topic, value)
        if error:
            assert error == STORAGE_ERROR
            return taken, message
        assert offset == len(taken)
        taken.append(value)
    raise AssertionError("the disk does not become full")


def produces_again(bootstrap, topic):
    deadline = time.monotonic() + PATIENCE_S
    while (result := produce(bootstrap, topic, b"again"))[0] == STORAGE_ERROR:
        assert time.monotonic() < deadline, f"still refused: {result[1]}"
        time.sleep(0.05)
    assert result[0] == 0
    return result[2]


def commit(bootstrap, group, topic, offset):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()
    with raw_client.Connection(bootstrap) as connection:
        assert connection.committed(group, topic, 1) == {0: offset}


def test_a_full_disk_stops_nothing_but_producers_and_needs_no_restart(server, disk):
    bootstrap = server.bootstrap
    topic, other, group = make_topic(bootstrap), make_topic(bootstrap), unique("group")
    commit(bootstrap, group, topic, 0)
    taken, message = fill(bootstrap, topic)
    assert len(taken) > 10
    assert "space" in message and server.data in message

    for offset in range(5):
        commit(bootstrap, group, topic, offset + 1)
    read = consume("confluent-kafka", bootstrap, topic, len(taken))
    assert [value for _, _, value in read] == taken
    assert produce(bootstrap, other, b"x" * RECORD_BYTES)[0] == STORAGE_ERROR

    disk.remount(f"size={DISK_MB + 100}m")
    assert produces_again(bootstrap, topic) == len(taken)
    assert server.stop() == 0


def test_deleting_a_topic_frees_a_full_disk(server):
    bootstrap = server.bootstrap
    topic, other = make_topic(bootstrap), make_topic(bootstrap)
    fill(bootstrap, topic)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result(PATIENCE_S)
    assert produces_again(bootstrap, other) == 0


def test_a_server_killed_on_a_full_disk_starts_on_it_with_all_that_was_acknowledged(server, disk):
    bootstrap = server.bootstrap
    topic = make_topic(bootstrap)
    taken, _ = fill(bootstrap, topic)
    server.kill()
    server.start()
    read = consume("confluent-kafka", bootstrap, topic, len(taken))
    assert [value for _, _, value in read] == taken
    disk.remount(f"size={DISK_MB + 200}m")
    assert produces_again(bootstrap, topic) == len(taken)
    assert server.stop() == 0


def test_a_disk_that_becomes_read_only_ends_the_server_which_says_so(server_on_journaled_disk, journaled_disk):
    server = server_on_journaled_disk
    topic = make_topic(server.bootstrap)
    taken = [b"before"]
    assert produce(server.bootstrap, topic, taken[0]) == (0, "", 0)
    journaled_disk.remount("abort")
    # What needs no journal may still come to the disk: then it must be there.
    with pytest.raises((ConnectionError, Refused)):
        for number in range(1, 1000):
            value = b"%d" % number
            error, message, _ = produce(server.bootstrap, topic, value)
            if error == STORAGE_ERROR:
                raise Refused(message)
            assert error == 0
            taken.append(value)
    assert server.process.wait(PATIENCE_S) == 1
    said = server.output()
    assert "the process ends" in said and server.data in said and "Read-only file system; try: " in said

    journaled_disk.unmount()
    journaled_disk.mount()
    server.start()
    assert [value for _, _, value in consume("kafka-python", server.bootstrap, topic, len(taken))] == taken
    assert produce(server.bootstrap, topic, b"after") == (0, "", len(taken))


def refused(folder, *, status=1, as_user=None):
    """What a server says that cannot start with its data in `folder`."""
    command = [os.environ["MILLRACE_BINARY"], "server", "--data", str(folder), "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, user=as_user, cwd="/")
    assert ended.returncode == status, ended
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("error: ") and str(folder) in ended.stderr
    assert any(line.strip().startswith("try: ") for line in lines), "it does not say what to try"
    return ended.stderr


def test_a_read_only_disk_is_named_at_the_start(server, disk):
    make_topic(server.bootstrap)
    assert server.stop() == 0
    disk.remount("ro")
    assert "Read-only file system" in refused(server.data)
    assert "Read-only file system" in refused(os.path.join(disk.folder, "new"))
    disk.remount("rw")
    server.start()


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "Not a directory" in refused(tmp_path / "file")
    assert "Not a directory" in refused(tmp_path / "file" / "data")


def test_a_folder_that_may_not_be_written_is_named():
    # Root may write everywhere, so it has to be somebody else.
    nobody = 65534 if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        try:
            assert "Permission denied" in refused(os.path.join(folder, "data"), status=6, as_user=nobody)
        except PermissionError:
            pytest.skip("another user may not run the program where it lies")


def test_a_folder_that_is_missing_is_made(tmp_path):
    broker = Broker(tmp_path)
    broker.data = str(tmp_path / "not" / "there" / "yet")
    broker.start()
    make_topic(broker.bootstrap)
    assert pathlib.Path(broker.data, "FORMAT").exists()
    assert broker.stop() == 0
