"""The `rank` of an input: which of several series that fit is the best."""

import re
from collections.abc import Mapping
from typing import Any, Final

from dicom_node.routing.attributes import attribute, normal_path
from dicom_node.routing.condition_reading import Wrong, read_value
from dicom_node.routing.reading import TableReader
from dicom_node.routing.rules import DEFAULT_RANK, RankBy
from dicom_node.toml_source import KeyPath

RANK: Final = "rank"
_STEP: Final = re.compile(r"(\S.*?) (asc|desc)")


def read_rank(reader: TableReader, table: Mapping[str, Any], path: KeyPath) -> tuple[RankBy, ...]:
    """Return the ranking of an input's table; faults are noted by the reader."""
    steps = table.get(RANK)
    if steps is None:
        return DEFAULT_RANK
    here: KeyPath = (*path, RANK)
    if not isinstance(steps, list):
        reader.fault(here, 'rank must be a list such as ["NumberOfSlices desc", "SliceSpacing asc"]')
        return DEFAULT_RANK
    read: list[RankBy] = []
    for index, step in enumerate(steps):
        with reader.faults_at((*here, index)):
            read.append(_preference(step) if isinstance(step, dict) else _more_or_less(step))
    return tuple(read)


def _more_or_less(step: Any) -> RankBy:
    found = _STEP.fullmatch(step) if isinstance(step, str) else None
    if found is None:
        raise Wrong(
            f'rank: {step!r} must be a keyword and asc or desc, such as "NumberOfSlices desc", '
            'or values in order, such as { Orientation = ["axial", "sagittal"] }'
        )
    return RankBy(_of_series(found[1]), descending=found[2] == "desc")


def _preference(step: Mapping[str, Any]) -> RankBy:
    if len(step) != 1:
        raise Wrong('rank: a table names one attribute, such as { ImageType = ["ORIGINAL"] }')
    ((written, values),) = step.items()
    keyword = _of_series(written)
    preferred = values if isinstance(values, list) else [values]
    if not preferred:
        raise Wrong(f"rank: {keyword} has no value that would come first")
    about = attribute(keyword)
    return RankBy(keyword, preferred=tuple(read_value(keyword, one, about) for one in preferred))


def _of_series(written: str) -> str:
    keyword = normal_path(written)
    if attribute(keyword).study_only:
        raise Wrong(f"rank: {keyword} belongs to the study and is the same for every series")
    return keyword
