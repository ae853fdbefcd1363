"""The DICOM header of a received image or of a result, as it lies in the store: every attribute, nested ones too."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import DataElement, Dataset, dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import Engine, select

from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import instances, results

#: Of a sequence with more items the first ones are shown, as those of frames are alike; a report's content is not.
_MOST_ITEMS: Final = 8
_UNLIKE: Final = "ContentSequence"
_MOST_LINES: Final = 3000
_LONGEST: Final = 300
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
#: Larger values stay in the file.
_DEFER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """One attribute, or one item of a sequence.

    Parameters
    ----------
    depth : int
        0 for the data set itself; an item of a sequence and its attributes lie one deeper.
    tag : str
        "(0010,0010)"; empty for an item.
    name : str
        The keyword of PS3.6, for a private attribute its number, for an item "Item 1 of 3".
    """

    depth: int
    tag: str
    vr: str
    name: str
    value: str


def path_in(engine: Engine, study: str, sop_instance_uid: str) -> str | None:
    """Return where a received instance or a result of a study lies in the store; None if there is none."""
    received = select(instances.c.path).where(
        instances.c.study_instance_uid == study,
        instances.c.sop_instance_uid == sop_instance_uid,
        instances.c.current.is_(True),
    )
    made = select(results.c.path).where(
        results.c.study_instance_uid == study, results.c.sop_instance_uid == sop_instance_uid
    )
    with reading(engine).connect() as connection:
        path = connection.execute(made).scalar() or connection.execute(received).scalar()
    return None if path is None else str(path)


def full_header(engine: Engine, store: Path, study: str, sop_instance_uid: str) -> tuple[HeaderLine, ...] | None:
    """Return every attribute of an object but its pixels; None if there is no such object, or its file is gone."""
    path = path_in(engine, study, sop_instance_uid)
    if path is None:
        return None
    try:
        dataset = dcmread(store / path, stop_before_pixels=True, defer_size=_DEFER_BYTES)
    except (OSError, InvalidDicomError):
        return None
    lines: list[HeaderLine] = []
    for line in (*_lines(dataset.file_meta, 0), *_lines(dataset, 0)):
        if len(lines) == _MOST_LINES:
            return (*lines, HeaderLine(0, "", "", "More", f"only the first {_MOST_LINES} lines are shown"))
        lines.append(line)
    return tuple(lines)


def _lines(dataset: Dataset, depth: int) -> Iterator[HeaderLine]:
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
            number = f"({tag.group:04X},{tag.element:04X})"
            name = element.keyword or (f"Private {number}" if tag.is_private else number)
            yield HeaderLine(depth, number, element.VR, name, _value(element))
        except Exception:  # noqa: BLE001 - the named boundary: damaged values make pydicom raise anything
            yield HeaderLine(depth, str(tag), "", "", "(cannot be read)")
            continue
        if element.VR == "SQ":
            yield from _items(element, depth + 1)


def _items(element: DataElement, depth: int) -> Iterator[HeaderLine]:
    count = len(element.value)
    shown = count if element.keyword == _UNLIKE else min(count, _MOST_ITEMS)
    for number, item in enumerate(element.value[:shown], 1):
        yield HeaderLine(depth, "", "", f"Item {number} of {count}", "")
        yield from _lines(item, depth)
    if count > shown:
        yield HeaderLine(depth, "", "", "More items", f"{count - shown} more, not shown")


def _value(element: DataElement) -> str:
    if element.VR == "SQ":
        return f"{len(element.value)} item(s)"
    if element.VR in _BYTES:
        return f"({len(element.value or b'')} bytes)"
    values = element.value if element.VM > 1 else [element.value]
    name = (
        f" ({element.value.name})"
        if element.VR == "UI" and element.VM == 1 and element.value.name[:1].isalpha()
        else ""
    )
    text = "\\".join("" if value is None else str(value) for value in values) + name
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def wanted(lines: tuple[HeaderLine, ...], words: str) -> tuple[HeaderLine, ...]:
    """Return the lines in which every word stands, in tag, name or value; all of them without a word.

    What a line lies in, its sequence and item, is kept with it.
    """
    asked = words.casefold().split()
    if not asked:
        return lines
    kept: set[int] = set()
    above: list[int] = []
    for index, line in enumerate(lines):
        # an item has the depth of its attributes, and lies above them
        while above and _level(lines[above[-1]]) >= _level(line):
            above.pop()
        text = f"{line.tag} {line.name} {line.value}".casefold()
        if all(word in text for word in asked):
            kept |= {*above, index}
        if line.vr == "SQ" or not line.tag:
            above.append(index)
    return tuple(lines[index] for index in sorted(kept))


def _level(line: HeaderLine) -> tuple[int, bool]:
    return line.depth, bool(line.tag)
