"""What a compiled kernel costs, read from NVRTC's log and from the machine code.

Registers and spills are in the log of ptxas. Instructions are counted in the cubin (an ELF file): each kernel
has a section `.text.<kernel>`, which holds the functions that it calls too; an instruction of compute
capability 7.0 to 12.x is 16 bytes, and the low 9 bits of the first tell what it does. IMAD.WIDE is 0x25: the
multiply that the field's carry chains are made of. Written as two instructions (lo and hi), a product costs
twice.

Source: opcodes as cuobjdump prints them; https://github.com/cloudcores/CuAssembler documents the encoding.
"""

from __future__ import annotations

import re
import struct
from dataclasses import asdict, dataclass

from gpu.cuda.nvrtc import Compiled

IMAD, IMAD_WIDE, IMAD_HI = 0x24, 0x25, 0x27

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


@dataclass(frozen=True, slots=True)
class Cost:
    """One kernel: 32-bit registers to a thread, bytes of stack and of spills, instructions of each kind."""

    registers: int
    stack_bytes: int
    spill_bytes: int
    instructions: int
    wide_multiplies: int
    high_multiplies: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def costs(compiled: Compiled) -> dict[str, Cost]:
    """Every kernel of a compilation."""
    resources = _resources(compiled.log)
    code = {name: _opcodes(text) for name, text in _sections(compiled.cubin).items()}
    return {
        name: Cost(
            *resources[name],
            len(code[name]),
            code[name].count(IMAD_WIDE),
            code[name].count(IMAD_HI),
        )
        for name in sorted(resources)
    }


def _resources(log: str) -> dict[str, tuple[int, int, int]]:
    """Registers, stack and spills from ptxas's lines: the entry's own come first, then those of what it
    calls."""
    out: dict[str, tuple[int, int, int]] = {}
    entry, stack, spills = "", 0, 0
    for line in log.splitlines():
        if found := _ENTRY.search(line):
            entry, stack, spills = found[1], 0, 0
        elif found := _SPILLS.search(line):
            if entry and entry not in out:
                stack, spills = int(found[1]), int(found[2]) + int(found[3])
            elif entry:  # a function that the entry calls
                registers, stack_before, spills_before = out[entry]
                out[entry] = (
                    registers,
                    stack_before + int(found[1]),
                    spills_before + int(found[2]) + int(found[3]),
                )
        elif (found := _REGISTERS.search(line)) and entry:
            out[entry] = (int(found[1]), stack, spills)
    return out


def _sections(cubin: bytes) -> dict[str, bytes]:
    """The machine code by kernel."""
    (offset,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", cubin, offset + i * size) for i in range(count)]
    names = headers[names_index][4]
    out = {}
    for name, _, _, _, start, length in headers:
        end = cubin.index(b"\0", names + name)
        text = cubin[names + name : end].decode()
        if text.startswith(".text."):
            out[text.removeprefix(".text.")] = cubin[start : start + length]
    return out


def _opcodes(code: bytes) -> list[int]:
    return [word & 0x1FF for (word,) in struct.iter_unpack("<Q8x", code)]
