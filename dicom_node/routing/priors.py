"""Which earlier studies of a patient a job gets: chosen from an archive's answers, looked at when they came."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from dicom_node.entities import Header, SeriesFacts, StudyFacts
from dicom_node.routing.rules import Priors, Rule, RuleSet
from dicom_node.routing.verdicts import route

#: One match of a query: keyword to text, empty where the archive does not say.
Match = Mapping[str, str]
_FEBRUARY_28: Final = 28
_NO_DATE: Final = "without a date"
_OTHER_PATIENT: Final = "of another patient"


@dataclass(frozen=True, slots=True)
class Present:
    """The study that priors are wanted for.

    Parameters
    ----------
    date : str
        Study Date, YYYYMMDD (VR DA).
    time : str
        Study Time (VR TM), empty if it has none.
    same : mapping
        Keyword to what the input series have; a prior must have one of these values.
    """

    study_instance_uid: str
    patient_id: str
    issuer: str
    date: str
    time: str
    same: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Studies, newest first, and why others were left out: reason to how many."""

    studies: tuple[str, ...]
    left_out: Mapping[str, int]


def present_of(facts: StudyFacts, paths: Iterable[str], priors: Priors) -> Present | str:
    """Return what priors are compared with, or why there can be none.

    Parameters
    ----------
    paths : iterable of str
        Of the instances that the job is about.
    """
    wanted = set(paths)
    series = [each for each in facts.series if wanted & set(each.paths)]
    patients, dates = _texts(facts.values, "PatientID"), _texts(facts.values, "StudyDate")
    if len(patients) != 1:
        return "the study has no Patient ID, or several"
    if len(dates) != 1 or _day(next(iter(dates))) is None:
        return "the study has no Study Date, or several"
    same = {keyword: frozenset().union(*(_folded(one.values, keyword) for one in series)) for keyword in priors.same}
    return Present(
        facts.study_instance_uid,
        next(iter(patients)),
        next(iter(_texts(facts.values, "IssuerOfPatientID")), ""),
        next(iter(dates)),
        min(_texts(facts.values, "StudyTime"), default=""),
        same,
    )


def earlier_studies(now: Present, priors: Priors, matches: Iterable[Match]) -> Choice:
    """Return the patient's earlier studies that are young enough, newest first; equals by Study Instance UID."""
    left_out: Counter[str] = Counter()
    found: dict[str, tuple[str, str]] = {}
    for match in matches:
        uid = match.get("StudyInstanceUID", "")
        if not uid or uid == now.study_instance_uid or uid in found:
            continue
        if reason := _why_not(now, priors, match):
            left_out[reason] += 1
        else:
            found[uid] = match["StudyDate"], match.get("StudyTime", "")
    by_uid = sorted(found)
    return Choice(tuple(sorted(by_uid, key=lambda uid: found[uid], reverse=True)), dict(left_out))


def _why_not(now: Present, priors: Priors, match: Match) -> str:
    if not same_patient(now, match.get("PatientID", ""), match.get("IssuerOfPatientID", "")):
        return _OTHER_PATIENT
    day, today = _day(match.get("StudyDate", "")), _day(now.date)
    if day is None or today is None:
        return _NO_DATE
    time = match.get("StudyTime", "")
    if day > today or (day == today and not (time and now.time and time < now.time)):
        return "not earlier"
    if day < _years_before(today, priors.not_older_than_years):
        return f"older than {priors.not_older_than_years} years"
    return ""


def same_patient(now: Present, patient_id: str, issuer: str) -> bool:
    """Return whether a Patient ID is the study's, and its issuer too where both have one."""
    return patient_id == now.patient_id and (not issuer or not now.issuer or issuer == now.issuer)


def agreeing_series(now: Present, matches: Iterable[Match]) -> tuple[str, ...]:
    """Return the series that agree with the study, or of which the archive does not say that they do not."""
    return tuple(
        sorted(match["SeriesInstanceUID"] for match in matches if not _disagrees(now, _match_values(now, match)))
    )


def _match_values(now: Present, match: Match) -> dict[str, frozenset[str]]:
    return {keyword: frozenset(filter(None, match.get(keyword, "").upper().split("\\"))) for keyword in now.same}


def _disagrees(now: Present, values: Mapping[str, frozenset[str]]) -> bool:
    return any(
        ours and theirs and not ours & theirs for keyword, ours in now.same.items() if (theirs := values[keyword])
    )


def series_that_agree(now: Present, facts: StudyFacts) -> StudyFacts:
    """Return a study that came with those of its series that agree, by their headers."""
    agreeing = tuple(
        one
        for one in facts.series
        if not _disagrees(now, {keyword: _folded(one.values, keyword) for keyword in now.same})
    )
    return StudyFacts(facts.study_instance_uid, facts.values, agreeing)


def filled(priors: Priors, studies: Sequence[StudyFacts]) -> dict[str, SeriesFacts]:
    """Return the series for each role: of the newest study that has one which fits and fills no other role.

    Parameters
    ----------
    studies : sequence of StudyFacts
        Newest first.
    """
    chosen: dict[str, SeriesFacts] = {}
    for role, wanted in priors.inputs.items():
        taken = {each.series_instance_uid for each in chosen.values()}
        for study in studies:
            free = tuple(each for each in study.series if each.series_instance_uid not in taken)
            rules = RuleSet((Rule("priors", "", (), {role: wanted}),))
            (verdict,) = route(StudyFacts(study.study_instance_uid, study.values, free), rules)
            if verdict.fires:
                chosen[role] = verdict.inputs[role]
                break
    return chosen


def _years_before(day: date, years: int) -> date:
    year = max(day.year - years, 1)
    try:
        return day.replace(year=year)
    except ValueError:  # 29 February
        return day.replace(year=year, day=_FEBRUARY_28)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.replace(".", ""))
    except ValueError:
        return None


def _texts(values: Header, keyword: str) -> set[str]:
    return {str(value).strip() for value in values.get(keyword, ()) if str(value).strip()}


def _folded(values: Header, keyword: str) -> frozenset[str]:
    return frozenset(text.upper() for text in _texts(values, keyword))
