"""A secret on paper: 32 bytes as text that survives being typed in by hand.

The idea: version, secret and checksum are 38 bytes; a Reed-Solomon code over GF(2^8) (reedsolo) adds 22, and
the 60 bytes are 96 characters of 5 bits, printed as 4 lines of 6 groups of 4:

    version 01 | secret[32] | sha256("cellar/backup/v1" || version || secret)[:5] | parity[22]

A mistyped character damages one or two bytes, so any 5 are corrected wherever they are; of characters that
are marked as unreadable with '?', any 11. Case, spaces and hyphens do not matter, O is read as 0, I and L
as 1, and what is no character of the alphabet counts as unreadable. A dropped or doubled character shifts all
that follow, so where the length, or its group, shows one, the group is treated as unreadable
and the rest aligned again. The checksum decides: nothing is returned that it does not confirm.

Invariants: `decode_backup(encode_backup(secret)).secret == secret`; a wrong secret passes with a chance of
about 2**-40 a try, and there are at most some 600 tries.

What it does not do: encrypt. Who reads the backup has the secret.

Source: Crockford's Base32 alphabet, https://www.crockford.com/base32.html; RFC 9285 has no such correction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from string import ascii_lowercase, ascii_uppercase
from typing import Final

from reedsolo import ReedSolomonError, RSCodec

from erasure.errors import InvalidBackup, InvalidShape

SECRET_BYTES: Final = 32
VERSION: Final = 1

_TAG: Final = b"cellar/backup/v1"
_CHECKSUM_BYTES: Final = 5
_PARITY_BYTES: Final = 22
_MESSAGE_BYTES: Final = 1 + SECRET_BYTES + _CHECKSUM_BYTES
_CODEWORD_BYTES: Final = _MESSAGE_BYTES + _PARITY_BYTES

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SAME_AS: Final = str.maketrans(ascii_lowercase + "OIL", ascii_uppercase + "011") | str.maketrans(
    "oil", "011"
)
_VALUE: Final = {character: value for value, character in enumerate(_ALPHABET)}
_UNREADABLE: Final = "?"
_BITS: Final = 5
_CHARACTERS: Final = 8 * _CODEWORD_BYTES // _BITS
_GROUP: Final = 4
_GROUPS: Final = _CHARACTERS // _GROUP
_GROUPS_PER_LINE: Final = 6

MAX_TEXT: Final = 16 * _CHARACTERS
"""Longest text that is read."""
_MOST_SKIPPED_GROUPS: Final = 8
"""A whole line and two groups: 32 characters, 20 bytes, still fewer than the parity."""

assert _CHARACTERS * _BITS == 8 * _CODEWORD_BYTES
assert _GROUPS % _GROUPS_PER_LINE == 0
assert _MOST_SKIPPED_GROUPS * _GROUP * _BITS // 8 + 1 <= _PARITY_BYTES


@dataclass(frozen=True, slots=True)
class Backup:
    """The content of a printed backup.

    Attributes:
        secret: 32 bytes; kept out of `repr`.
        corrected: how many characters were mistyped, left out or typed too often.
        erased: how many were marked as unreadable with '?' and filled in.
    """

    secret: bytes = field(repr=False)
    corrected: int
    erased: int


def encode_backup(secret: bytes) -> str:
    """Print a secret of 32 bytes as 4 lines of 6 groups of 4 characters.

    Raises:
        InvalidShape: not 32 bytes.
    """
    if len(secret) != SECRET_BYTES:
        raise InvalidShape(f"a secret must have {SECRET_BYTES} bytes, got {len(secret)}")
    characters = _characters(_codeword(secret))
    groups = [characters[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP)]
    lines = [groups[start : start + _GROUPS_PER_LINE] for start in range(0, _GROUPS, _GROUPS_PER_LINE)]
    return "\n".join("-".join(line) for line in lines)


def decode_backup(text: str) -> Backup:
    """Read a printed backup, with what mistakes it can correct.

    Raises:
        InvalidBackup: too damaged, or of another version. The message never contains the content.
    """
    if len(text) > MAX_TEXT:
        raise InvalidBackup(f"the text is longer than {MAX_TEXT} characters")
    groups = [_normalised(group) for group in re.split(r"[\s\-]+", text) if group]
    typed = "".join(groups)
    for candidate in _candidates(groups, typed):
        message = _corrected_message(candidate)
        if message is None:
            continue
        version, secret = message[0], message[1 : 1 + SECRET_BYTES]
        if version != VERSION:
            raise InvalidBackup(f"version {version} is not supported, only version {VERSION}")
        mistakes = _edit_distance(typed, _characters(_codeword(secret)))
        return Backup(secret, mistakes, typed.count(_UNREADABLE))
    raise InvalidBackup(
        f"more mistakes than can be corrected ({len(typed)} of {_CHARACTERS} characters); check the copy"
    )


def _codeword(secret: bytes) -> bytes:
    message = bytes([VERSION]) + secret
    return bytes(_codec().encode(message + _checksum(message)))


def _codec() -> RSCodec:
    return RSCodec(_PARITY_BYTES)


def _checksum(message: bytes) -> bytes:
    return hashlib.sha256(_TAG + message).digest()[:_CHECKSUM_BYTES]


def _characters(codeword: bytes) -> str:
    bits = int.from_bytes(codeword, "big")
    shifts = range(_BITS * (_CHARACTERS - 1), -1, -_BITS)
    return "".join(_ALPHABET[bits >> shift & 31] for shift in shifts)


def _normalised(typed: str) -> str:
    """Upper case, look-alikes replaced; other characters are left as they are."""
    return typed.translate(_SAME_AS)


def _candidates(groups: list[str], typed: str) -> Iterator[str]:
    """Texts of the right length that may have been intended, the likeliest first; '?' is unreadable."""
    if len(typed) == _CHARACTERS:
        yield typed
    if len(groups) == _GROUPS:
        yield "".join(group if len(group) == _GROUP else _UNREADABLE * _GROUP for group in groups)

    surplus = len(typed) - _CHARACTERS
    skipped, rest = divmod(-surplus, _GROUP)
    if rest == 0 and 1 <= skipped <= _MOST_SKIPPED_GROUPS:
        gap = _UNREADABLE * -surplus
        for start in range(0, len(typed) + 1, _GROUP):
            yield typed[:start] + gap + typed[start:]
    if 0 < abs(surplus) <= _GROUP:
        for group in range(_GROUPS):
            yield _in_step(typed, {group: surplus})
    for first, second in product((-1, 1), repeat=2):
        if first + second == surplus:
            for earlier, later in combinations(range(_GROUPS), 2):
                yield _in_step(typed, {earlier: first, later: second})


def _in_step(typed: str, surplus_of: dict[int, int]) -> str:
    """The text with some groups unreadable, which were typed with that many characters too many."""
    parts, start = [], 0
    for group in range(_GROUPS):
        end = start + _GROUP + surplus_of.get(group, 0)
        parts.append(_UNREADABLE * _GROUP if group in surplus_of else typed[start:end])
        start = end
    return "".join(parts)


def _corrected_message(characters: str) -> bytes | None:
    """Version and secret of a text of the right length, None if it cannot be corrected."""
    bits, unreadable = 0, set()
    for index, character in enumerate(characters):
        value = _VALUE.get(character)
        bits = bits << _BITS | (value or 0)
        if value is None:
            unreadable |= {index * _BITS // 8, (index * _BITS + _BITS - 1) // 8}
    if len(unreadable) > _PARITY_BYTES:
        return None
    received = bits.to_bytes(_CODEWORD_BYTES, "big")
    try:
        decoded, _, _ = _codec().decode(received, erase_pos=sorted(unreadable))
    except ReedSolomonError:
        return None
    message, checksum = bytes(decoded[:-_CHECKSUM_BYTES]), bytes(decoded[-_CHECKSUM_BYTES:])
    return message if checksum == _checksum(message) else None


def _edit_distance(typed: str, intended: str) -> int:
    """Fewest characters to replace, insert or remove; replacing a '?' is free, it was not a mistake."""
    previous = list(range(len(intended) + 1))
    for row, given in enumerate(typed, start=1):
        current = [row]
        for column, wanted in enumerate(intended, start=1):
            replaced = previous[column - 1] + (given not in (wanted, _UNREADABLE))
            current.append(min(replaced, previous[column] + 1, current[column - 1] + 1))
        previous = current
    return previous[-1]
