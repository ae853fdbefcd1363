"""Rules as frozen values: valid, or an error where they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from dicom_node.contract import SettingValue
from dicom_node.entities import FactValue
from dicom_node.routing.questions import Question
from dicom_node.routing.schedule import Window


class Priority(StrEnum):
    """In which order jobs run; the terms are those of Requested Procedure Priority (0040,1003), more or less."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"
    BACKGROUND = "background"


class LateImages(StrEnum):
    """What a rule does when images of a study that was already complete arrive."""

    RERUN = "rerun"  # the new results take the place of the earlier ones: the new report names its predecessor
    ADD = "add"  # the new results stand beside the earlier ones
    IGNORE = "ignore"


#: Terms of Requested Procedure Priority (0040,1003) and of the retired Study Priority ID (0032,000C).
PRIORITY_TERMS: Final[Mapping[str, Priority]] = {
    "STAT": Priority.STAT,
    "HIGH": Priority.URGENT,
    "ROUTINE": Priority.ROUTINE,
    "MEDIUM": Priority.ROUTINE,
    "MED": Priority.ROUTINE,
    "LOW": Priority.BACKGROUND,
}


@dataclass(frozen=True, slots=True)
class PriorityFrom:
    """The priority comes from an attribute of the study; of several values the most urgent counts.

    Parameters
    ----------
    terms : mapping
        What the attribute's values mean, in capitals; `PRIORITY_TERMS` mean what the standard says.
    """

    keyword: str
    terms: Mapping[str, Priority] = field(default_factory=dict)

    def of(self, values: Sequence[FactValue]) -> Priority | None:
        """Return the priority that values mean; None if none of them means any."""
        meanings = {**PRIORITY_TERMS, **self.terms}
        found = [meanings[term] for value in values if (term := str(value).strip().upper()) in meanings]
        return min(found, key=list(Priority).index, default=None)


@dataclass(frozen=True, slots=True)
class CompletionPolicy:
    """When a rule's jobs may start, if not as `[completion]` in `node.toml` says.

    Parameters
    ----------
    quiet_seconds : float or None
        Silence after which the study is taken for whole; None: that of `node.toml`.
    inputs_present : bool
        Sooner: as soon as every input has its series, and nothing more comes for those.
    count_from : str
        Sooner: as soon as so many instances are there as this destination says the study has. Blank: nobody is asked.
    """

    quiet_seconds: float | None = None
    inputs_present: bool = False
    count_from: str = ""

    def __str__(self) -> str:
        """Return when, in words."""
        quiet = "" if self.quiet_seconds is None else f"{self.quiet_seconds:.10g} s of silence"
        present = "every input present" if self.inputs_present else ""
        counted = f"the count of '{self.count_from}'" if self.count_from else ""
        return " or ".join(filter(None, (quiet, present, counted))) or "as node.toml says"


@dataclass(frozen=True, slots=True)
class RankBy:
    """One step of a ranking: the more (`descending`) or the less of an attribute, the better; or some values first.

    Parameters
    ----------
    preferred : tuple
        Values, the best first; any other comes after them. Empty: more or less decides.
    """

    keyword: str
    descending: bool = False
    preferred: tuple[FactValue, ...] = ()

    def __str__(self) -> str:
        """Return the step in words; more and less as they are written in `rules.toml`."""
        if self.preferred:
            return f"{self.keyword} {', then '.join(map(str, self.preferred))}"
        return f"{self.keyword} {'desc' if self.descending else 'asc'}"


#: Which of several fitting series fills a role, unless the rule says otherwise: the finest cover of the anatomy.
DEFAULT_RANK: Final = (RankBy("NumberOfSlices", descending=True), RankBy("SliceSpacing", descending=False))


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Which series may fill a role: one for which every condition holds, the best by `rank`."""

    where: tuple[Question, ...]
    rank: tuple[RankBy, ...] = DEFAULT_RANK


@dataclass(frozen=True, slots=True)
class Priors:
    """`[rule.priors]`: earlier studies of the patient that an archive is asked for before the job runs.

    Parameters
    ----------
    same : tuple of str
        Attributes of a series in which a prior must agree with the inputs of the job.
    time_limit_seconds : float
        So long the job waits; then it runs with what came.
    inputs : mapping of str to RoleRule
        One for each role that a prior fills.
    """

    archive: str
    at_most: int = 2
    not_older_than_years: int = 5
    same: tuple[str, ...] = ("BodyPartExamined", "Modality")
    time_limit_seconds: float = 300.0
    inputs: Mapping[str, RoleRule] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return what is asked for, in words."""
        studies = "1 earlier study" if self.at_most == 1 else f"{self.at_most} earlier studies"
        same = f" with the same {' and '.join(self.same)}" if self.same else ""
        years = "1 year" if self.not_older_than_years == 1 else f"{self.not_older_than_years} years"
        return f"at most {studies} from '{self.archive}'{same}, not older than {years}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `rules.toml`.

    Parameters
    ----------
    pipeline : str
        Blank, if `do_not_run` says why nothing is to run.
    settings : mapping
        What the pipeline is to do differently for this rule.
    destinations : tuple of str
        Names from `node.toml`.
    profiles : mapping
        Destination -> result profile, where this rule wants another one than the destination's own.
    when : tuple of Question
        Conditions on the study.
    inputs : mapping of str to RoleRule
        One for each role of the pipeline that the study itself fills.
    priority : Priority
        What counts where `priority_from` finds nothing.
    schedule : tuple of Window
        When its jobs may start; empty: at any time.
    dry_run : bool
        True: runs and stores, and sends nothing.
    stop : bool
        True: if it matches, the rules after it are not asked.
    do_not_run : str
        Why a study that matches is recognised, and deliberately not run.
    fallback : bool
        True: it fires only if no other rule matched.
    """

    name: str
    pipeline: str
    destinations: tuple[str, ...]
    inputs: Mapping[str, RoleRule]
    when: tuple[Question, ...] = ()
    description: str = ""
    enabled: bool = True
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    priority: Priority = Priority.ROUTINE
    late_images: LateImages = LateImages.RERUN
    fallback: bool = False
    priority_from: PriorityFrom | None = None
    profiles: Mapping[str, str] = field(default_factory=dict)
    schedule: tuple[Window, ...] = ()
    completion: CompletionPolicy | None = None
    dry_run: bool = False
    stop: bool = False
    do_not_run: str = ""
    priors: Priors | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules, in the order of the file."""

    rules: tuple[Rule, ...]

    def named(self, name: str) -> Rule | None:
        """Return the rule of that name, if there is one."""
        return next((rule for rule in self.rules if rule.name == name), None)
