"""Nothing found, in words: TID 2000 "Basic Diagnostic Imaging Report" (PS3.16) in the same Comprehensive 3D SR.

Without a measurement there is nothing for TID 1500 to hold, and a viewer that looks for a place to show finds none:
OHIF 3.13.2 gives up on the study. A report by TID 2000 it shows as text, which is all that there is to show here.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Findings
from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import RunContext
from dicom_node.results.report_parts import (
    algorithm_identification,
    comment,
    container,
    language,
    observer,
    procedure,
    text,
    unfound,
)

#: CID 7000
_TITLE: Final = Code("18748-4", "LN", "Diagnostic Imaging Report")
#: CID 7001
_CONCLUSIONS: Final = Code("55110-1", "LN", "Conclusions")
_PROCEDURES: Final = Code("55111-9", "LN", "Current Procedure Descriptions")
#: CID 7002. Not "Finding", which OHIF cuts off at the edge of the window instead of breaking the line.
_CONCLUSION: Final = Code("121077", "DCM", "Conclusion")
_PROCEDURE_DESCRIPTION: Final = Code("121065", "DCM", "Procedure Description")
_SERIES: Final = Code("112002", "DCM", "Series Instance UID")


def text_content(
    findings: Findings, sources: Mapping[str, SourceSeries], run: RunContext, dataset: Dataset
) -> sr.ContainerContentItem:
    """Return the root of the content tree: what was found, what was done; a line for each sentence."""
    root = sr.ContainerContentItem(name=_TITLE, is_content_continuous=False, template_id="2000")
    content = sr.ContentSequence([procedure(sources[findings.role])])
    content.extend(language())
    content.extend(observer(findings.algorithm, run, dataset))
    content.append(container(_CONCLUSIONS, _conclusions(findings, sources, run, dataset), continuous=False))
    content.append(container(_PROCEDURES, _procedures(findings, sources, run, dataset), continuous=False))
    root.ContentSequence = content
    return root


def _conclusions(
    findings: Findings, sources: Mapping[str, SourceSeries], run: RunContext, dataset: Dataset
) -> Iterator[Dataset]:
    """Yield the notice, then what the pipeline says, each inferred from the series that were analysed (TID 2001)."""
    if run.settings.notice:
        yield comment(run.settings.notice, dataset)
    remarks = findings.remarks or (f"{run.pipeline_title} found nothing in these images.",)
    for sentence in (*remarks, *unfound(findings)):
        item = text(_CONCLUSION, sentence, dataset)
        item.ContentSequence = sr.ContentSequence([_inferred_from(source) for source in sources.values()])
        yield item


def _inferred_from(source: SourceSeries) -> sr.UIDRefContentItem:
    """Return the series as a whole; its images stand in the evidence, hundreds of links here would bury the text."""
    return sr.UIDRefContentItem(
        name=_SERIES,
        value=str(source.datasets[0].SeriesInstanceUID),
        relationship_type=sr.RelationshipTypeValues.INFERRED_FROM,
    )


def _procedures(
    findings: Findings, sources: Mapping[str, SourceSeries], run: RunContext, dataset: Dataset
) -> Iterator[Dataset]:
    """Yield which algorithm looked for what, and where (TID 4019 and TID 2002)."""
    yield from algorithm_identification(findings.algorithm, dataset)
    yield text(_PROCEDURE_DESCRIPTION, _done(findings, sources, run), dataset)


def _done(findings: Findings, sources: Mapping[str, SourceSeries], run: RunContext) -> str:
    algorithm = findings.algorithm
    looked_for = ", ".join(segment.label for segment in findings.segments)
    analysed = ", ".join(f"{_series(source)} ({len(source.frames)} slices)" for source in sources.values())
    return (
        f"{run.pipeline_title} by {algorithm.name} {algorithm.version}, automatic, not reviewed by a person. "
        f"{f'Looked for: {looked_for}. ' if looked_for else ''}Analysed: {analysed}."
    )


def _series(source: SourceSeries) -> str:
    number = source.datasets[0].get("SeriesNumber")
    return "a series without number" if number is None else f"series {number}"
