"""Text as arrays of 64-bit words, eight bytes each, the first one lowest: comparing, finding, reading numbers.

Every operation works on all groups of a round at once, so the cost of Python is per round and not per group.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

U = np.uint64
_ONES = 0x0101010101010101
_ONE = U(1)
_SEVEN = U(7)
_EIGHT = U(8)
_HIGH = U(0x80 * _ONES)
_ZEROS = U(0x30 * _ONES)
_TO_HIGH = U(0x76 * _ONES)
_BACKTICKS = U(0x60 * _ONES)
_SIX_TO_HIGH = U(0x79 * _ONES)
_ONE_TO_HIGH = U(0x7F * _ONES)
_SIXTEEN = U(16)
_THIRTY_TWO = U(32)
_SIXTY_FOUR = U(64)
_TENS = U(2561)
_HUNDREDS = U(6553601)
_TEN_THOUSANDS = U(42949672960001)
_PAIRS = U(0x00FF00FF00FF00FF)
_FOURS = U(0x0000FFFF0000FFFF)


def word(text: str) -> np.uint64:
    """Up to eight characters as a word."""
    return U(int.from_bytes(text.encode(), "little"))


def column(block: npt.NDArray[np.void], offset: int) -> Words:
    """The word at this offset of each copied block."""
    return np.ndarray((len(block),), np.uint64, block, offset, (block.itemsize,))


def copied(data: bytes, at: Ints, size: int) -> npt.NDArray[np.void]:
    """So many bytes from each position. 56 of them cost hardly more than 8 (8.0 and 8.6 ns): the cache line is there."""
    return np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))[at]


def lowest(flags: Words) -> Words:
    """Bits below the byte that holds the lowest flag (a byte's high bit); 57, which is no whole byte, for none."""
    below = (flags & np.negative(flags)) - _ONE
    length: Words = np.bitwise_count(below).astype(np.uint64) - _SEVEN
    return length


def bits(words: Words) -> Words:
    """Bits of the decimal digits a word begins with; 57 when all eight bytes are digits."""
    return lowest(_no_digit(words))


def _no_digit(words: Words) -> Words:
    """Flags at the bytes that are no digits, exact up to the first of them.

    Such a byte is at least 10 after the xor, so adding 118 sets its high bit. A byte above 127 has it already, and may
    lose it by the addition and carry into the next byte, which does no harm: only the lowest flag counts.
    """
    digits = words ^ _ZEROS
    return (digits + _TO_HIGH | digits) & _HIGH


def whole(length: Words, digits: int) -> Flags:
    """Whether a length in bits is that of 1 to so many digits; below 8 the subtraction wraps round."""
    return length - _EIGHT <= U(8 * digits - 8)


def value(words: Words, length: Words) -> Words:
    """The number that the first digits of a word mean: pairs, then fours, then all eight, by three multiplications."""
    digits = (words ^ _ZEROS) << (_SIXTY_FOUR - length)
    digits = (digits * _TENS >> _EIGHT) & _PAIRS
    digits = (digits * _HUNDREDS >> _SIXTEEN) & _FOURS
    return digits * _TEN_THOUSANDS >> _THIRTY_TWO


def hex_bits(words: Words) -> Words:
    """Bits of the hexadecimal digits (0-9, a-f) a word begins with; 57 for eight."""
    letter = words ^ _BACKTICKS  # a-f are 1 to 6
    no_letter = (letter + _SIX_TO_HIGH) | ~(letter + _ONE_TO_HIGH)
    return lowest(_no_digit(words) & no_letter)


def joined(low: Words, high: Words, skip: Words) -> Words:
    """The word that begins `skip` bits (0 to 64) behind the begin of `low`, which `high` follows."""
    return (low >> skip) | (high << (_SIXTY_FOUR - skip))
