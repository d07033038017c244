# pragma version 0.4.3
# pragma evm-version prague
# @title  Cellar settlement
# @license Apache-2.0
# @notice Holds committees, each handed over to by the one before it, verifies their certificates with the EIP-2537
#         precompiles and records the payloads that they cover. A bad certificate is answered with a status code, never with a revert; too little gas
#         is answered with a revert, never with a status code.
# @dev    Flow:
#         - deploy with the committee's parameters and the guardians, if any; `register` every member in the
#           committee's order, with its proof of possession; `seal` recomputes the committee hash from what is
#           stored, freezes it and puts it in office
#         - anyone may `open` the next committee and `register` and `seal` it likewise, in as many transactions as it
#           takes; it has no power until the committee in office hands over to it (`activate`), from when on the
#           old one's certificates hold up to a stated time
#         - a committee that has lost its quorum can hand over to nobody: an account chosen at deployment may then
#           name the next one, after a delay (`announce_recovery`, `recover`); or there is no such account
#         - guardians (a rollup's own light clients) may `veto` a header that they sampled and found unavailable,
#           until the payload is recorded
#         - `settle` checks the certificate, the payload's Merkle proof, the veto and the sampling delay. The delay
#           counts from the block in which the batch was first presented here: a header's own timestamp is the
#           disperser's word, and those that the delay is a defence against could sign an old one.
#         Facts relied on: a CALL to a precompile that does not exist succeeds with empty output, so every answer's
#         length is checked; G1ADD does not check the subgroup, the pairing does, and it sees each key at
#         registration; an identity aggregate key with an identity signature would verify, so both are refused; a
#         CALL that cannot forward the gas asked for forwards 63/64 of what is left without an error (EIP-150), so
#         `_call` checks what is left first.

# ----------------------------------------------------------------------------------------------- constants

MAX_MEMBERS: constant(uint256) = 256
MAX_GUARDIANS: constant(uint256) = 16
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
STATUS_BELOW_THRESHOLD: constant(uint8) = 7
STATUS_BAD_SIGNATURE: constant(uint8) = 8
STATUS_BAD_PAYLOAD_PROOF: constant(uint8) = 9
STATUS_TOO_EARLY: constant(uint8) = 10
STATUS_EXPIRED: constant(uint8) = 11
STATUS_VETOED: constant(uint8) = 12
STATUS_BAD_DISPERSER: constant(uint8) = 13
STATUS_COMMITTEE_ENDED: constant(uint8) = 14
STATUS_BAD_EPOCH: constant(uint8) = 15

IN_OFFICE: constant(uint64) = max_value(uint64)  # until when certificates of the committee in office are valid

ZEROS: constant(Bytes[64]) = x"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
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

MODEXP: constant(address) = 0x0000000000000000000000000000000000000005
G1ADD: constant(address) = 0x000000000000000000000000000000000000000b
G2ADD: constant(address) = 0x000000000000000000000000000000000000000d
PAIRING: constant(address) = 0x000000000000000000000000000000000000000F
MAP_FP2_TO_G2: constant(address) = 0x0000000000000000000000000000000000000011

# EIP-2537 prices, with what is forwarded capped a little above: a bad point burns all that it is given.
GAS_G1ADD: constant(uint256) = 400
GAS_G2ADD: constant(uint256) = 700
GAS_MAP: constant(uint256) = 25000
GAS_PAIRING: constant(uint256) = 110000
GAS_MODEXP: constant(uint256) = 5000
# Above what `_call` itself uses between its check and the CALL, memory growth and the CALL's own price included.
GAS_MARGIN: constant(uint256) = 2000

# ------------------------------------------------------------------------------------------------- storage

event Registered:
    index: uint256
    stake: uint256

event Sealed:
    committee_hash: bytes32
    members: uint256

event Opened:
    number: indexed(uint256)
    epoch: uint64
    registrar: address

event Activated:
    committee_hash: indexed(bytes32)
    epoch: uint64
    previous_valid_until: uint64

event RecoveryAnnounced:
    committee_hash: indexed(bytes32)
    ready_at: uint256

event Presented:
    header_hash: indexed(bytes32)

event Settled:
    payload_id: indexed(bytes32)
    header_hash: indexed(bytes32)
    namespace: bytes32
    retained_until: uint256

event VetoCast:
    header_hash: indexed(bytes32)
    guardian: indexed(address)
    evidence: bytes32

event VetoLifted:
    header_hash: indexed(bytes32)
    guardian: indexed(address)

event GuardianChanged:
    seat: indexed(uint256)
    guardian: address

# A G1 point in three words: the low 32 bytes of x and of y, and both high 16 bytes together.
struct Point:
    x_low: uint256
    y_low: uint256
    high: uint256

struct Parameters:
    epoch: uint64
    replication: uint16
    threshold_numerator: uint32
    threshold_denominator: uint32
    retention_s: uint32

struct Committee:
    hash: bytes32  # zero until it is sealed
    parameters: uint256  # see _parameters
    members: uint256
    total_stake: uint256
    aggregate_key: Point

struct Veto:
    seats: uint256  # bit i is set if the guardian of seat i + 1 voted
    lift_until: uint256  # zero until the votes first made a veto

chain_id: public(immutable(uint64))
sampling_delay_s: public(immutable(uint64))
veto_quorum: public(immutable(uint256))
recovery: public(immutable(address))
recovery_delay_s: public(immutable(uint64))

# The number of the committee in office; zero until the first one is sealed
in_office: public(uint256)
opened: public(uint256)  # how many committees were ever opened; they are numbered from 1
open_of: public(HashMap[address, uint256])  # the committee that an account registers members of
number_of: public(HashMap[bytes32, uint256])  # of a sealed committee, by hash; the last one if it was sealed twice
# Of every committee that came into office, by hash: its number, and above 64 bits the Unix time up to which its
# certificates are valid
offices: HashMap[bytes32, uint256]
recovery_number: public(uint256)
recovery_ready_at: public(uint256)

# All by number. Weights have the stake in the low 64 bits and the disperser flag above it; dispersers are by member id.
committees: public(HashMap[uint256, Committee])
keys: HashMap[uint256, HashMap[uint256, Point]]
weights: HashMap[uint256, HashMap[uint256, uint256]]
dispersers: HashMap[uint256, HashMap[bytes32, bool]]

# Unix time until which the members of the batch's committee keep the data, by namespace (two rollups may post the
# same bytes), payload id and header (the same bytes may be posted again): zero if it was not settled under that header
retained_until: public(HashMap[bytes32, HashMap[bytes32, HashMap[bytes32, uint256]]])
# of these headers the one with the longest retention
longest: HashMap[bytes32, HashMap[bytes32, bytes32]]
# when a batch with a good certificate was first presented; kept only if there is a sampling delay
presented: public(HashMap[bytes32, uint256])

# 1 + position in the list that the contract was deployed with; zero for who is no guardian
seat_of: public(HashMap[address, uint256])
# successor that a guardian proposed for its seat
proposed: public(HashMap[address, address])
vetoes: public(HashMap[bytes32, Veto])


@deploy
def __init__(
    chain_id_: uint64,
    epoch_: uint64,
    replication_: uint16,
    threshold_numerator_: uint32,
    threshold_denominator_: uint32,
    retention_s_: uint32,
    sampling_delay_s_: uint64,
    guardians: DynArray[address, MAX_GUARDIANS],
    veto_quorum_: uint256,
    recovery_: address,
    recovery_delay_s_: uint64,
):
    """
    @param sampling_delay_s_  seconds from the first `settle` of a batch until it may record
    @param guardians          who may vote for a veto; none if empty
    @param veto_quorum_       how many of them make a veto
    @param recovery_          who may name the next committee when the one in office has lost its quorum; none if zero
    @param recovery_delay_s_  seconds between naming it and putting it in office
    """
    assert (recovery_ != empty(address)) == (recovery_delay_s_ > 0), "recovery delay"
    if len(guardians) == 0:
        assert veto_quorum_ == 0, "veto quorum"
    else:
        assert veto_quorum_ > 0 and veto_quorum_ <= len(guardians), "veto quorum"
        assert sampling_delay_s_ > 0, "guardians need a sampling delay"
    for i: uint256 in range(len(guardians), bound=MAX_GUARDIANS):
        self._seat(guardians[i], i + 1)
    chain_id = chain_id_
    sampling_delay_s = sampling_delay_s_
    veto_quorum = veto_quorum_
    recovery = recovery_
    recovery_delay_s = recovery_delay_s_
    self._open(epoch_, replication_, threshold_numerator_, threshold_denominator_, retention_s_, sampling_delay_s_)


# ------------------------------------------------------------------------------------------------ committee


@external
def open(epoch: uint64, replication: uint16, threshold_numerator: uint32, threshold_denominator: uint32, retention_s: uint32):
    """
    @notice Begin a committee, to be registered and sealed by the caller alone. One that the caller left unsealed is
            given up.
    """
    self._open(epoch, replication, threshold_numerator, threshold_denominator, retention_s, sampling_delay_s)


@internal
def _open(
    epoch: uint64,
    replication: uint16,
    threshold_numerator: uint32,
    threshold_denominator: uint32,
    retention_s: uint32,
    delay_s: uint64,
):
    assert replication > 0 and replication <= 128, "replication"
    assert threshold_numerator <= threshold_denominator, "threshold above one"
    assert 2 * convert(threshold_numerator, uint256) > convert(threshold_denominator, uint256), "threshold below half"
    assert delay_s < convert(retention_s, uint64), "sampling delay not below the retention"
    number: uint256 = self.opened + 1
    self.opened = number
    self.open_of[msg.sender] = number
    self.committees[number].parameters = (
        (convert(epoch, uint256) << 112)
        | (convert(replication, uint256) << 96)
        | (convert(threshold_numerator, uint256) << 64)
        | (convert(threshold_denominator, uint256) << 32)
        | convert(retention_s, uint256)
    )
    log Opened(number=number, epoch=epoch, registrar=msg.sender)


@internal
@view
def _parameters(number: uint256) -> Parameters:
    word: uint256 = self.committees[number].parameters
    low: uint256 = convert(max_value(uint32), uint256)
    return Parameters(
        epoch=convert(word >> 112, uint64),
        replication=convert((word >> 96) & convert(max_value(uint16), uint256), uint16),
        threshold_numerator=convert((word >> 64) & low, uint32),
        threshold_denominator=convert((word >> 32) & low, uint32),
        retention_s=convert(word & low, uint32),
    )


@external
def register(key: Bytes[128], possession: Bytes[256], stake: uint64, disperser: bool):
    """
    @notice Add the next member of the committee that the caller opened; keys come in ascending order of their
            compressed form, as the committee lists them.
    @param key         G1 point, EIP-2537 encoding
    @param possession  proof of possession, G2 point, EIP-2537 encoding: a signature of the compressed key
    """
    number: uint256 = self.open_of[msg.sender]
    assert number != 0, "no committee open"
    index: uint256 = self.committees[number].members
    assert index < MAX_MEMBERS, "committee full"
    assert stake > 0, "no stake"
    assert len(key) == 128 and len(possession) == 256, "length"
    point: Point = self._unpack(key)
    assert not self._is_identity(point), "identity key"

    compressed: Bytes[48] = self._compress(point)
    if index > 0:
        previous: Bytes[48] = self._compress(self.keys[number][unsafe_sub(index, 1)])
        assert self._less(previous, compressed), "keys out of order"

    # The pairing checks that both points are on the curve and in the subgroup.
    assert self._verify(key, compressed, DST_POSSESSION, possession), "bad proof of possession"

    self.keys[number][index] = point
    self.weights[number][index] = convert(stake, uint256) | (convert(disperser, uint256) << 64)
    if disperser:
        self.dispersers[number][sha256(concat(b"cellar/member/v1", compressed))] = True
    self.committees[number].members = index + 1
    self.committees[number].total_stake += convert(stake, uint256)
    if index == 0:
        self.committees[number].aggregate_key = point
    else:
        total: Bytes[128] = self._add(self._pack(self.committees[number].aggregate_key), key)
        self.committees[number].aggregate_key = self._unpack(total)
    log Registered(index=index, stake=convert(stake, uint256))


@external
def seal(expected_hash: bytes32):
    """
    @notice Freeze the committee that the caller opened: no account can change it any more. The first is in office.
    @dev    The hash is recomputed from storage, so a contract cannot claim a committee whose keys it does not hold.
    """
    number: uint256 = self.open_of[msg.sender]
    assert number != 0, "no committee open"
    members: uint256 = self.committees[number].members
    assert members > 0, "no members"
    assert self._committee_hash(number, members) == expected_hash, "not this committee"
    self.committees[number].hash = expected_hash
    self.open_of[msg.sender] = 0
    self.number_of[expected_hash] = number
    log Sealed(committee_hash=expected_hash, members=members)
    if number == 1:
        self._take_office(number)


@external
def activate(
    next_hash: bytes32,
    addresses_hash: bytes32,
    valid_until_s: uint64,
    signers: uint256,
    signature: Bytes[MAX_INPUT],
) -> uint8:
    """
    @notice Put a sealed committee in office, to which the one in office hands over; total, as `check_certificate`.
    @param next_hash       of the sealed committee
    @param addresses_hash  of the next members' names and URLs; signed, and not used here
    @param valid_until_s   Unix time up to which the old committee's certificates are valid
    @param signers         bit i is set if member i of the committee in office signed
    @return                a status code; only STATUS_OK changes anything
    """
    present: uint256 = self.in_office
    number: uint256 = self.number_of[next_hash]
    if present == 0 or number == 0:
        return STATUS_NOT_SEALED
    epoch: uint64 = self._parameters(present).epoch
    if not self._follows(number, epoch):
        return STATUS_BAD_EPOCH
    message: bytes32 = sha256(
        concat(
            b"cellar/handover/v1",
            convert(chain_id, bytes8),
            convert(self, bytes20),
            convert(convert(chain.id, uint64), bytes8),
            convert(epoch, bytes8),
            self.committees[present].hash,
            convert(epoch + 1, bytes8),
            next_hash,
            addresses_hash,
            convert(valid_until_s, bytes8),
        )
    )
    status: uint8 = self._signed(present, signers, message, signature)
    if status == STATUS_OK:
        self._end(present, valid_until_s)
        self._take_office(number)
    return status


@external
def announce_recovery(next_hash: bytes32):
    """
    @notice Name the sealed committee that follows when the one in office has lost its quorum. Naming another starts
            the delay again; zero takes it back.
    """
    assert recovery != empty(address) and msg.sender == recovery, "only the recovery account"
    number: uint256 = self.number_of[next_hash]
    if next_hash != empty(bytes32):
        # One of a later epoch could take office without a delay, right after a handover.
        assert self.in_office != 0 and number != 0, "not sealed"
        assert self._follows(number, self._parameters(self.in_office).epoch), "not of the next epoch"
    self.recovery_number = number
    self.recovery_ready_at = block.timestamp + convert(recovery_delay_s, uint256)
    log RecoveryAnnounced(committee_hash=next_hash, ready_at=self.recovery_ready_at)


@external
def recover():
    """
    @notice Put the named committee in office once the delay is over. Certificates of the old one end now. A committee
            that still has its quorum prevents this by handing over: the named one's epoch is then over.
    """
    number: uint256 = self.recovery_number
    present: uint256 = self.in_office
    assert number != 0 and block.timestamp >= self.recovery_ready_at, "no recovery is ready"
    assert self._follows(number, self._parameters(present).epoch), "not of the next epoch"
    self.recovery_number = 0
    self._end(present, convert(block.timestamp, uint64))
    self._take_office(number)


@internal
@view
def _follows(number: uint256, epoch: uint64) -> bool:
    return epoch < max_value(uint64) and self._parameters(number).epoch == unsafe_add(epoch, 1)


@internal
def _end(number: uint256, valid_until_s: uint64):
    # IN_OFFICE means that there is no end; the last second before it is far enough.
    until: uint64 = min(valid_until_s, IN_OFFICE - 1)
    self.offices[self.committees[number].hash] = number | (convert(until, uint256) << 64)


@internal
def _take_office(number: uint256):
    previous: uint256 = self.in_office
    until: uint64 = 0
    if previous != 0:
        until = convert(self.offices[self.committees[previous].hash] >> 64, uint64)
    self.in_office = number
    self.offices[self.committees[number].hash] = number | (convert(IN_OFFICE, uint256) << 64)
    log Activated(
        committee_hash=self.committees[number].hash,
        epoch=self._parameters(number).epoch,
        previous_valid_until=until,
    )


@external
@view
def committee_in_office() -> (bytes32, uint64):
    """
    @notice Hash and epoch of the committee in office; zeros before the first one.
    """
    return self.committees[self.in_office].hash, self._parameters(self.in_office).epoch


@external
@view
def valid_until(committee_hash: bytes32) -> uint64:
    """
    @notice Unix time up to which certificates of a committee are valid: 2^64 - 1 of the one in office, zero of one that
            never was.
    """
    return convert(self.offices[committee_hash] >> 64, uint64)


@internal
@view
def _committee_hash(number: uint256, members: uint256) -> bytes32:
    """
    The committee's canonical hash (docs/reference/wire-formats.md), from storage.
    """
    parameters: Parameters = self._parameters(number)
    encoding: Bytes[MAX_COMMITTEE] = concat(
        b"cellar/committee/v1",
        convert(chain_id, bytes8),
        convert(parameters.epoch, bytes8),
        convert(parameters.replication, bytes2),
        convert(parameters.threshold_numerator, bytes4),
        convert(parameters.threshold_denominator, bytes4),
        convert(parameters.retention_s, bytes4),
        convert(convert(members, uint16), bytes2),
    )
    for i: uint256 in range(members, bound=MAX_MEMBERS):
        weight: uint256 = self.weights[number][i]
        encoding = convert(
            concat(
                encoding,
                self._compress(self.keys[number][i]),
                convert(convert(weight & convert(max_value(uint64), uint256), uint64), bytes8),
                convert(convert(weight >> 64, uint8), bytes1),
            ),
            Bytes[MAX_COMMITTEE],
        )
    return sha256(encoding)

# ------------------------------------------------------------------------------------------------ guardians


@external
def veto(header_hash: bytes32, evidence: bytes32):
    """
    @notice A guardian's light client found this batch unavailable. Votes of `veto_quorum` guardians make a veto:
            nothing of the batch settles from then on.
    @param evidence  sha256 of the light client's report
    """
    bit: uint256 = self._bit(msg.sender)
    assert evidence != empty(bytes32), "no evidence"
    seats: uint256 = self.vetoes[header_hash].seats
    assert seats & bit == 0, "voted already"
    self.vetoes[header_hash].seats = seats | bit
    log VetoCast(header_hash=header_hash, guardian=msg.sender, evidence=evidence)
    if self.vetoes[header_hash].lift_until == 0 and self._vetoed(header_hash):
        self.vetoes[header_hash].lift_until = block.timestamp + convert(sampling_delay_s, uint256)


@external
def lift_veto(header_hash: bytes32):
    """
    @notice Take one's own vote back; until one sampling delay after the batch's votes first made a veto.
    """
    bit: uint256 = self._bit(msg.sender)
    seats: uint256 = self.vetoes[header_hash].seats
    assert seats & bit != 0, "no vote to lift"
    lift_until: uint256 = self.vetoes[header_hash].lift_until
    assert lift_until == 0 or block.timestamp <= lift_until, "too late to lift"
    self.vetoes[header_hash].seats = seats ^ bit
    log VetoLifted(header_hash=header_hash, guardian=msg.sender)


@external
@view
def vetoed(header_hash: bytes32) -> bool:
    """
    @notice Whether enough guardians voted against this batch.
    """
    return self._vetoed(header_hash)


@external
def propose_guardian(successor: address):
    """
    @notice A guardian names who may take over its seat; the zero address takes the proposal back.
    """
    assert self.seat_of[msg.sender] != 0, "only a guardian"
    self.proposed[msg.sender] = successor


@external
def accept_guardian(predecessor: address):
    """
    @notice Take over the seat of a guardian that proposed the caller; its votes stay with the seat.
    """
    assert self.proposed[predecessor] == msg.sender, "not proposed"
    self.proposed[predecessor] = empty(address)
    number: uint256 = self.seat_of[predecessor]
    self.seat_of[predecessor] = 0
    self._seat(msg.sender, number)


@internal
def _seat(guardian: address, number: uint256):
    assert guardian != empty(address) and self.seat_of[guardian] == 0, "not a new guardian"
    self.seat_of[guardian] = number
    log GuardianChanged(seat=number, guardian=guardian)


@internal
@view
def _bit(guardian: address) -> uint256:
    number: uint256 = self.seat_of[guardian]
    assert number != 0, "only a guardian"
    return convert(1, uint256) << unsafe_sub(number, 1)


@internal
@view
def _vetoed(header_hash: bytes32) -> bool:
    seats: uint256 = self.vetoes[header_hash].seats
    return seats != 0 and self._count(seats) >= veto_quorum

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
    number: uint256 = self.offices[convert(slice(header, 90, 32), bytes32)] & convert(max_value(uint64), uint256)
    until: uint256 = seconds + (self.committees[number].parameters & convert(max_value(uint32), uint256))
    if block.timestamp < seconds:
        return STATUS_TOO_EARLY
    if block.timestamp > until:
        return STATUS_EXPIRED
    header_hash: bytes32 = self._header_hash(header)
    if self._vetoed(header_hash):
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
    if self.retained_until[namespace][payload_id][header_hash] == 0:
        self.retained_until[namespace][payload_id][header_hash] = until
        if until > self.retained_until[namespace][payload_id][self.longest[namespace][payload_id]]:
            self.longest[namespace][payload_id] = header_hash
        log Settled(payload_id=payload_id, header_hash=header_hash, namespace=namespace, retained_until=until)
    return STATUS_OK


@external
@view
def settled(namespace: bytes32, payload_id: bytes32) -> (bytes32, uint256):
    """
    @notice Of the headers under which the payload was settled the one whose data is kept longest, and until when
            (Unix time); zeros if none. `retained_until` has each header's.
    """
    header_hash: bytes32 = self.longest[namespace][payload_id]
    return header_hash, self.retained_until[namespace][payload_id][header_hash]


@internal
@view
def _check(header: Bytes[MAX_INPUT], signers: uint256, signature: Bytes[MAX_INPUT]) -> uint8:
    if self.in_office == 0:
        return STATUS_NOT_SEALED
    if not self._well_formed(header):
        return STATUS_BAD_HEADER
    if convert(slice(header, 2, 8), uint256) != convert(chain_id, uint256):
        return STATUS_FOREIGN_CHAIN
    committee_hash: bytes32 = convert(slice(header, 90, 32), bytes32)
    office: uint256 = self.offices[committee_hash]
    if office == 0:
        return STATUS_FOREIGN_COMMITTEE
    until: uint256 = office >> 64
    if block.timestamp > until or convert(slice(header, 50, 8), uint256) > until * 1000:
        return STATUS_COMMITTEE_ENDED
    number: uint256 = office & convert(max_value(uint64), uint256)
    if not self.dispersers[number][convert(slice(header, 10, 32), bytes32)]:
        return STATUS_BAD_DISPERSER
    message: bytes32 = sha256(
        concat(b"cellar/attest/v1", slice(header, 2, 8), committee_hash, self._header_hash(header))
    )
    return self._signed(number, signers, message, signature)


@internal
@pure
def _well_formed(header: Bytes[MAX_INPUT]) -> bool:
    """
    Whether these bytes are a header: length, version, height, parent (zeros at height 1 and only there), rows.
    """
    if len(header) != HEADER_BYTES or convert(slice(header, 0, 2), uint256) != 1:
        return False
    height: uint256 = convert(slice(header, 42, 8), uint256)
    if height == 0 or (height == 1) != (convert(slice(header, 58, 32), bytes32) == empty(bytes32)):
        return False
    rows: uint256 = convert(slice(header, 122, 2), uint256)
    return rows > 0 and rows <= MAX_ROWS


@internal
@view
def _signed(number: uint256, signers: uint256, message: bytes32, signature: Bytes[MAX_INPUT]) -> uint8:
    """
    STATUS_OK if members with the threshold's stake in this committee signed the message together.
    """
    members: uint256 = self.committees[number].members
    everyone: uint256 = max_value(uint256) >> unsafe_sub(MAX_MEMBERS, members)
    if signers == 0 or signers & ~everyone != 0:
        return STATUS_BAD_SIGNERS

    # The sum of the signers' keys, or of all keys less the sum of the others': whichever has fewer additions.
    few: uint256 = signers ^ everyone
    complement: bool = self._count(few) <= self._count(signers)
    if not complement:
        few = signers
    stake: uint256 = 0
    key: Bytes[128] = concat(ZEROS, ZEROS)
    for i: uint256 in range(members, bound=MAX_MEMBERS):
        if few == 0:
            break
        if (few & 1) == 1:
            next_key: Bytes[128] = self._pack(self.keys[number][i])
            key = next_key if stake == 0 else self._add(key, next_key)
            stake += self.weights[number][i] & convert(max_value(uint64), uint256)
        few = few >> 1
    total_stake: uint256 = self.committees[number].total_stake
    if complement:
        sum_of_all: Point = self.committees[number].aggregate_key
        if stake == 0:
            key = self._pack(sum_of_all)
        else:
            key = self._add(self._pack(sum_of_all), self._pack(self._negate(self._unpack(key))))
        stake = total_stake - stake

    parameters: Parameters = self._parameters(number)
    if stake * convert(parameters.threshold_denominator, uint256) < total_stake * convert(
        parameters.threshold_numerator, uint256
    ):
        return STATUS_BELOW_THRESHOLD
    if len(signature) != 256:
        return STATUS_BAD_SIGNATURE
    if not self._verify(key, concat(message, b""), DST_SIGNATURE, slice(signature, 0, 256)):
        return STATUS_BAD_SIGNATURE
    return STATUS_OK


@internal
@pure
def _count(bits: uint256) -> uint256:
    """
    How many bits are set: sums of neighbouring 1, 2, 4 and 8 bits side by side, then of all 16-bit lanes.
    """
    x: uint256 = unsafe_sub(bits, (bits >> 1) & (max_value(uint256) // 3))
    x = (x & (max_value(uint256) // 5)) + ((x >> 2) & (max_value(uint256) // 5))
    x = unsafe_add(x, x >> 4) & (max_value(uint256) // 17)
    x = unsafe_add(x, x >> 8) & (max_value(uint256) // 257)
    return unsafe_mul(x, max_value(uint256) // 65535) >> 240


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
    if self._is_zero(key) or self._is_zero(signature):
        return False
    hashed: Bytes[256] = self._hash_to_g2(message, dst)
    answer: Bytes[256] = self._call(PAIRING, concat(NEGATED_G1, signature, key, hashed), GAS_PAIRING)
    return len(answer) == 32 and convert(slice(answer, 0, 32), uint256) == 1


@internal
@view
def _hash_to_g2(message: Bytes[48], dst: Bytes[44]) -> Bytes[256]:
    """
    RFC 9380 hash_to_curve: expand_message_xmd to 256 bytes, four elements mod p, two maps, one addition.
    MAP_FP2_TO_G2 clears the cofactor itself, and clearing is linear, so the sum needs no further step.
    """
    b0: bytes32 = sha256(concat(ZEROS, message, x"010000", dst))
    block_: bytes32 = sha256(concat(b0, x"01", dst))
    elements: DynArray[Bytes[48], 4] = []
    for i: uint256 in range(4):
        first: bytes32 = block_
        if i > 0:
            first = self._next_block(b0, block_, 2 * i + 1, dst)
        second: bytes32 = self._next_block(b0, first, 2 * i + 2, dst)
        block_ = second
        element: Bytes[256] = self._call(
            MODEXP,
            concat(convert(64, bytes32), convert(1, bytes32), convert(48, bytes32), first, second, x"01", P_BYTES),
            GAS_MODEXP,
        )
        assert len(element) == 48, "no modexp precompile"
        elements.append(slice(element, 0, 48))
    left: Bytes[256] = self._map_to_g2(elements[0], elements[1])
    right: Bytes[256] = self._map_to_g2(elements[2], elements[3])
    total: Bytes[256] = self._call(G2ADD, concat(left, right), GAS_G2ADD)
    assert len(total) == 256, "no EIP-2537 precompiles"
    return total


@internal
@pure
def _next_block(b0: bytes32, previous: bytes32, number: uint256, dst: Bytes[44]) -> bytes32:
    mixed: bytes32 = convert(convert(b0, uint256) ^ convert(previous, uint256), bytes32)
    return sha256(concat(mixed, convert(convert(number, uint8), bytes1), dst))


@internal
@view
def _map_to_g2(c0: Bytes[48], c1: Bytes[48]) -> Bytes[256]:
    point: Bytes[256] = self._call(MAP_FP2_TO_G2, concat(PAD_16, c0, PAD_16, c1), GAS_MAP)
    assert len(point) == 256, "no EIP-2537 precompiles"
    return point


@internal
@view
def _add(left: Bytes[128], right: Bytes[128]) -> Bytes[128]:
    total: Bytes[256] = self._call(G1ADD, concat(left, right), GAS_G1ADD)
    assert len(total) == 128, "no EIP-2537 precompiles"
    return slice(total, 0, 128)


@internal
@view
def _call(precompile: address, data: Bytes[768], cap: uint256) -> Bytes[256]:
    """
    A precompile's answer, empty if it failed. Reverts when less than `cap` could be forwarded to it: a CALL forwards
    at most a - a // 64 of the gas a that is left, and that is at least cap if a >= cap * 64 / 63.
    """
    assert msg.gas > cap + cap // 63 + GAS_MARGIN, "not enough gas"
    ok: bool = False
    answer: Bytes[256] = b""
    ok, answer = raw_call(
        precompile, data, max_outsize=256, gas=cap, is_static_call=True, revert_on_failure=False
    )
    return answer if ok else b""


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
    # y -> p - y, word by word; y is 0 for the identity alone, which is its own negation, and never above p.
    if self._is_identity(point):
        return point
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
def _is_identity(point: Point) -> bool:
    return point.x_low | point.y_low | point.high == 0


@internal
@pure
def _is_zero(words: Bytes[256]) -> bool:
    digest: bytes32 = keccak256(words)
    return digest == keccak256(concat(ZEROS, ZEROS)) or digest == keccak256(concat(ZEROS, ZEROS, ZEROS, ZEROS))
