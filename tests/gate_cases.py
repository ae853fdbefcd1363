"""How tests corrupt a finished object, and what the gate says of it."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset

from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, check

#: Changes a data set, which was made of a source series.
Corrupt = Callable[[Dataset, SourceSeries], object]


def put(**values: object) -> Corrupt:
    """Return a change of root attributes."""

    def change(dataset: Dataset, _: SourceSeries) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> Corrupt:
    """Return the removal of a root attribute."""
    return lambda dataset, _: delattr(dataset, keyword)


def in_group(group: str, frame: int | None = None, **values: object) -> Corrupt:
    """Return a change inside a functional group: the shared one, or that of a frame (from 1)."""

    def change(dataset: Dataset, _: SourceSeries) -> None:
        groups = (
            dataset.SharedFunctionalGroupsSequence[0]
            if frame is None
            else dataset.PerFrameFunctionalGroupsSequence[frame - 1]
        )
        for keyword, value in values.items():
            setattr(groups[group].value[0], keyword, value)

    return change


def copies(objects: Sequence[BuiltObject]) -> tuple[BuiltObject, ...]:
    """Return objects whose data sets may be changed without touching the source."""
    return tuple(replace(each, dataset=deepcopy(each.dataset)) for each in objects)


def refusal(
    objects: Sequence[BuiltObject],
    sources: Mapping[str, SourceSeries],
    look: Callable[[Sequence[BuiltObject], Mapping[str, SourceSeries]], None] = check,
) -> str:
    """Return what the gate says of objects that it must refuse."""
    with pytest.raises(WrongObject) as caught:
        look(objects, sources)
    return str(caught.value)
