"""What every implementation of the objects promises to the store, on sound and on hostile ground."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import da.store
from da.store.filesystem import Filesystem
from da.store.objects import (
    QUARANTINE,
    DirectoryObjects,
    Key,
    Listing,
    MemoryObjects,
    ObjectMissing,
    Objects,
    read_all,
)

KEY = Key("buckets/monday", "one")
OTHER = Key("buckets/monday", "two")
DATA = bytes(range(256)) * 10


@pytest.fixture(params=["directory", "memory"])
def open_objects(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Objects]:
    """A function that opens the objects of this test: the second time as after a restart."""
    if request.param == "directory":
        return lambda: DirectoryObjects(Filesystem(), tmp_path, ("buckets",))
    memory = MemoryObjects()
    return lambda: memory


@pytest.fixture
def objects(open_objects: Callable[[], Objects]) -> Objects:
    return open_objects()


# -- put and read


def test_what_was_put_is_read_in_ranges(objects: Objects) -> None:
    objects.put(KEY, [DATA[:1], DATA[1:1000], b"", memoryview(DATA)[1000:]])
    reader = objects.open(KEY)
    assert reader.size() == len(DATA)
    assert reader.read(len(DATA), 0) == DATA
    assert reader.read(7, 300) == DATA[300:307]
    assert reader.read(0, 5) == b""
    reader.close()
    assert objects.exists(KEY)
    assert not objects.exists(OTHER)


@pytest.mark.parametrize("uncached", [False, True])
def test_a_range_beyond_the_end_is_cut_off(objects: Objects, uncached: bool) -> None:
    objects.put(KEY, [DATA])
    reader = objects.open(KEY, uncached=uncached)
    assert reader.read(100, len(DATA) - 3) == DATA[-3:]
    assert reader.read(100, len(DATA)) == b""
    assert reader.read(100, 2**40) == b""
    reader.close()


def test_an_object_may_be_empty(objects: Objects) -> None:
    objects.put(KEY, [])
    assert objects.exists(KEY)
    assert read_all(objects, KEY) == b""


def test_at_most_the_limit_is_read(objects: Objects) -> None:
    objects.put(KEY, [DATA])
    assert read_all(objects, KEY, 5) == DATA[:5]
    assert read_all(objects, KEY, 10**6) == DATA


def test_an_object_that_is_not_there_is_missing(objects: Objects) -> None:
    objects.put(Key("buckets", "plain"), [b"an object where a bucket would be"])
    for key in (KEY, Key("buckets/plain", "one"), Key("buckets", "monday")):
        with pytest.raises(ObjectMissing) as caught:
            objects.open(key)
        assert caught.value.key == key
        assert str(key) in str(caught.value)
        assert not objects.exists(key)
        with pytest.raises(ObjectMissing):
            read_all(objects, key)
        with pytest.raises(ObjectMissing):
            objects.quarantine(key)
        objects.delete(key)


def test_a_bucket_is_no_object(objects: Objects) -> None:
    objects.put(KEY, [DATA])
    key = Key("buckets", "monday")
    assert not objects.exists(key)
    with pytest.raises(ObjectMissing):
        objects.open(key)


def test_a_chunk_may_be_changed_after_it_was_taken(objects: Objects) -> None:
    buffer = bytearray(b"first")

    def chunks() -> Iterator[bytearray]:
        yield buffer
        buffer[:] = b"later"
        yield buffer

    objects.put(KEY, chunks())
    assert read_all(objects, KEY) == b"firstlater"


def test_a_put_takes_the_place_of_what_was_there(objects: Objects) -> None:
    objects.put(KEY, [b"old"])
    before = objects.open(KEY)
    objects.put(KEY, [b"newer"])
    assert before.read(10, 0) == b"old", "a reader reads the object that it opened"
    assert before.size() == 3
    before.close()
    assert read_all(objects, KEY) == b"newer"


def test_what_was_put_is_there_after_a_restart(open_objects: Callable[[], Objects]) -> None:
    open_objects().put(KEY, [DATA])
    assert read_all(open_objects(), KEY) == DATA


# -- what is cut off


class SenderGone(Exception):
    pass


def test_a_put_whose_stream_raises_leaves_nothing(open_objects: Callable[[], Objects]) -> None:
    objects = open_objects()

    def chunks() -> Iterator[bytes]:
        yield bytes(2**20)  # more than an implementation may hold back
        raise SenderGone

    with pytest.raises(SenderGone):
        objects.put(KEY, chunks())
    assert objects.list("buckets/monday") == Listing()
    objects.put(KEY, [b"old"])
    with pytest.raises(SenderGone):
        objects.put(KEY, chunks())
    for after in (objects, open_objects()):
        assert read_all(after, KEY) == b"old"
        assert after.list("buckets/monday") == Listing(frozenset(["one"]))


@pytest.mark.parametrize("sealed", [False, True])
def test_an_upload_that_nobody_ended_is_never_seen(open_objects: Callable[[], Objects], sealed: bool) -> None:
    objects = open_objects()
    upload = objects.upload(4)
    upload.append(bytes(2**20))
    if sealed:
        upload.seal(b"head")
    for after in (objects, open_objects()):
        assert after.list("buckets") == after.list("buckets/monday") == Listing()


def test_a_discarded_upload_leaves_nothing(objects: Objects) -> None:
    for sealed in (False, True):
        upload = objects.upload()
        upload.append(DATA)
        if sealed:
            upload.seal()
        upload.discard()
        upload.discard()
        assert objects.list("buckets/monday") == Listing()


def test_a_discard_after_the_publishing_does_nothing(objects: Objects) -> None:
    upload = objects.upload()
    upload.append(DATA)
    upload.seal()
    upload.publish(KEY)
    upload.discard()
    assert read_all(objects, KEY) == DATA


def test_what_was_reserved_is_written_last(objects: Objects) -> None:
    upload = objects.upload(4)
    upload.append(DATA)
    upload.seal(b"head")
    assert not objects.exists(KEY), "durable, and not visible yet"
    upload.publish(KEY)
    assert read_all(objects, KEY) == b"head" + DATA


# -- buckets


def test_a_bucket_is_listed_with_what_is_foreign(objects: Objects) -> None:
    names = ["one", "notes.txt", ".hidden", "ü", "ONE"]
    for name in names:
        objects.put(Key("buckets/monday", name), [DATA])
    objects.put(Key("buckets/monday/inner", "deep"), [DATA])
    objects.put(Key("buckets/tuesday", "one"), [DATA])
    objects.put(Key("buckets", "plain"), [DATA])
    assert objects.list("buckets/monday") == Listing(frozenset(names), frozenset(["inner"]))
    assert objects.list("buckets") == Listing(frozenset(["plain"]), frozenset(["monday", "tuesday"]))
    for bucket in ("buckets/sunday", "other", "buckets/plain", "buckets/mon"):
        assert objects.list(bucket) == Listing()


def test_a_dropped_bucket_is_gone_and_its_neighbours_stay(open_objects: Callable[[], Objects]) -> None:
    objects = open_objects()
    neighbours = [Key("buckets/monday2", "one"), Key("buckets", "monday.txt"), Key("other/monday", "one")]
    for key in (KEY, OTHER, Key("buckets/monday/inner", "deep"), *neighbours):
        objects.put(key, [DATA])
    objects.drop("buckets/monday")
    objects.drop("buckets/sunday")
    assert not objects.exists(KEY)
    assert objects.list("buckets/monday") == Listing()
    assert objects.list("buckets") == Listing(frozenset(["monday.txt"]), frozenset(["monday2"]))
    objects.put(KEY, [b"a new bucket of that name"])
    objects.reclaim()
    objects.reclaim()
    for after in (objects, open_objects()):
        assert after.list("buckets/monday") == Listing(frozenset(["one"]))
        assert [read_all(after, key) for key in neighbours] == [DATA] * 3


def test_a_reader_of_a_dropped_bucket_gets_its_bytes_or_an_error(objects: Objects) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()
    started = threading.Barrier(4)

    def read() -> None:
        reader = objects.open(KEY)
        started.wait(30)
        try:
            while not stop.is_set():
                assert reader.read(100, 500) == DATA[500:600]
        except ObjectMissing:
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            reader.close()

    objects.put(KEY, [DATA])
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait(30)
    objects.drop(KEY.bucket)
    objects.reclaim()
    objects.put(KEY, [bytes(len(DATA))])
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not failures


def test_puts_of_one_key_at_once_leave_one_whole_object(objects: Objects) -> None:
    start = threading.Barrier(4)

    def put(byte: int) -> None:
        start.wait(30)
        for _ in range(5):
            objects.put(KEY, [bytes([byte]) * 1000] * 3)

    threads = [threading.Thread(target=put, args=(byte,)) for byte in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    data = read_all(objects, KEY)
    assert data == data[:1] * 3000
    assert objects.list("buckets/monday").objects == {"one"}


# -- moving, deleting, quarantine


def test_objects_move_and_what_is_not_there_is_skipped(open_objects: Callable[[], Objects]) -> None:
    objects = open_objects()
    objects.put(KEY, [b"1"])
    objects.put(OTHER, [b"2"])
    objects.put(Key("buckets/tuesday", "two"), [b"replaced"])
    objects.move(["two", "never", "one"], "buckets/monday", "buckets/tuesday")
    objects.move(["one"], "buckets/sunday", "buckets/tuesday")
    for after in (objects, open_objects()):
        assert after.list("buckets/monday").objects == frozenset()
        assert read_all(after, Key("buckets/tuesday", "one")) == b"1"
        assert read_all(after, Key("buckets/tuesday", "two")) == b"2"


def test_a_deleted_object_is_gone(objects: Objects) -> None:
    objects.put(KEY, [DATA])
    objects.put(OTHER, [DATA])
    objects.delete(KEY)
    objects.delete(KEY)
    assert not objects.exists(KEY)
    assert objects.list("buckets/monday").objects == {"two"}


def test_quarantine_keeps_the_bytes_aside(open_objects: Callable[[], Objects]) -> None:
    objects = open_objects()
    contents = [b"first", b"second", b"third"]
    for content in contents:
        objects.put(KEY, [content])
        objects.quarantine(KEY)
        assert not objects.exists(KEY)
    objects.drop("buckets/monday")
    objects.reclaim()
    for after in (objects, open_objects()):
        names = sorted(after.list(QUARANTINE).objects)
        assert names == ["one.0", "one.1", "one.2"]
        assert [read_all(after, Key(QUARANTINE, name)) for name in names] == contents


# -- what stands on the port


def test_above_the_port_there_are_no_files() -> None:
    """Only the local half of the store (catalogue, room, lock) and the directory know files."""
    store = Path(da.store.__file__).parent
    local = {"catalogue", "catalogue_file", "embedded", "errors", "filesystem", "lock", "space", "sqlite"}
    local |= {"objects/directory"}
    knows_files = re.compile(r"^\s*(import|from) (os|pathlib|shutil|da\.store\.filesystem)\b", re.MULTILINE)
    modules = {str(path.relative_to(store).with_suffix("")): path.read_text() for path in store.rglob("*.py")}
    assert {name for name, text in modules.items() if knows_files.search(text)} == local
    descriptors = re.compile(r"^import os$", re.MULTILINE)
    assert {name for name, text in modules.items() if descriptors.search(text)} == {
        "filesystem",
        "lock",
        "objects/directory",
    }
