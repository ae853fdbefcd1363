"""What every check of the gate looks at."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import BuiltObject


@dataclass(frozen=True, slots=True)
class Case:
    """One object, everything built with it, and everything it was made from.

    Parameters
    ----------
    source : SourceSeries
        The series that the object says it was made from.
    """

    built: BuiltObject
    source: SourceSeries
    objects: Sequence[BuiltObject]
    sources: Mapping[str, SourceSeries]

    @property
    def dataset(self) -> Dataset:
        """Return the object's data set."""
        return self.built.dataset

    def source_images(self) -> dict[str, Dataset]:
        """Return every source image of every role by SOP Instance UID."""
        return {str(image.SOPInstanceUID): image for each in self.sources.values() for image in each.datasets}


#: A check yields one sentence for each thing that is wrong, without any patient's data.
Check = Callable[[Case], Iterable[str]]


def items(dataset: Dataset, keyword: str) -> Sequence[Any]:
    """Return the items of a sequence, or the values of a multi-valued attribute; none if it is absent."""
    return dataset.get(keyword) or ()
