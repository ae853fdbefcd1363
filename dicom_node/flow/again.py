"""What is new of a job, for late images or a study that is routed again, by what its rule did before; and why not.

What a destination was sent is not sent to it again: of a job that differs from those before only in its destinations,
what is left are those that lack its results. They are made once more for them alone: equal work gives equal UIDs, so
what is stored already is what they are sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dicom_node.entities import StudyFacts
from dicom_node.ledger import EarlierJob, EarlierJobs, NewJob, Revision
from dicom_node.lifecycle import JobState
from dicom_node.routing import LateImages


@dataclass(frozen=True, slots=True)
class New:
    """The job that is to be made; None if there is nothing to do, and `why` in words."""

    job: NewJob | None
    why: str = ""


def what_is_new(earlier: EarlierJobs, revision: Revision, facts: StudyFacts, job: NewJob, late: LateImages) -> New:
    """Return what is left of a job that a rule asks for, by what it did on earlier revisions of the study."""
    study, live = revision.study_instance_uid, not job.terms.dry_run
    # a revision without images of its own is a person who asks: no image is late
    if revision.instances and late is LateImages.IGNORE:
        latest = earlier.latest(study, job.rule, live=live)
        if latest is not None and not (latest.terms.early and _grew(latest, facts)):
            return New(None, "ran on an earlier revision, and late_images = 'ignore'")
    alike = _alike(earlier.standing(study, job.rule, live=live), job)
    if not alike:
        return New(job)
    lacking = _lacking(job, alike)
    if lacking:
        return New(replace(job, destinations=lacking))
    said = (
        "the late images are not among its inputs"
        if revision.instances
        else "its inputs, pipeline, settings, destinations and the profiles that the rule gives them are the same"
    )
    return New(None, f"{said}: revision {alike[0].revision}'s job stands")


def _grew(earlier: EarlierJob, facts: StudyFacts) -> bool:
    """Return whether a series that a job was given has more images by now."""
    given = {path for paths in earlier.inputs.values() for path in paths}
    return any(given.intersection(series.paths) and not given.issuperset(series.paths) for series in facts.series)


def _alike(standing: Sequence[EarlierJob], job: NewJob) -> list[EarlierJob]:
    """Return the newest jobs that did the same on the same images, up to the first that did not."""
    found: list[EarlierJob] = []
    for each in standing:
        same = each.pipeline == job.pipeline and dict(each.settings) == dict(job.settings)
        if not same or _images(each.inputs) != _images(job.inputs):
            break
        found.append(each)
    return found


def _lacking(job: NewJob, alike: Sequence[EarlierJob]) -> tuple[str, ...]:
    """Return the destinations that were not sent, and will not be sent, what a job would make for them."""
    if job.terms.dry_run:
        return ()
    if all(name in _served(job, alike) for name in job.destinations):
        return ()
    # a new job takes the place of what has not finished, for its destinations too, unless results stand side by side
    lasting = alike if job.terms.beside else [each for each in alike if each.state is JobState.DONE]
    served = _served(job, lasting)
    return tuple(name for name in job.destinations if name not in served)


def _served(job: NewJob, alike: Sequence[EarlierJob]) -> set[str]:
    """Return those of a job's destinations whose newest results have the profile that it wants for them."""
    profiles: dict[str, str] = {}
    for each in alike:
        for name in each.destinations:
            profiles.setdefault(name, each.terms.profiles.get(name, ""))
    return {name for name in job.destinations if profiles.get(name) == job.terms.profiles.get(name, "")}


def _images(inputs: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {role: frozenset(paths) for role, paths in inputs.items()}
