"""What the gate asks of every reference: that it leads to a source image or to a result of the same build."""

from collections.abc import Callable, Iterator

from pydicom import Dataset

from dicom_node.results.gate_case import Case, items
from dicom_node.results.source_images import is_multiframe

SliceFinder = Callable[[Dataset], set[int]]


def references(dataset: Dataset, *keywords: str) -> Iterator[Dataset]:
    """Yield every item below the sequences of these keywords that names an instance, however deep it stands."""
    for keyword in keywords:
        for item in items(dataset, keyword):
            yield from _below(item)


def _below(item: Dataset) -> Iterator[Dataset]:
    if "ReferencedSOPInstanceUID" in item:
        yield item
    for element in item:
        if element.VR == "SQ":
            for child in element.value:
                yield from _below(child)


def astray(case: Case, *keywords: str) -> Iterator[str]:
    """Yield a sentence for every reference below some sequences that leads nowhere, or names another SOP class."""
    targets = case.source_images() | {built.sop_instance_uid: built.dataset for built in case.objects}
    for item in references(case.dataset, *keywords):
        target = targets.get(str(item.ReferencedSOPInstanceUID))
        if target is None or target is case.dataset:
            yield f"a reference in {keywords[0]} leads nowhere ({item.ReferencedSOPInstanceUID})"
        elif item.ReferencedSOPClassUID != target.SOPClassUID:
            yield f"{item.ReferencedSOPInstanceUID} is referred to with another SOP class"


def slice_finder(case: Case) -> SliceFinder:
    """Return what tells which slices of the source a reference means.

    None, if it is of no source image or lacks its frame. A presentation state has thousands of references: the images
    are gone through once for all of them.
    """
    images = {str(image.SOPInstanceUID): is_multiframe(image) for image in case.source.datasets}
    uids = list(images)
    slices = {(uids[each.dataset], each.frame): index for index, each in enumerate(case.source.frames)}

    def find(item: Dataset) -> set[int]:
        uid = str(item.ReferencedSOPInstanceUID)
        frames = frame_numbers(item) if images.get(uid) else {1}
        return {slices[uid, frame] for frame in frames if (uid, frame) in slices}

    return find


def frame_numbers(item: Dataset) -> set[int]:
    """Return Referenced Frame Number (0008,1160); none if it is absent."""
    value = item.get("ReferencedFrameNumber")
    if value is None:
        return set()
    return {int(value)} if isinstance(value, int | str) else {int(each) for each in value}
