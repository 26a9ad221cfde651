"""CRC-32C (Castagnoli), with NumPy: many stretches of the data at once, then joined.

The checksum is linear over GF(2): that of `a` followed by `b` is that of `a`, moved on by the
length of `b`, exclusive-or that of `b`. Polynomial 0x1EDC6F41, as in RFC 3720.
"""

import numpy as np

from frostline.networks.weights_files.records import Array

_POLYNOMIAL = 0x82F63B78  # its bits in reverse, since the lowest bit comes first
_ONES = 0xFFFFFFFF
_LANES = 4096


def _table() -> Array:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values


_TABLE = _table()
_ROW = [int(value) for value in _TABLE]


def checksum(data: bytes) -> int:
    """Returns the CRC-32C of `data`."""
    length = len(data) // _LANES
    if length < 16:
        return _plain(data, _ONES) ^ _ONES
    cut = length * _LANES
    # Stretch by stretch, columns first: one step takes the next byte of all stretches.
    columns = np.ascontiguousarray(np.frombuffer(data[:cut], np.uint8).reshape(_LANES, length).T)
    states = np.zeros(_LANES, np.uint32)
    states[0] = _ONES
    for column in columns:
        states = _TABLE[(states ^ column) & 255] ^ (states >> np.uint32(8))
    return _plain(data[cut:], _join(states, length)) ^ _ONES


def unmasked(stored: int) -> int:
    """Returns the checksum behind the form in which LevelDB's tables store it."""
    turned = (stored - 0xA282EAD8) & _ONES
    return ((turned >> 17) | (turned << 15)) & _ONES


def _plain(data: bytes, state: int) -> int:
    row = _ROW
    for byte in data:
        state = row[(state ^ byte) & 255] ^ (state >> 8)
    return state


def _join(states: Array, length: int) -> int:
    """Joins the states of neighbouring stretches in pairs, until one is left."""
    move = _moved_by(length)
    while len(states) > 1:
        states = _apply(move, states[0::2]) ^ states[1::2]
        move = _apply(move, move)
    return int(states[0])


def _moved_by(length: int) -> Array:
    """Returns what becomes of each of the 32 bits after `length` bytes of zero."""
    step = np.uint32(1) << np.arange(32, dtype=np.uint32)
    found = step
    step = _TABLE[step & 255] ^ (step >> np.uint32(8))
    while length:
        if length & 1:
            found = _apply(step, found)
        step = _apply(step, step)
        length >>= 1
    return found


def _apply(columns: Array, states: Array) -> Array:
    """Multiplies the bit matrix `columns` [32] with each state."""
    result = np.zeros_like(states)
    for bit in range(32):
        result ^= np.where((states >> np.uint32(bit)) & np.uint32(1), columns[bit], np.uint32(0))
    return result
