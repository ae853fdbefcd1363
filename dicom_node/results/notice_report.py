"""That a pipeline did not run, and why: a report in words that nobody takes for a result.

Without it a reader cannot tell a study without findings from one that the pipeline never looked at.
"""

from itertools import chain
from typing import Final

from dicom_node.results.not_run import NotRun
from dicom_node.results.objects import BuiltObject
from dicom_node.results.provenance import own_text
from dicom_node.results.report_document import new_report
from dicom_node.results.sentences import series_named
from dicom_node.results.text_report import narrative, what_was_done
from dicom_node.settings import ResultKind

_LO_LENGTH: Final = 64
_NO_RESULT: Final = "This is no result: that nothing is reported here does not mean that nothing is there."


def build_notice_report(not_run: NotRun) -> tuple[BuiltObject, ...]:
    """Return a text SR (TID 2000) that says in words why a pipeline gave no result."""
    run, algorithm = not_run.run, not_run.algorithm
    images = [source.datasets for source in not_run.headers.values()]
    first = [datasets[0] for datasets in images]
    taken = frozenset(int(image.SeriesNumber) for image in first if image.get("SeriesNumber") is not None)
    dataset = new_report(first[0], chain.from_iterable(images), run, algorithm, taken)
    dataset.SeriesDescription = own_text(f"NOT RUN: {run.pipeline_title} (AI)", dataset)[:_LO_LENGTH]
    given = ", ".join(f"{series_named(datasets[0])} ({len(datasets)} objects)" for datasets in images)
    done = f"{algorithm.name} {algorithm.version} was not run. It was given: {given}."
    content = narrative(
        algorithm,
        run,
        dataset,
        images=first,
        conclusions=(f"NOT RUN: {not_run.sentence}", _NO_RESULT),
        procedures=(what_was_done(done, dataset),),
    )
    for element in content:
        dataset.add(element)
    return (BuiltObject(ResultKind.REPORT, dataset),)
