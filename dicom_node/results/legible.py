"""Findings whose labels and codes can be written in the character set of the source.

Of a label in another script nothing would be left, and two structures would be one to the reader: such a label gives
way to the meaning of its code, in every kind of result alike.
"""

from dataclasses import fields, replace
from itertools import count
from typing import Any, TypeVar

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Findings, Location, Segment
from dicom_node.results.characters import UNKNOWN, CharacterSet, fits, written
from dicom_node.results.objects import RunContext

_Item = TypeVar("_Item")


def legible(findings: Findings, image: Dataset, run: RunContext) -> Findings:
    """Return findings as they can be written; the same where nothing stands in the way. Blank remarks are left out.

    Parameters
    ----------
    image : Dataset
        Any image of the source series.
    """
    known = run.profile.character_set
    character_set = image.get("SpecificCharacterSet") if known == "source" else known
    labels = _labels((*findings.segments, *findings.locations), character_set)

    def of(label: str) -> str:
        return labels.get(label, label)

    return replace(
        findings,
        remarks=tuple(remark for remark in findings.remarks if remark.strip()),
        segments=tuple(_coded(each, character_set, label=of(each.label)) for each in findings.segments),
        locations=tuple(_coded(each, character_set, label=of(each.label)) for each in findings.locations),
        measurements=tuple(_coded(each, character_set, segment=of(each.segment)) for each in findings.measurements),
        ranges=tuple(_coded(each, character_set, segment=of(each.segment)) for each in findings.ranges),
        classifications=tuple(_coded(each, character_set, of=of(each.of)) for each in findings.classifications),
        maps=tuple(_coded(each, character_set) for each in findings.maps),
        images=tuple(_coded(each, character_set) for each in findings.images),
    )


def _labels(named: tuple[Segment | Location, ...], character_set: CharacterSet) -> dict[str, str]:
    """Return what each label becomes, as it is written; no two become the same."""
    labels = {each.label: each.label for each in named if fits(each.label, character_set)}
    for each in named:
        if each.label not in labels:
            labels[each.label] = _unlike(_readable(each, character_set), set(labels.values()))
    return labels


def _readable(named: Segment | Location, character_set: CharacterSet) -> str:
    """Return a label without its accents, or what the codes say if it loses more than those."""
    label = written(named.label, character_set)
    if label.count(UNKNOWN) == named.label.count(UNKNOWN):
        return label
    codes = (named.type, named.laterality)
    return written(", ".join(code.meaning for code in codes if code is not None), character_set)


def _unlike(label: str, others: set[str]) -> str:
    """Return a label that no other is like: with the first number that makes it so."""
    if label not in others:
        return label
    return next(numbered for number in count(2) if (numbered := f"{label} {number}") not in others)


def _coded(item: _Item, character_set: CharacterSet, **changes: str) -> _Item:
    """Return an item with other values, and with codes whose meanings can be written; itself if nothing changes."""
    changed: dict[str, Any] = {name: value for name, value in changes.items() if getattr(item, name) != value}
    # the mask of a segment is not looked at: it may be made for that
    names = [field.name for field in fields(item) if field.name != "mask"]  # type: ignore[arg-type]
    for name in names:
        code = getattr(item, name)
        if isinstance(code, Code) and not fits(code.meaning, character_set):
            changed[name] = code._replace(meaning=written(code.meaning, character_set))
    if not changed:
        return item
    if isinstance(item, Segment):
        changed["mask"] = item.voxels
    return replace(item, **changed)  # type: ignore[type-var]
