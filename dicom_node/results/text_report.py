"""A report in words: TID 2000 "Basic Diagnostic Imaging Report" (PS3.16) in the same Comprehensive 3D SR.

For a PACS that shows no measurements, and where nothing was found: there a viewer that looks for a place to show
finds none, and OHIF 3.13.2 gives up on the study. A report by TID 2000 it shows as text.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Algorithm
from dicom_node.results.objects import Making, RunContext
from dicom_node.results.report_document import shown
from dicom_node.results.report_parts import (
    algorithm_identification,
    comment,
    container,
    language,
    observer,
    procedure,
    series_reference,
    text,
)
from dicom_node.results.sentences import everything, made_beside, series_named, supersedes

#: CID 7000
_TITLE: Final = Code("18748-4", "LN", "Diagnostic Imaging Report")
#: CID 7001
_CONCLUSIONS: Final = Code("55110-1", "LN", "Conclusions")
_PROCEDURES: Final = Code("55111-9", "LN", "Current Procedure Descriptions")
#: CID 7002. Not "Finding", which OHIF cuts off at the edge of the window instead of breaking the line.
_CONCLUSION: Final = Code("121077", "DCM", "Conclusion")
_PROCEDURE_DESCRIPTION: Final = Code("121065", "DCM", "Procedure Description")


def text_content(making: Making, dataset: Dataset) -> sr.ContainerContentItem:
    """Return the root of the content tree: what was found, what was done; a line for each sentence."""
    others = [source for source in making.sources.values() if source is not making.source]
    return narrative(
        making.findings.algorithm,
        making.run,
        dataset,
        images=[source.datasets[0] for source in (making.source, *others)],
        conclusions=_conclusions(making),
        procedures=_procedures(making, dataset),
    )


def narrative(
    algorithm: Algorithm,
    run: RunContext,
    dataset: Dataset,
    *,
    images: Sequence[Dataset],
    conclusions: Iterable[str],
    procedures: Iterable[Dataset],
) -> sr.ContainerContentItem:
    """Return the root of the content tree of any report in words.

    Parameters
    ----------
    images : sequence of Dataset
        One image of each series that the report is about; the first is of the series that it is filed with.
    conclusions : iterable of str
        In the order in which they are read, below the notice.
    procedures : iterable of Dataset
        Content items that say what was done.
    """
    root = sr.ContainerContentItem(name=_TITLE, is_content_continuous=False, template_id="2000")
    content = sr.ContentSequence([procedure(images[0])])
    content.extend(language())
    content.extend(observer(algorithm, run, dataset))
    said = [*_comments(run, dataset), *(_inferred(sentence, images, dataset) for sentence in conclusions)]
    content.append(container(_CONCLUSIONS, said, continuous=False))
    content.append(container(_PROCEDURES, procedures, continuous=False))
    root.ContentSequence = content
    return root


def what_was_done(sentence: str, dataset: Dataset) -> sr.TextContentItem:
    """Return a sentence on the procedure (TID 2002)."""
    return text(_PROCEDURE_DESCRIPTION, sentence, dataset)


def _comments(run: RunContext, dataset: Dataset) -> Iterator[Dataset]:
    if run.notice:
        yield comment(run.notice, dataset)
    if run.predecessor is not None:
        yield comment(supersedes(run.predecessor), dataset)


def _inferred(sentence: str, images: Sequence[Dataset], dataset: Dataset) -> sr.TextContentItem:
    """Return a conclusion, inferred from the series that were analysed (TID 2001)."""
    item = text(_CONCLUSION, sentence, dataset)
    item.ContentSequence = sr.ContentSequence([series_reference(image) for image in images])
    return item


def _conclusions(making: Making) -> Iterator[str]:
    """Yield what the pipeline says, and all that it found."""
    facts = [*making.findings.remarks, *everything(making.findings, making.source)]
    if beside := made_beside(shown(making)):
        facts.append(beside)
    if not facts:
        facts.append(f"{making.run.pipeline_title} found nothing in these images.")
    yield from facts


def _procedures(making: Making, dataset: Dataset) -> Iterator[Dataset]:
    """Yield which algorithm looked for what, and where (TID 4019 and TID 2002)."""
    yield from algorithm_identification(making.findings.algorithm, dataset)
    yield what_was_done(_done(making), dataset)


def _done(making: Making) -> str:
    algorithm = making.findings.algorithm
    looked_for = ", ".join(segment.label for segment in making.findings.segments)
    analysed = ", ".join(
        f"{series_named(source.datasets[0])} ({len(source.frames)} slices)" for source in making.sources.values()
    )
    return (
        f"{making.run.pipeline_title} by {algorithm.name} {algorithm.version}, automatic, not reviewed by a person. "
        f"{f'Looked for: {looked_for}. ' if looked_for else ''}Analysed: {analysed}."
    )
