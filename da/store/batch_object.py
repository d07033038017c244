"""The object of a batch: written column by column, and its head read again.

The idea: the head says which columns follow, and is known only when the last one has come; so its bytes are
reserved first and written last.

Does not: lay out the bytes (see da.store.batch_file); decide when the object becomes visible.
"""

from __future__ import annotations

from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.store.batch_file import PREFIX_BYTES, Head, HeadParts, decode_head, decode_prefix, encode_head
from da.store.errors import CorruptBatch
from da.store.keys import batch_key
from da.store.objects.port import Buffer, ObjectReader, Objects

# Fits the head of nearly every batch, so that opening one costs one read.
_HEAD_GUESS_BYTES = 2**14


class BatchUpload:
    """A batch being written. Ends by publish() or discard()."""

    def __init__(self, objects: Objects, parts: HeadParts) -> None:
        self._parts = parts
        self._columns: list[int] = []
        self._upload = objects.upload(len(encode_head(parts, (), 0)))

    def append(self, column: int, stored: Buffer) -> None:
        """Appends a column as stored. The caller appends columns in ascending order."""
        self._upload.append(stored)
        self._columns.append(column)

    def seal(self, received_ms: int) -> None:
        """Writes the head and makes the object durable."""
        self._upload.seal(encode_head(self._parts, self._columns, received_ms))

    def publish(self, bucket: str) -> None:
        """Makes the batch visible in a time bucket, durably, in place of one of the same hash."""
        self._upload.publish(batch_key(bucket, self._parts.header_hash))

    def discard(self) -> None:
        """Removes what was written; does nothing after publish()."""
        self._upload.discard()


def read_head(reader: ObjectReader) -> Head:
    """The head of a batch. Raises CorruptBatch."""
    data = reader.read(_HEAD_GUESS_BYTES, 0)
    size = decode_prefix(data[:PREFIX_BYTES]).head_bytes
    if size > len(data):
        data = reader.read(size, 0)
    return decode_head(data)


def decode_contents(head: Head, header_hash: bytes) -> tuple[Header, PayloadList]:
    """The header and payload list of a head. Raises CorruptBatch unless they are that batch's."""
    parts = head.parts
    try:
        header = Header.decode(parts.header)
        payload_list = PayloadList.decode(parts.payload_list)
    except ProtocolError as error:
        raise CorruptBatch("head", str(error), parts.header_hash) from error
    if not header.hash == parts.header_hash == header_hash or header.row_count != parts.row_count:
        raise CorruptBatch("head", "it is another batch's", header_hash)
    return header, payload_list
