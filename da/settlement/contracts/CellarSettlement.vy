# pragma version 0.4.3
# pragma evm-version prague
# @title  Cellar settlement
# @license Apache-2.0
# @notice Holds one committee, verifies its certificates with the EIP-2537 precompiles and records the
#         payloads that they cover. A bad certificate is answered with a status code, never with a revert.
# @dev    Flow:
#         - deploy with the committee's parameters; `register` every member in the committee's order, with its
#           proof of possession; `seal` recomputes the committee hash from what is stored and freezes it for good
#         - the guardian (the rollup's own light client; none if the zero address) may `veto` a header that it
#           sampled and found unavailable, until the payload is recorded
#         - `settle` checks the certificate, the payload's Merkle proof, the sampling delay and the veto. The delay
#           counts from the block in which the batch was first presented here: a header's own timestamp is the
#           disperser's word, and those that the delay is a defence against could sign an old one.
#         Facts relied on: a CALL to a precompile that does not exist succeeds with empty output, so every answer's
#         length is checked; G1ADD does not check the subgroup, the pairing does, and it sees each key at
#         registration; an identity aggregate key with an identity signature would verify, so both are refused.

# ----------------------------------------------------------------------------------------------- constants

MAX_MEMBERS: constant(uint256) = 256
# Bounds the gas of one check: a non-signer costs about 10,000 gas (three storage reads and a G1ADD).
MAX_NON_SIGNERS: constant(uint256) = 85
MAX_COMMITTEE: constant(uint256) = 51 + 57 * MAX_MEMBERS  # bytes of a committee's canonical encoding
# Header layout: docs/reference/wire-formats.md
HEADER_BYTES: constant(uint256) = 188
ENTRY_BYTES: constant(uint256) = 72
MAX_ROWS: constant(uint256) = 256  # a payload has at least one row, so a batch has at most as many payloads
MAX_PROOF: constant(uint256) = 8  # log2(MAX_ROWS)
# Inputs of a wrong length get a status as well, up to this bound of the ABI decoder.
MAX_INPUT: constant(uint256) = 512

STATUS_OK: constant(uint8) = 0
STATUS_NOT_SEALED: constant(uint8) = 1
STATUS_BAD_HEADER: constant(uint8) = 2
STATUS_FOREIGN_CHAIN: constant(uint8) = 3
STATUS_FOREIGN_COMMITTEE: constant(uint8) = 4
STATUS_BAD_SIGNERS: constant(uint8) = 5
STATUS_TOO_MANY_NON_SIGNERS: constant(uint8) = 6
STATUS_BELOW_THRESHOLD: constant(uint8) = 7
STATUS_BAD_SIGNATURE: constant(uint8) = 8
STATUS_BAD_PAYLOAD_PROOF: constant(uint8) = 9
STATUS_TOO_EARLY: constant(uint8) = 10
STATUS_EXPIRED: constant(uint8) = 11
STATUS_VETOED: constant(uint8) = 12

SHA256_BLOCK: constant(Bytes[64]) = x"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
PAD_16: constant(Bytes[16]) = x"00000000000000000000000000000000"
# DST_prime = DST || I2OSP(len(DST), 1) (RFC 9380, section 5.3.1) of the two domains of the PoP ciphersuite
DST_SIGNATURE: constant(Bytes[44]) = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b"
DST_POSSESSION: constant(Bytes[44]) = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b"

# The base field's modulus p, its high 16 and low 32 bytes as integers, and the same of (p - 1) / 2, above which a
# compressed point's sign bit is set (a test recomputes them)
P_BYTES: constant(Bytes[48]) = x"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
P_HIGH: constant(uint256) = 34565483545414906068789196026815425751
P_LOW: constant(uint256) = 45442060874369865957053122457065728162598490762543039060009208264153100167851
HALF_P_HIGH: constant(uint256) = 17282741772707453034394598013407712875
HALF_P_LOW: constant(uint256) = 80617075055843030690312053732876818007934237714091801549733396136033114903893
NEGATED_G1: constant(Bytes[128]) = x"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca"

# EIP-2537 prices, with what is forwarded capped a little above: a bad point burns all that it is given.
GAS_G1ADD: constant(uint256) = 400
GAS_G2ADD: constant(uint256) = 700
GAS_MAP: constant(uint256) = 25000
GAS_PAIRING: constant(uint256) = 110000
GAS_MODEXP: constant(uint256) = 5000

# ------------------------------------------------------------------------------------------------- storage

event Registered:
    index: uint256
    stake: uint256

event Sealed:
    committee_hash: bytes32
    members: uint256

event Settled:
    payload_id: indexed(bytes32)
    header_hash: indexed(bytes32)
    namespace: bytes32

event Presented:
    header_hash: indexed(bytes32)

event Vetoed:
    header_hash: indexed(bytes32)
    evidence: bytes32

# A G1 point in three words: the low 32 bytes of x and of y, and both high 16 bytes together.
struct Point:
    x_low: uint256
    y_low: uint256
    high: uint256

owner: public(address)
guardian: public(immutable(address))
chain_id: public(immutable(uint64))
epoch: public(immutable(uint64))
replication: public(immutable(uint16))
threshold_numerator: public(immutable(uint32))
threshold_denominator: public(immutable(uint32))
retention_s: public(immutable(uint32))
sampling_delay_s: public(immutable(uint64))

committee_hash: public(bytes32)
member_count: public(uint256)
total_stake: public(uint256)
aggregate_key: Point
keys: HashMap[uint256, Point]
# stake in the low 64 bits, the disperser flag above it
weights: HashMap[uint256, uint256]

# header under which a payload was settled, by namespace and payload id: two rollups may post the same bytes
settled: public(HashMap[bytes32, HashMap[bytes32, bytes32]])
vetoed: public(HashMap[bytes32, bytes32])
# when a batch with a good certificate was first presented; kept only if there is a sampling delay
presented: public(HashMap[bytes32, uint256])


@deploy
def __init__(
    chain_id_: uint64,
    epoch_: uint64,
    replication_: uint16,
    threshold_numerator_: uint32,
    threshold_denominator_: uint32,
    retention_s_: uint32,
    sampling_delay_s_: uint64,
    guardian_: address,
):
    assert threshold_numerator_ <= threshold_denominator_, "threshold above one"
    assert 2 * convert(threshold_numerator_, uint256) > convert(threshold_denominator_, uint256), "threshold below half"
    chain_id = chain_id_
    epoch = epoch_
    replication = replication_
    threshold_numerator = threshold_numerator_
    threshold_denominator = threshold_denominator_
    retention_s = retention_s_
    sampling_delay_s = sampling_delay_s_
    guardian = guardian_
    self.owner = msg.sender


# ------------------------------------------------------------------------------------------------ committee


@external
def register(key: Bytes[128], possession: Bytes[256], stake: uint64, disperser: bool):
    """
    @notice Add the next member; keys come in ascending order of their compressed form, as the committee lists them.
    @param key         G1 point, EIP-2537 encoding
    @param possession  proof of possession, G2 point, EIP-2537 encoding: a signature of the compressed key
    """
    assert msg.sender == self.owner, "only the owner, before seal"
    index: uint256 = self.member_count
    assert index < MAX_MEMBERS, "committee full"
    assert stake > 0, "no stake"
    assert len(key) == 128 and len(possession) == 256, "length"
    point: Point = self._unpack(key)
    assert point.x_low != 0 or point.y_low != 0 or point.high != 0, "identity key"

    compressed: Bytes[48] = self._compress(point)
    if index > 0:
        previous: Bytes[48] = self._compress(self.keys[unsafe_sub(index, 1)])
        assert self._less(previous, compressed), "keys out of order"

    # The pairing checks that both points are on the curve and in the subgroup.
    assert self._verify(key, compressed, DST_POSSESSION, possession), "bad proof of possession"

    self.keys[index] = point
    self.weights[index] = convert(stake, uint256) | (convert(disperser, uint256) << 64)
    self.member_count = index + 1
    self.total_stake += convert(stake, uint256)
    if index == 0:
        self.aggregate_key = point
    else:
        ok: bool = False
        total: Bytes[128] = b""
        ok, total = self._add(self._pack(self.aggregate_key), key)
        assert ok, "addition failed"
        self.aggregate_key = self._unpack(total)
    log Registered(index=index, stake=convert(stake, uint256))


@external
def seal(expected_hash: bytes32):
    """
    @notice Freeze the committee; from now on nobody has any power over it.
    @dev    The hash is recomputed from storage, so a contract cannot claim a committee whose keys it does not hold.
    """
    assert msg.sender == self.owner, "only the owner, before seal"
    assert self.member_count > 0, "no members"
    assert self._committee_hash() == expected_hash, "not this committee"
    self.committee_hash = expected_hash
    self.owner = empty(address)
    log Sealed(committee_hash=expected_hash, members=self.member_count)


@internal
@view
def _committee_hash() -> bytes32:
    """
    The committee's canonical hash (docs/reference/wire-formats.md), from storage.
    """
    encoding: Bytes[MAX_COMMITTEE] = concat(
        b"cellar/committee/v1",
        convert(chain_id, bytes8),
        convert(epoch, bytes8),
        convert(replication, bytes2),
        convert(threshold_numerator, bytes4),
        convert(threshold_denominator, bytes4),
        convert(retention_s, bytes4),
        convert(convert(self.member_count, uint16), bytes2),
    )
    for i: uint256 in range(self.member_count, bound=MAX_MEMBERS):
        weight: uint256 = self.weights[i]
        encoding = convert(
            concat(
                encoding,
                self._compress(self.keys[i]),
                convert(convert(weight & convert(max_value(uint64), uint256), uint64), bytes8),
                convert(convert(weight >> 64, uint8), bytes1),
            ),
            Bytes[MAX_COMMITTEE],
        )
    return sha256(encoding)

# ---------------------------------------------------------------------------------------------- certificates


@external
@view
def check_certificate(header: Bytes[MAX_INPUT], signers: uint256, signature: Bytes[MAX_INPUT]) -> uint8:
    """
    @notice Status of a certificate; total: any input gets a status code.
    @param header     the header's canonical encoding
    @param signers    bit i is set if member i signed
    @param signature  the aggregate signature, G2 point, EIP-2537 encoding
    """
    return self._check(header, signers, signature)


@external
def settle(
    header: Bytes[MAX_INPUT],
    signers: uint256,
    signature: Bytes[MAX_INPUT],
    entry: Bytes[MAX_INPUT],
    index: uint256,
    count: uint256,
    proof: DynArray[bytes32, MAX_PROOF],
) -> uint8:
    """
    @notice Record a payload that a certified batch covers.
    @param entry  the payload's canonical entry: namespace, payload id, first row, rows, length
    @param index  its position among the batch's `count` entries
    @param proof  sibling hashes, from the leaf up
    @return       a status code. STATUS_OK records the payload; the first STATUS_TOO_EARLY of a batch that is not
                  from the future starts its sampling delay; no other changes anything
    """
    status: uint8 = self._check(header, signers, signature)
    if status != STATUS_OK:
        return status
    if not self._included(header, entry, index, count, proof):
        return STATUS_BAD_PAYLOAD_PROOF

    seconds: uint256 = convert(slice(header, 50, 8), uint256) // 1000
    if block.timestamp < seconds:
        return STATUS_TOO_EARLY
    if block.timestamp > seconds + convert(retention_s, uint256):
        return STATUS_EXPIRED
    header_hash: bytes32 = self._header_hash(header)
    if self.vetoed[header_hash] != empty(bytes32):
        return STATUS_VETOED
    if sampling_delay_s > 0:
        since: uint256 = self.presented[header_hash]
        if since == 0:
            since = block.timestamp
            self.presented[header_hash] = since
            log Presented(header_hash=header_hash)
        if block.timestamp < since + convert(sampling_delay_s, uint256):
            return STATUS_TOO_EARLY

    payload_id: bytes32 = convert(slice(entry, 32, 32), bytes32)
    namespace: bytes32 = convert(slice(entry, 0, 32), bytes32)
    if self.settled[namespace][payload_id] == empty(bytes32):
        self.settled[namespace][payload_id] = header_hash
        log Settled(payload_id=payload_id, header_hash=header_hash, namespace=namespace)
    return STATUS_OK


@external
def veto(header_hash: bytes32, evidence: bytes32):
    """
    @notice The guardian's light client found this batch unavailable: nothing of it settles here any more.
    @param evidence  sha256 of the light client's report
    """
    assert msg.sender == guardian, "only the guardian"
    assert evidence != empty(bytes32), "no evidence"
    self.vetoed[header_hash] = evidence
    log Vetoed(header_hash=header_hash, evidence=evidence)


@internal
@view
def _check(header: Bytes[MAX_INPUT], signers: uint256, signature: Bytes[MAX_INPUT]) -> uint8:
    if self.committee_hash == empty(bytes32):
        return STATUS_NOT_SEALED
    if len(header) != HEADER_BYTES or convert(slice(header, 0, 2), uint256) != 1:
        return STATUS_BAD_HEADER
    if convert(slice(header, 2, 8), uint256) != convert(chain_id, uint256):
        return STATUS_FOREIGN_CHAIN
    if convert(slice(header, 90, 32), bytes32) != self.committee_hash:
        return STATUS_FOREIGN_COMMITTEE
    if len(signature) != 256:
        return STATUS_BAD_SIGNATURE

    members: uint256 = self.member_count
    if signers == 0 or (members < 256 and (signers >> members) != 0):
        return STATUS_BAD_SIGNERS

    # Aggregate key of the signers = total - sum of the non-signers: few additions when nearly all signed.
    key: Bytes[128] = self._pack(self.aggregate_key)
    missing_stake: uint256 = 0
    missing: uint256 = 0
    for i: uint256 in range(members, bound=MAX_MEMBERS):
        if (signers >> i) & 1 == 1:
            continue
        missing += 1
        if missing > MAX_NON_SIGNERS:
            return STATUS_TOO_MANY_NON_SIGNERS
        missing_stake += self.weights[i] & convert(max_value(uint64), uint256)
        ok: bool = False
        ok, key = self._add(key, self._pack(self._negate(self.keys[i])))
        if not ok:
            return STATUS_BAD_SIGNERS

    signed: uint256 = self.total_stake - missing_stake
    if signed * convert(threshold_denominator, uint256) < self.total_stake * convert(threshold_numerator, uint256):
        return STATUS_BELOW_THRESHOLD
    if self._is_zero(key):
        return STATUS_BAD_SIGNERS

    message: bytes32 = sha256(
        concat(b"cellar/attest/v1", slice(header, 2, 8), self.committee_hash, self._header_hash(header))
    )
    if not self._verify(key, concat(message, b""), DST_SIGNATURE, slice(signature, 0, 256)):
        return STATUS_BAD_SIGNATURE
    return STATUS_OK


@internal
@pure
def _header_hash(header: Bytes[MAX_INPUT]) -> bytes32:
    return sha256(concat(b"cellar/header/v1", header))


@internal
@pure
def _included(
    header: Bytes[MAX_INPUT],
    entry: Bytes[MAX_INPUT],
    index: uint256,
    count: uint256,
    proof: DynArray[bytes32, MAX_PROOF],
) -> bool:
    """
    Whether the entry is the index-th of count under the header's payloads root (RFC 9162, section 2.1.3.2).
    """
    if len(entry) != ENTRY_BYTES or count == 0 or count > MAX_ROWS or index >= count:
        return False
    position: uint256 = index
    last: uint256 = count - 1
    node: bytes32 = sha256(concat(x"00", entry))
    for sibling: bytes32 in proof:
        if last == 0:
            return False
        if position & 1 == 1 or position == last:
            node = sha256(concat(x"01", sibling, node))
            # A right edge has no sibling on the levels that it is promoted through.
            for _: uint256 in range(MAX_PROOF):
                if position & 1 == 1 or position == 0:
                    break
                position = position >> 1
                last = last >> 1
        else:
            node = sha256(concat(x"01", node, sibling))
        position = position >> 1
        last = last >> 1
    if last != 0:
        return False
    root: bytes32 = sha256(concat(x"02", slice(convert(count, bytes32), 24, 8), node))
    return root == convert(slice(header, 124, 32), bytes32)

# ------------------------------------------------------------------------------------------------------ BLS


@internal
@view
def _verify(key: Bytes[128], message: Bytes[48], dst: Bytes[44], signature: Bytes[256]) -> bool:
    """
    e(-G1, signature) * e(key, H(message)) == 1. Identity keys and signatures are refused by the callers and here.
    """
    if self._is_zero(key) or self._is_zero_g2(signature):
        return False
    ok: bool = False
    hashed: Bytes[256] = b""
    ok, hashed = self._hash_to_g2(message, dst)
    if not ok:
        return False
    answer: Bytes[32] = b""
    ok, answer = raw_call(
        0x000000000000000000000000000000000000000F,
        concat(NEGATED_G1, signature, key, hashed),
        max_outsize=32,
        gas=GAS_PAIRING,
        is_static_call=True,
        revert_on_failure=False,
    )
    return ok and len(answer) == 32 and convert(answer, uint256) == 1


@internal
@view
def _hash_to_g2(message: Bytes[48], dst: Bytes[44]) -> (bool, Bytes[256]):
    """
    RFC 9380 hash_to_curve: expand_message_xmd to 256 bytes, four elements mod p, two maps, one addition.
    MAP_FP2_TO_G2 clears the cofactor itself, and clearing is linear, so the sum needs no further step.
    """
    b0: bytes32 = sha256(concat(SHA256_BLOCK, message, x"010000", dst))
    block_: bytes32 = sha256(concat(b0, x"01", dst))
    elements: DynArray[Bytes[48], 4] = []
    for i: uint256 in range(4):
        first: bytes32 = block_
        if i > 0:
            first = self._next_block(b0, block_, 2 * i + 1, dst)
        second: bytes32 = self._next_block(b0, first, 2 * i + 2, dst)
        block_ = second
        ok: bool = False
        element: Bytes[48] = b""
        ok, element = raw_call(
            0x0000000000000000000000000000000000000005,
            concat(convert(64, bytes32), convert(1, bytes32), convert(48, bytes32), first, second, x"01", P_BYTES),
            max_outsize=48,
            gas=GAS_MODEXP,
            is_static_call=True,
            revert_on_failure=False,
        )
        if not ok or len(element) != 48:
            return False, b""
        elements.append(element)

    good: bool = False
    left: Bytes[256] = b""
    right: Bytes[256] = b""
    good, left = self._map_to_g2(elements[0], elements[1])
    if not good:
        return False, b""
    good, right = self._map_to_g2(elements[2], elements[3])
    if not good:
        return False, b""
    total: Bytes[256] = b""
    good, total = raw_call(
        0x000000000000000000000000000000000000000d,
        concat(left, right),
        max_outsize=256,
        gas=GAS_G2ADD,
        is_static_call=True,
        revert_on_failure=False,
    )
    return good and len(total) == 256, total


@internal
@pure
def _next_block(b0: bytes32, previous: bytes32, number: uint256, dst: Bytes[44]) -> bytes32:
    mixed: bytes32 = convert(convert(b0, uint256) ^ convert(previous, uint256), bytes32)
    return sha256(concat(mixed, convert(convert(number, uint8), bytes1), dst))


@internal
@view
def _map_to_g2(c0: Bytes[48], c1: Bytes[48]) -> (bool, Bytes[256]):
    ok: bool = False
    point: Bytes[256] = b""
    ok, point = raw_call(
        0x0000000000000000000000000000000000000011,
        concat(PAD_16, c0, PAD_16, c1),
        max_outsize=256,
        gas=GAS_MAP,
        is_static_call=True,
        revert_on_failure=False,
    )
    return ok and len(point) == 256, point


@internal
@view
def _add(left: Bytes[128], right: Bytes[128]) -> (bool, Bytes[128]):
    ok: bool = False
    total: Bytes[128] = b""
    ok, total = raw_call(
        0x000000000000000000000000000000000000000b,
        concat(left, right),
        max_outsize=128,
        gas=GAS_G1ADD,
        is_static_call=True,
        revert_on_failure=False,
    )
    return ok and len(total) == 128, total


# ------------------------------------------------------------------------------------------------ encodings


@internal
@pure
def _unpack(point: Bytes[128]) -> Point:
    # The 16 bytes of padding are the precompiles' to check: a key that has any never passes the pairing.
    return Point(
        x_low=convert(slice(point, 32, 32), uint256),
        y_low=convert(slice(point, 96, 32), uint256),
        high=(convert(slice(point, 16, 16), uint256) << 128) | convert(slice(point, 80, 16), uint256),
    )


@internal
@pure
def _pack(point: Point) -> Bytes[128]:
    return concat(
        convert(point.high >> 128, bytes32),
        convert(point.x_low, bytes32),
        convert(point.high & convert(max_value(uint128), uint256), bytes32),
        convert(point.y_low, bytes32),
    )


@internal
@pure
def _negate(point: Point) -> Point:
    # y -> p - y, word by word; y is never 0 on this curve and never above p for a key that was registered.
    y_high: uint256 = point.high & convert(max_value(uint128), uint256)
    borrow: uint256 = 1 if point.y_low > P_LOW else 0
    low: uint256 = unsafe_sub(P_LOW, point.y_low)
    high: uint256 = P_HIGH - y_high - borrow
    return Point(x_low=point.x_low, y_low=low, high=((point.high >> 128) << 128) | high)


@internal
@pure
def _compress(point: Point) -> Bytes[48]:
    # ZCash encoding: x big-endian, bit 7 always, bit 5 when y is the larger of the two roots
    y_high: uint256 = point.high & convert(max_value(uint128), uint256)
    larger: bool = y_high > HALF_P_HIGH or (y_high == HALF_P_HIGH and point.y_low > HALF_P_LOW)
    top: uint256 = (point.high >> 128) | (1 << 127)
    if larger:
        top = top | (1 << 125)
    return concat(convert(convert(top, uint128), bytes16), convert(point.x_low, bytes32))


@internal
@pure
def _less(left: Bytes[48], right: Bytes[48]) -> bool:
    left_high: uint256 = convert(slice(left, 0, 16), uint256)
    right_high: uint256 = convert(slice(right, 0, 16), uint256)
    if left_high != right_high:
        return left_high < right_high
    return convert(slice(left, 16, 32), uint256) < convert(slice(right, 16, 32), uint256)


@internal
@pure
def _is_zero(point: Bytes[128]) -> bool:
    return keccak256(point) == keccak256(concat(SHA256_BLOCK, SHA256_BLOCK))


@internal
@pure
def _is_zero_g2(point: Bytes[256]) -> bool:
    return keccak256(point) == keccak256(concat(SHA256_BLOCK, SHA256_BLOCK, SHA256_BLOCK, SHA256_BLOCK))
