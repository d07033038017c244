"""The certificate's file beside a batch file, and its bytes. Pure functions.

The idea: a certificate comes after its batch, and a batch file never changes, so it lies in a small file of
its own: magic, version, the header hash it belongs to, length, the bytes, CRC-32 over all before.

Invariant: a certificate of another batch, or a cut or changed file, is a CorruptBatch error.

Does not: decode or verify the certificate.
"""

from __future__ import annotations

import struct
from zlib import crc32

from da.store.errors import CorruptBatch

MAGIC = b"CELLARC\x00"
VERSION = 1
MAX_CERTIFICATE_BYTES = 2**16

_FRONT = struct.Struct(">8sH32sI")
_CRC = struct.Struct(">I")
MAX_SIDECAR_BYTES = _FRONT.size + MAX_CERTIFICATE_BYTES + _CRC.size


def encode_sidecar(header_hash: bytes, certificate: bytes) -> bytes:
    """The file of a certificate of 1..65536 bytes."""
    body = _FRONT.pack(MAGIC, VERSION, header_hash, len(certificate)) + certificate
    return body + _CRC.pack(crc32(body))


def decode_sidecar(data: bytes, header_hash: bytes) -> bytes:
    """The certificate of that batch. Raises CorruptBatch for any other bytes."""
    if len(data) < _FRONT.size + _CRC.size:
        raise CorruptBatch("certificate", "too short", header_hash)
    magic, version, named_hash, length = _FRONT.unpack_from(data)
    if magic != MAGIC or _CRC.unpack(data[-_CRC.size :])[0] != crc32(data[: -_CRC.size]):
        raise CorruptBatch("certificate", "wrong checksum", header_hash)
    if version != VERSION:
        raise CorruptBatch("certificate", f"version {version}, this program knows {VERSION}", header_hash)
    if named_hash != header_hash or length != len(data) - _FRONT.size - _CRC.size:
        raise CorruptBatch("certificate", "belongs elsewhere", header_hash)
    return data[_FRONT.size : -_CRC.size]
