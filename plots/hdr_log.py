"""Reads HDR V2 interval logs (`latency.hlog`).

A log line is `[Tag=T,]start,length,max,histogram`; lines that start with `#` and the column names
in quotes are no intervals. Lines with a tag are parts of the latency (fill, queue, service) of the line
before them without one, which holds the whole: adding them up would count every operation again. A histogram is base64 of

    compressed := cookie 0x1c849314 | length: u32 | zlib of plain, of that length
    plain      := cookie 0x1c849313 | payload length: u32 | normalizing offset: u32
                  | significant digits: u32 | lowest value: u64 | highest value: u64 | ratio: f64
                  | payload

all big-endian. The payload is a list of zigzag LEB128 numbers: a positive one is the next slot's
count, a negative one skips that many empty slots. The format and the mapping of slots to values are
those of HdrHistogram (V2, see its `AbstractHistogram` and its `EncodableHistogram`). Decoded here,
because the `hdrhistogram` package compiles C where it has no wheel.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PLAIN = 0x1C849303
_COMPRESSED = 0x1C849304
# Bits of the cookie that hold the word size, not the kind.
_WORD_SIZE_BITS = 0xF0
_HEADER = struct.Struct(">IIIIQQd")
# Histograms of a run are kilobytes; a forged one must not fill the memory.
_PLAIN_BYTES_MAX = 64 << 20


class LogError(ValueError):
    """A histogram that cannot be decoded; the text says why."""


@dataclass(frozen=True)
class Interval:
    """One line of a log."""

    end_secs: float  # since the log's start
    counts: Counter[int]  # highest value of a slot, in the log's recorded unit -> recorded values


@dataclass(frozen=True)
class Log:
    """A log's intervals, one by one and added up."""

    counts: Counter[int]
    intervals: tuple[Interval, ...]
    broken_lines: tuple[int, ...]  # numbers of lines that could not be read, from 1


def read_log(path: Path, tag: str = "") -> Log:
    """Reads the lines with this tag; one that is cut off or damaged is skipped and reported."""
    counts: Counter[int] = Counter()
    intervals = []
    broken = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith(("#", '"')):
            continue
        fields = line.split(",")
        tagged = fields[0].startswith("Tag=")
        if (fields[0].removeprefix("Tag=") if tagged else "") != tag:
            continue
        if tagged:
            fields = fields[1:]
        try:
            if len(fields) != 4:
                raise LogError(f"{len(fields)} fields instead of 4")
            interval = Interval(
                float(fields[0]) + float(fields[1]), Counter(decode_histogram(fields[3]))
            )
        except ValueError:  # LogError is one
            broken.append(number)
            continue
        intervals.append(interval)
        counts.update(interval.counts)
    return Log(counts, tuple(intervals), tuple(broken))


def decode_histogram(text: str) -> dict[int, int]:
    """The counts of one encoded histogram, by the highest value that a slot stands for."""
    plain = _unpack(text)
    if len(plain) < _HEADER.size:
        raise LogError("the histogram is cut off in its header")
    cookie, payload_bytes, _, digits, lowest, _, _ = _HEADER.unpack_from(plain)
    if cookie & ~_WORD_SIZE_BITS != _PLAIN:
        raise LogError(f"unknown histogram format {cookie:#x}")
    payload = plain[_HEADER.size : _HEADER.size + payload_bytes]
    if len(payload) != payload_bytes or digits > 5 or lowest < 1:
        raise LogError("the histogram's header does not fit its payload")
    slots = _Slots(digits, lowest)
    counts: dict[int, int] = {}
    slot = 0
    for number in _numbers(payload):
        if number < 0:
            slot -= number
        else:
            if number:
                counts[slots.highest_value(slot)] = number
            slot += 1
        if slot > slots.count_max:
            raise LogError("the histogram has more slots than 64-bit values")
    return counts


def _unpack(text: str) -> bytes:
    try:
        packed = base64.b64decode(text, validate=True)
        cookie, length = struct.unpack_from(">II", packed)
        if cookie & ~_WORD_SIZE_BITS != _COMPRESSED:
            return packed
        inflate = zlib.decompressobj()
        plain = inflate.decompress(packed[8 : 8 + length], _PLAIN_BYTES_MAX)
    except (ValueError, struct.error, zlib.error) as error:
        raise LogError(str(error)) from None
    if not inflate.eof:
        raise LogError("the compressed histogram is cut off")
    return plain


def _numbers(payload: bytes) -> Iterator[int]:
    """Zigzag LEB128 of at most 9 bytes, the ninth with 8 bits."""
    position = 0
    while position < len(payload):
        value = 0
        for index in range(9):
            if position == len(payload):
                raise LogError("the histogram is cut off in a count")
            byte = payload[position]
            position += 1
            if index == 8:
                value |= byte << 56
                break
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                break
        yield (value >> 1) ^ -(value & 1)


class _Slots:
    """Which values a slot of the histogram stands for."""

    def __init__(self, digits: int, lowest: int) -> None:
        self._unit_bits = lowest.bit_length() - 1
        # Enough linear steps to tell apart values that differ in the last significant digit.
        self._half_bits = (2 * 10**digits - 1).bit_length() - 1
        self.count_max = 65 << self._half_bits

    def highest_value(self, slot: int) -> int:
        half = 1 << self._half_bits
        bucket = (slot >> self._half_bits) - 1
        step = (slot & (half - 1)) + half
        if bucket < 0:
            bucket, step = 0, step - half
        width_bits = bucket + self._unit_bits
        return ((step + 1) << width_bits) - 1
