"""Where the bytes of batches lie: the port of the objects, and what implements it."""

from da.store.objects.directory import DirectoryObjects
from da.store.objects.memory import MemoryObjects
from da.store.objects.port import (
    QUARANTINE,
    Key,
    Listing,
    ObjectMissing,
    ObjectReader,
    Objects,
    Upload,
    read_all,
)

__all__ = [
    "QUARANTINE",
    "DirectoryObjects",
    "Key",
    "Listing",
    "MemoryObjects",
    "ObjectMissing",
    "ObjectReader",
    "Objects",
    "Upload",
    "read_all",
]
