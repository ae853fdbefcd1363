"""Findings to a Comprehensive 3D SR (PS3.3 A.35.13): measurements by TID 1500, or the same in words by TID 2000.

TID 1500 "Measurement Report" (PS3.16) is what IHE AI Results asks for; its groups are in `measurement_groups`.
Remarks, the notice, and what has no place in the images stand as comments under "Qualitative Evaluations" (row 12).
The report is a text (`text_report`) where the profile wants one, and where no measurement group can be made.
"""

from collections.abc import Iterator
from typing import Final

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.results.measurement_groups import has_groups, measurement_groups
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.report_document import evidence_of, new_report, shown
from dicom_node.results.report_parts import comment, container, language, observer, procedure
from dicom_node.results.sentences import made_beside, supersedes, unplaced
from dicom_node.results.text_report import text_content
from dicom_node.settings import ResultKind

_TITLE: Final = Code("126000", "DCM", "Imaging Measurement Report")
_QUALITATIVE: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")
_MEASUREMENTS: Final = Code("126010", "DCM", "Imaging Measurements")


def build_report(making: Making) -> tuple[BuiltObject, ...]:
    """Return the SR: measurements, or a text."""
    run, algorithm = making.run, making.findings.algorithm
    dataset = new_report(making.source.datasets[0], evidence_of(making), run, algorithm, making.taken)
    measured = run.profile.report == "measurements" and has_groups(making.findings)
    for element in _content(making, dataset) if measured else text_content(making, dataset):
        dataset.add(element)
    return (BuiltObject(ResultKind.REPORT, dataset),)


def _content(making: Making, dataset: Dataset) -> sr.ContainerContentItem:
    """Return the root of the content tree (TID 1500)."""
    root = sr.ContainerContentItem(name=_TITLE, template_id="1500")
    content = sr.ContentSequence()
    content.extend(language())
    content.extend(observer(making.findings.algorithm, making.run, dataset))
    content.append(procedure(making.source.datasets[0]))
    content.append(container(_MEASUREMENTS, measurement_groups(making, dataset)))
    comments = [comment(sentence, dataset) for sentence in _comments(making) if sentence]
    if comments:
        content.append(container(_QUALITATIVE, comments))
    root.ContentSequence = content
    return root


def _comments(making: Making) -> Iterator[str]:
    """Yield what has no place in the images; may be empty texts."""
    yield making.run.notice
    if making.run.predecessor is not None:
        yield supersedes(making.run.predecessor)
    yield from making.findings.remarks
    yield from unplaced(making.findings)
    # the SEG is referred to by the groups themselves
    yield made_beside(tuple(each for each in shown(making) if each.kind is not ResultKind.SEGMENTATION))
