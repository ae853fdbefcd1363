"""The rules: what is in force, its history, and how to check, try, save and take back an edit; who may send."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from dicom_node.admin.api.asking import PROBLEMS, Administrator, Operator, Problem, TheOffice, Viewer
from dicom_node.admin.rule_desk import Checked
from dicom_node.ledger import RuleVersion
from dicom_node.routing import trial_to_json
from dicom_node.routing.trying import Change

_FAULTY: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The rules have faults: each with its line"}
}
_FAILED: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": Problem, "description": "The trial ended without an answer, or too many wait: try again"}
}
router = APIRouter(prefix="/api", tags=["rules"], responses=PROBLEMS)
_Number = Annotated[int, Path(ge=1, le=2**31)]
_Reason = Annotated[str, Field(max_length=1000)]
_Days = Annotated[float, Field(gt=0, le=3660)]


class Text(BaseModel):
    """A text of rules, as in `rules.toml`."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=2_000_000)]


class Edit(Text):
    """A text to put in force; `after`: the version that was edited, so that nobody's work is overwritten."""

    reason: _Reason = ""
    after: Annotated[int, Field(ge=0, le=2**31)] | None = None


class Attempt(Text):
    """A text to try on the studies of the last days."""

    days: _Days = 30


class Back(BaseModel):
    """Why an earlier version comes back."""

    model_config = ConfigDict(extra="forbid")

    reason: _Reason = ""


class Version(BaseModel):
    """One version; `at` in UTC seconds."""

    version: int
    at: float
    author: str
    reason: str
    digest: str

    @classmethod
    def of(cls, version: RuleVersion) -> "Version":
        """Return a version without its text."""
        names = ("at", "author", "reason", "digest")
        return cls(version=version.number, **{name: getattr(version, name) for name in names})


class WholeVersion(Version):
    """One version with its text."""

    text: str

    @classmethod
    def of(cls, version: RuleVersion) -> "WholeVersion":
        """Return a version."""
        return cls(**Version.of(version).model_dump(), text=version.text)


class Difference(BaseModel):
    """A unified diff; empty if nothing differs."""

    difference: str


class RuleChange(BaseModel):
    """In how many studies one rule would do something else."""

    rule: str
    change: Change
    studies: int


class ExplainedChange(BaseModel):
    """One rule on one study: what is other, and the conditions that decided."""

    study: str
    rule: str
    change: Change
    what: list[str]
    decided: list[str]


class Tried(BaseModel):
    """What a trial found; the first differences are explained, the others are counted."""

    studies: int
    differing: int
    counts: list[RuleChange]
    differences: list[ExplainedChange]


class Sender(BaseModel):
    """One `[[source]]` of `node.toml`."""

    name: str
    ae_titles: tuple[str, ...]
    addresses: tuple[str, ...]
    certificates: tuple[str, ...]


@router.get("/rules")
def rules(office: TheOffice, _person: Viewer) -> WholeVersion:
    """Return the rules in force; version 0 is none."""
    latest = office.rules.in_force()
    return WholeVersion.of(latest or RuleVersion(0, 0.0, "", "", "", ""))


@router.put("/rules", responses=_FAULTY)
def save(office: TheOffice, person: Administrator, what: Edit) -> Version:
    """Put a text in force as the next version; the node takes it within two seconds."""
    return Version.of(office.rules.save(person, what.text, what.reason, what.after))


@router.post("/rules/check")
def check(office: TheOffice, _person: Viewer, what: Text) -> Checked:
    """Return every fault of a text of rules; nothing is saved."""
    return office.rules.check(what.text)


@router.post("/rules/try", responses=_FAULTY | _FAILED)
async def attempt(office: TheOffice, person: Operator, what: Attempt) -> Tried:
    """Say what a text would have done otherwise with the studies of the last days; nothing runs."""
    found = await office.crews.trials.do(office.rules.attempt, person, what.text, what.days * 86400)
    return Tried.model_validate(trial_to_json(found))


@router.get("/rules/schema")
def schema(office: TheOffice, _person: Viewer) -> dict[str, Any]:
    """Return the JSON Schema with which editors complete and check rules, with the names that this node knows."""
    return office.rules.schema()


@router.get("/rules/versions")
def versions(office: TheOffice, _person: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Version]:
    """Return the versions, newest first."""
    return [Version.of(version) for version in office.rules.history(limit)]


@router.get("/rules/versions/{number}")
def version(office: TheOffice, _person: Viewer, number: _Number) -> WholeVersion:
    """Return one version."""
    return WholeVersion.of(office.rules.version(number))


@router.get("/rules/versions/{number}/difference")
def difference(
    office: TheOffice, _person: Viewer, number: _Number, old: Annotated[int, Query(ge=0, le=2**31)]
) -> Difference:
    """Return what changed from an older version to this one; version 0 is empty."""
    return Difference(difference=office.rules.difference(old, number))


@router.post("/rules/versions/{number}/roll-back", responses=_FAULTY)
def roll_back(office: TheOffice, person: Administrator, number: _Number, why: Back) -> Version:
    """Put an earlier version in force again, as a new version."""
    return Version.of(office.rules.roll_back(person, number, why.reason))


@router.get("/senders")
def senders(office: TheOffice, _person: Viewer) -> list[Sender]:
    """Return who may send here."""
    names = tuple(Sender.model_fields)
    return [Sender(**{name: getattr(each, name) for name in names}) for each in office.settings.sources]
