"""About how many different users there were, without a list of them."""

import math
from typing import Final

import msgspec

# 2,048 registers of a byte: the standard error is 1.04/√2048, 2.3 %.
_BITS: Final = 11
_REGISTERS: Final = 1 << _BITS
# Of a mark there are 58 bits; what is left of them has its lowest one at 48 at the latest.
_LAST: Final = 48
_BIAS: Final = 0.7213 / (1 + 1.079 / _REGISTERS)


class Census(msgspec.Struct):
    """Counts marks, each once however often it is added: HyperLogLog (Flajolet, Fusy, Gandouet & Meunier 2007), with
    linear counting as long as few registers are used, which is nearly exact for up to a few hundred.
    """

    registers: bytearray = msgspec.field(default_factory=lambda: bytearray(_REGISTERS))

    def add(self, mark: int) -> None:
        """*mark*: uniform bits, always the same ones for the same user."""
        register, rest = mark % _REGISTERS, mark >> _BITS
        rank = (rest & -rest).bit_length() or _LAST
        if rank > self.registers[register]:
            self.registers[register] = rank

    def count(self) -> int:
        """How many different marks were added, about."""
        estimate = _BIAS * _REGISTERS * _REGISTERS / sum(2.0**-rank for rank in self.registers)
        empty = self.registers.count(0)
        if empty and estimate <= 2.5 * _REGISTERS:
            estimate = _REGISTERS * math.log(_REGISTERS / empty)
        return round(estimate)

    def merge(self, other: "Census") -> None:
        """Adds the marks of another one. Those of both count once."""
        self.registers = bytearray(map(max, zip(self.registers, other.registers, strict=True)))
