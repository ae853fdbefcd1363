"""Damage with a seed: to bytes, to PDUs, to command sets and to data sets. The same dice give the same input."""

import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.recording import DataSet
from bench.upper_layer import (
    ABORT,
    C_STORE_RQ,
    EXPLICIT_LITTLE,
    MR_STORAGE,
    P_DATA,
    VERIFICATION,
    associate_rq,
    c_echo_rq,
    c_store,
    c_store_rq,
    command_set,
    p_data,
    pdu,
    split,
)

_CALLED, _CALLING = "NODE", "STORESCU"
_INTERESTING: Final = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 2**31 - 1, 2**32 - 1)
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_COMMIT: Final = "1.2.840.10008.1.20.1"
_MANY: Final = 20
_RELEASE: Final = pdu(5, bytes(4))
Dice = random.Random


@dataclass(frozen=True, slots=True)
class Input:
    """What one hostile peer sends.

    Parameters
    ----------
    pieces : tuple of bytes
        Sent one after the other; the first is the association request, where there is one.
    data_sets : mapping
        SOP Instance UID to the data set, for what may rightly be acknowledged.
    """

    kind: str
    pieces: tuple[bytes, ...]
    data_sets: Mapping[str, bytes]
    cut: bool = False  # hang up at once, without waiting for any answer


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is damaged: recorded streams (bytes of the caller, whole associations) and data sets."""

    streams: Sequence[bytes]
    data_sets: Sequence[DataSet]


def make(corpus: Corpus, seed: int, number: int) -> Input:
    """Return input `number` of a seed."""
    dice = random.Random(f"{seed}/{number}")  # noqa: S311 - guards no secret
    kind = dice.choice(tuple(_KINDS))
    return _KINDS[kind](corpus, dice)


def uid(dice: Dice) -> str:
    """Return a fresh UID of the dice."""
    return f"2.25.{dice.getrandbits(120) + 1}"


def scrambled(data: bytes, dice: Dice) -> bytes:
    """Return bytes with a few places flipped, overwritten, cut out, doubled or cut off."""
    raw = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8, 30))):
        if not raw:
            break
        at = dice.randrange(len(raw))
        length = dice.choice((1, 2, 4, 16, 200))
        how = dice.randrange(7)
        if how == 0:
            raw[at] ^= 1 << dice.randrange(8)
        elif how == 1:
            raw[at : at + length] = dice.randbytes(length)
        elif how == 2:
            del raw[at : at + length]
        elif how == 3:
            raw[at:at] = raw[at : at + length]
        elif how == 4:
            number = dice.choice(_INTERESTING)
            raw[at : at + 4] = struct.pack(dice.choice("<>") + "I", number)
        elif how == 5:
            raw[at : at + 2] = struct.pack(dice.choice("<>") + "H", dice.choice(_INTERESTING) & 0xFFFF)
        elif dice.random() < 0.3:
            del raw[at:]
    return bytes(raw)


def _bytes(corpus: Corpus, dice: Dice) -> Input:
    if dice.random() < 0.2:
        noise = dice.randbytes(dice.choice((1, 6, 10, 100, 5000)))
        return Input("bytes", (noise if dice.random() < 0.5 else b"\1" + noise,), {})
    return Input("bytes", (scrambled(dice.choice(corpus.streams), dice),), {})


def _pdus(corpus: Corpus, dice: Dice) -> Input:
    """Damage the frames of a recorded association: types, lengths, order, and what heads each fragment."""
    frames = [pdu(kind, body) for kind, body in split(dice.choice(corpus.streams))]
    for _ in range(dice.choice((1, 1, 2, 4))):
        if not frames:
            break
        at = dice.randrange(len(frames))
        how = dice.choice((_retyped, _resized, _reheaded, _doubled, _dropped, _swapped, _inserted))
        frames = how(frames, at, dice) or frames
    return Input("PDUs", tuple(frames), {})


def _retyped(frames: list[bytes], at: int, dice: Dice) -> list[bytes]:
    return [*frames[:at], bytes([dice.choice((0, *range(1, 9), 255))]) + frames[at][1:], *frames[at + 1 :]]


def _resized(frames: list[bytes], at: int, dice: Dice) -> list[bytes]:
    length = len(frames[at]) - 6
    wrong = dice.choice((*_INTERESTING, length - 1, length + 1, length * 2)) & 0xFFFFFFFF
    return [*frames[:at], frames[at][:2] + struct.pack(">I", wrong) + frames[at][6:], *frames[at + 1 :]]


def _reheaded(frames: list[bytes], at: int, dice: Dice) -> list[bytes]:
    whole = 12  # header of PDU and fragment
    fragments = [number for number, frame in enumerate(frames) if frame[0] == P_DATA and len(frame) >= whole]
    if not fragments:
        return frames
    at = dice.choice(fragments)
    raw = bytearray(frames[at])
    if dice.random() < 0.4:
        raw[6:10] = struct.pack(">I", dice.choice((*_INTERESTING, len(raw) - 9, len(raw) - 11)))
    elif dice.random() < 0.5:
        raw[10] = dice.randrange(256)
    else:
        raw[11] = dice.choice((0, 1, 2, 3, 4, 0x83, 0xFF))
    return [*frames[:at], bytes(raw), *frames[at + 1 :]]


def _doubled(frames: list[bytes], at: int, _dice: Dice) -> list[bytes]:
    return [*frames[: at + 1], *frames[at:]]


def _dropped(frames: list[bytes], at: int, _dice: Dice) -> list[bytes]:
    return frames[:at] + frames[at + 1 :]


def _swapped(frames: list[bytes], at: int, dice: Dice) -> list[bytes]:
    other = dice.randrange(len(frames))
    frames = list(frames)
    frames[at], frames[other] = frames[other], frames[at]
    return frames


def _inserted(frames: list[bytes], at: int, dice: Dice) -> list[bytes]:
    kind = dice.randrange(1, 9)
    body = dice.choice((b"", bytes(4), dice.randbytes(dice.randrange(64)), struct.pack(">IBB", 2, 1, 3)))
    return [*frames[:at], pdu(kind, body), *frames[at:]]


def _requests(corpus: Corpus, dice: Dice) -> Input:
    """Damage the association request alone; what follows it is right."""
    contexts = [(MR_STORAGE, EXPLICIT_LITTLE)] * dice.choice((0, 1, 2, 127))
    contexts += [(dice.choice((VERIFICATION, "", "1" * 64, "9.9.9", "x" * 300, _COMMIT)), EXPLICIT_LITTLE)]
    titles = ("", _CALLING, "A" * 16, "\x00\x01", "B\\C", "Ä" * 8)
    calling, called = (dice.choice(titles) if dice.random() < 0.3 else name for name in (_CALLING, _CALLED))
    request = associate_rq(calling, called, contexts, dice.choice((0, 1, 7, 12, 4096, 2**32 - 1)))
    request = request if dice.random() < 0.3 else request[:6] + scrambled(request[6:], dice)
    if dice.random() < 0.7:
        request = request[:2] + struct.pack(">I", len(request) - 6) + request[6:]
    image = dice.choice(corpus.data_sets)
    store = c_store(1, 1, image.sop_class_uid, image.sop_instance_uid, image.data)
    return Input("association requests", (request, store), {image.sop_instance_uid: image.data})


def _commands(corpus: Corpus, dice: Dice) -> Input:
    """Damage the command set; the data set is right."""
    image = dice.choice(corpus.data_sets)
    contexts = [(image.sop_class_uid, image.transfer_syntax_uid), (VERIFICATION, EXPLICIT_LITTLE)]
    command = dice.choice(
        (
            scrambled(c_store_rq(1, image.sop_class_uid, image.sop_instance_uid), dice),
            scrambled(c_echo_rq(1), dice),
            _odd_command(dice, image),
            _odd_command(dice, image),
        )
    )
    follows = b"".join(p_data(dice.choice((1, 1, 3, 5)), image.data, command=False))
    asked = b"".join(p_data(dice.choice((1, 1, 1, 3, 5, 0)), command, command=True, maximum=dice.choice((12, 16384))))
    echo = b"".join(p_data(3, c_echo_rq(7), command=True))
    pieces = (associate_rq(_CALLING, _CALLED, contexts), asked, follows, echo, _RELEASE)
    return Input("command sets", pieces, {image.sop_instance_uid: image.data})


def _odd_command(dice: Dice, image: DataSet) -> bytes:
    field = dice.choice((C_STORE_RQ, 0x0020, 0x0021, 0x0010, 0x0030, 0x0100, 0x0130, 0x0140, 0x0FFF, 0x8001, 0x8030))
    strange = ("", "x" * 200, "1." * 40, image.sop_instance_uid, "\0", "../../x", _COMMIT)
    elements: dict[int, int | str] = {0x0002: image.sop_class_uid, 0x0100: field, 0x0110: 1, 0x0700: 2, 0x0800: 0}
    elements[0x1000] = image.sop_instance_uid
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        at = dice.choice((*elements, 0x0003, 0x0120, 0x0900, 0x1001, 0x1008, 0x1030, 0x1031))
        change = dice.choice(("drop", "number", "text"))
        if change == "drop":
            elements.pop(at, None)
        else:
            elements[at] = dice.choice(_INTERESTING) & 0xFFFF if change == "number" else dice.choice(strange)
    return command_set(elements)


def _objects(corpus: Corpus, dice: Dice) -> Input:
    """Damage the data set; the messages are right."""
    image = dice.choice(corpus.data_sets)
    data = scrambled(image.data, dice)
    if dice.random() < 0.02:
        deflated = zlib.compressobj(wbits=-15)
        image = DataSet(image.sop_class_uid, image.sop_instance_uid, _DEFLATED, b"")
        data = deflated.compress(bytes(30_000_000)) + deflated.flush()
    if dice.random() < 0.5:  # as another instance: bytes of its length, so that a right file stays right
        data, image = _renamed(data, image, dice)
    maximum = dice.choice((16384, 16384, 512, 8, 131072))
    data = data[:4000] if maximum == 8 else data
    contexts = [(image.sop_class_uid, image.transfer_syntax_uid)]
    request = b"".join(p_data(1, c_store_rq(1, image.sop_class_uid, image.sop_instance_uid), command=True))
    body = b"".join(p_data(1, data, command=False, maximum=maximum))
    pieces = (associate_rq(_CALLING, _CALLED, contexts), request + body, _RELEASE)
    return Input("data sets", pieces, {image.sop_instance_uid: data})


def _renamed(data: bytes, image: DataSet, dice: Dice) -> tuple[bytes, DataSet]:
    old = image.sop_instance_uid
    new = (uid(dice) + "1" * 64)[: len(old)]
    renamed = DataSet(image.sop_class_uid, new, image.transfer_syntax_uid, b"")
    return (data.replace(old.encode(), new.encode()), renamed) if len(old) > _MANY else (data, image)


def _broken_off(corpus: Corpus, dice: Dice) -> Input:
    """Stop in the middle of an object: by abort, or by hanging up."""
    image = dice.choice(corpus.data_sets)
    whole = c_store(1, 1, image.sop_class_uid, image.sop_instance_uid, image.data)
    half = whole[: dice.randrange(len(whole))]
    if dice.random() < 0.5:  # at the end of a PDU, so that the abort is understood
        half = b"".join(pdu(kind, body) for kind, body in split(half)) + pdu(ABORT, bytes(4))
    contexts = [(image.sop_class_uid, image.transfer_syntax_uid)]
    pieces = (associate_rq(_CALLING, _CALLED, contexts), half)
    return Input("broken off", pieces, {}, cut=dice.random() < 0.5)


def _knock(_corpus: Corpus, _dice: Dice) -> Input:
    return Input("opened and closed", (), {}, cut=True)


_KINDS: Final[Mapping[str, Callable[[Corpus, Dice], Input]]] = {
    "bytes": _bytes,
    "PDUs": _pdus,
    "association requests": _requests,
    "command sets": _commands,
    "data sets": _objects,
    "broken off": _broken_off,
    "opened and closed": _knock,
}
