"""Printed backups: what is corrected, what is refused, and that nothing wrong comes out."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reedsolo import RSCodec

from erasure.backup import MAX_TEXT, Backup, decode_backup, encode_backup
from erasure.errors import InvalidBackup, InvalidShape

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SECRETS = st.binary(min_size=32, max_size=32)
SEEDS = st.integers(0, 2**32)
SECRET = bytes(range(100, 132))


def flat(text: str) -> str:
    return text.replace("-", "").replace("\n", "")


def mistype(characters: str, positions: list[int], rng: random.Random) -> str:
    letters = list(characters)
    for position in positions:
        letters[position] = rng.choice(ALPHABET.replace(letters[position], ""))
    return "".join(letters)


@given(SECRETS)
def test_round_trip(secret: bytes) -> None:
    text = encode_backup(secret)
    assert decode_backup(text) == Backup(secret, 0, 0)


def test_layout() -> None:
    lines = encode_backup(SECRET).split("\n")
    assert [[len(group) for group in line.split("-")] for line in lines] == [[4] * 6] * 4
    assert set(flat(encode_backup(SECRET))) <= set(ALPHABET)


def test_text_is_a_codeword_of_reedsolo() -> None:
    message = b"\x01" + SECRET
    message += hashlib.sha256(b"cellar/backup/v1" + message).digest()[:5]
    codeword = int.from_bytes(RSCodec(22).encode(message), "big")
    expected = "".join(ALPHABET[codeword >> shift & 31] for shift in range(475, -1, -5))
    assert flat(encode_backup(SECRET)) == expected


@given(SECRETS, SEEDS)
def test_how_it_is_written_does_not_matter(secret: bytes, seed: int) -> None:
    rng = random.Random(seed)
    alike = {"0": "0oO", "1": "1iIlL"}
    written = [rng.choice(alike.get(c, c + c.lower())) for c in flat(encode_backup(secret))]
    spaced = "".join(c + rng.choice(["", "", "", " ", "-", "\n", "\t"]) for c in written)
    assert decode_backup(spaced) == Backup(secret, 0, 0)


@given(SECRETS, SEEDS, st.integers(1, 5))
def test_five_mistyped_characters_anywhere(secret: bytes, seed: int, count: int) -> None:
    rng = random.Random(seed)
    text = mistype(flat(encode_backup(secret)), rng.sample(range(96), count), rng)
    assert decode_backup(text) == Backup(secret, count, 0)


@given(SECRETS, SEEDS, st.integers(1, 11))
def test_eleven_unreadable_characters_anywhere(secret: bytes, seed: int, count: int) -> None:
    letters = list(flat(encode_backup(secret)))
    for position in random.Random(seed).sample(range(96), count):
        letters[position] = "?"
    assert decode_backup("".join(letters)) == Backup(secret, 0, count)


@given(SECRETS, SEEDS)
def test_both_together(secret: bytes, seed: int) -> None:
    """6 unreadable and 2 mistyped: at most 12 + 2 * 4 of 22."""
    rng = random.Random(seed)
    positions = rng.sample(range(96), 8)
    letters = list(mistype(flat(encode_backup(secret)), positions[:2], rng))
    for position in positions[2:]:
        letters[position] = "?"
    assert decode_backup("".join(letters)) == Backup(secret, 2, 6)


@given(SECRETS, SEEDS)
def test_characters_that_are_not_in_the_alphabet_count_as_mistyped(secret: bytes, seed: int) -> None:
    rng = random.Random(seed)
    letters = list(flat(encode_backup(secret)))
    for position in rng.sample(range(96), 8):
        letters[position] = rng.choice("Uu!*.,ß\x00字")
    assert decode_backup("".join(letters)) == Backup(secret, 8, 0)


@settings(deadline=None)
@given(SECRETS, SEEDS)
def test_a_dropped_character(secret: bytes, seed: int) -> None:
    rng = random.Random(seed)
    text = flat(encode_backup(secret))
    position = rng.randrange(96)
    assert decode_backup(text[:position] + text[position + 1 :]) == Backup(secret, 1, 0)


@settings(deadline=None)
@given(SECRETS, SEEDS)
def test_a_dropped_and_a_mistyped_character(secret: bytes, seed: int) -> None:
    rng = random.Random(seed)
    text = mistype(flat(encode_backup(secret)), [rng.randrange(96)], rng)
    position = rng.randrange(96)
    read = decode_backup(text[:position] + text[position + 1 :])
    assert read.secret == secret
    assert 1 <= read.corrected <= 2


@settings(deadline=None)
@given(SECRETS, SEEDS)
def test_a_character_too_many(secret: bytes, seed: int) -> None:
    rng = random.Random(seed)
    text = flat(encode_backup(secret))
    position = rng.randrange(97)
    assert decode_backup(text[:position] + rng.choice(ALPHABET) + text[position:]) == Backup(secret, 1, 0)


@settings(deadline=None, max_examples=15)
@given(SECRETS, SEEDS, st.sampled_from([(-1, -1), (-1, 1), (1, -1), (1, 1)]))
def test_two_dropped_or_doubled_characters_anywhere(secret: bytes, seed: int, slips: tuple[int, int]) -> None:
    rng = random.Random(seed)
    letters = list(flat(encode_backup(secret)))
    # The later first, so that the position of the earlier still holds.
    for slip, position in zip(slips, sorted(rng.sample(range(96), 2), reverse=True), strict=True):
        if slip < 0:
            del letters[position]
        else:
            letters.insert(position, rng.choice(ALPHABET))
    read = decode_backup("".join(letters))
    assert read.secret == secret
    assert read.corrected <= 2


@settings(deadline=None)
@given(SECRETS, SEEDS)
def test_groups_of_the_wrong_length_are_set_aside(secret: bytes, seed: int) -> None:
    """Where the grouping survived, up to seven groups may be damaged in any way that shows."""
    rng = random.Random(seed)
    groups = encode_backup(secret).replace("\n", "-").split("-")
    for index in rng.sample(range(24), 7):
        groups[index] = groups[index][: rng.randrange(1, 4)] if rng.random() < 0.5 else groups[index] + "X"
    assert decode_backup(" ".join(groups)).secret == secret


@given(SECRETS, st.integers(0, 23))
def test_a_group_left_out(secret: bytes, index: int) -> None:
    groups = encode_backup(secret).replace("\n", "-").split("-")
    del groups[index]
    assert decode_backup(" ".join(groups)) == Backup(secret, 4, 0)


@given(SECRETS, st.integers(0, 3))
def test_a_line_left_out(secret: bytes, index: int) -> None:
    lines = encode_backup(secret).split("\n")
    del lines[index]
    assert decode_backup("\n".join(lines)) == Backup(secret, 24, 0)


def test_too_many_mistakes_are_refused() -> None:
    rng = random.Random(7)
    for count in (12, 20, 40, 96):
        text = mistype(flat(encode_backup(SECRET)), rng.sample(range(96), count), rng)
        with pytest.raises(InvalidBackup, match="more mistakes than can be corrected"):
            decode_backup(text)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(1, 30))
def test_never_a_wrong_secret(seed: int, count: int) -> None:
    rng = random.Random(seed)
    text = mistype(flat(encode_backup(SECRET)), rng.sample(range(96), count), rng)
    try:
        read = decode_backup(text)
    except InvalidBackup:
        assert count > 5
    else:
        assert read == Backup(SECRET, count, 0)


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=120) | st.text(alphabet=ALPHABET + "?- \n", min_size=90, max_size=100))
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidBackup):
        decode_backup(text)


def test_a_valid_codeword_with_another_checksum_is_refused() -> None:
    codeword = RSCodec(22).encode(b"\x01" + SECRET + bytes(5))
    bits = int.from_bytes(codeword, "big")
    with pytest.raises(InvalidBackup, match="more mistakes"):
        decode_backup("".join(ALPHABET[bits >> shift & 31] for shift in range(475, -1, -5)))


def test_another_version_is_named() -> None:
    message = b"\x02" + SECRET
    codeword = RSCodec(22).encode(message + hashlib.sha256(b"cellar/backup/v1" + message).digest()[:5])
    bits = int.from_bytes(codeword, "big")
    with pytest.raises(InvalidBackup, match="version 2 is not supported, only version 1"):
        decode_backup("".join(ALPHABET[bits >> shift & 31] for shift in range(475, -1, -5)))


def test_no_secret_in_what_is_printed() -> None:
    assert repr(decode_backup(encode_backup(SECRET))) == "Backup(corrected=0, erased=0)"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_secrets_of_another_length(length: int) -> None:
    with pytest.raises(InvalidShape):
        encode_backup(bytes(length))


def test_text_above_the_limit_is_refused() -> None:
    with pytest.raises(InvalidBackup, match="longer than"):
        decode_backup("0" * (MAX_TEXT + 1))
