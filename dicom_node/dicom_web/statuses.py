"""What an answer means for deliveries: what its body says of an instance, else its HTTP status (PS3.18 10.5.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from dicom_node.dicom_web.response import Told
from dicom_node.dicom_web.web import Answer, Head
from dicom_node.outgoing import SUCCESS, Outcome, OutgoingObject, Verdict

NOT_FOUND: Final = 404
_UNAUTHORISED: Final = 401
_LONGEST_PAUSE: Final = 86400.0
_BUSY: Final = frozenset({429, 503})
_OK: Final = 200
_SUCCESSES: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
#: DIMSE statuses that stand for what is not over because the server answers a question: the wait then grows.
_OUT_OF_RESOURCES, _PROCESSING_FAILURE, _NOT_AUTHORISED = 0xA700, 0x0110, 0x0124


@dataclass(frozen=True, slots=True)
class _Meaning:
    verdict: Verdict
    status: int | None
    text: str


_MEANINGS: Final[Mapping[int, _Meaning]] = {
    # a page to log in at is 200, too: only a server that names the object has stored it
    200: _Meaning(
        Verdict.TEMPORARY, _PROCESSING_FAILURE, "it does not say what it stored: is url its STOW-RS endpoint?"
    ),
    202: _Meaning(Verdict.TEMPORARY, _PROCESSING_FAILURE, "it stored only some, and does not say which"),
    204: _Meaning(Verdict.TEMPORARY, None, "it stored nothing: is url its STOW-RS endpoint, .../studies?"),
    400: _Meaning(Verdict.PERMANENT, None, "it cannot understand the request or the objects: look at its log"),
    401: _Meaning(Verdict.TEMPORARY, None, "it does not know this node: check [destination.auth]"),
    403: _Meaning(Verdict.TEMPORARY, _NOT_AUTHORISED, "this node may not store there: allow it at the server"),
    404: _Meaning(Verdict.TEMPORARY, None, "there is nothing at url: it must be the STOW-RS endpoint, .../studies"),
    405: _Meaning(
        Verdict.TEMPORARY, None, "nothing can be stored at url: it must be the STOW-RS endpoint, .../studies"
    ),
    406: _Meaning(Verdict.PERMANENT, None, "it does not answer in DICOM JSON, so nobody knows what it stored"),
    407: _Meaning(Verdict.TEMPORARY, None, "the proxy does not let the node through: allow this node there"),
    408: _Meaning(Verdict.TEMPORARY, None, "the objects came too slowly for it"),
    409: _Meaning(Verdict.PERMANENT, None, "it refused the objects without saying why: look at its log"),
    411: _Meaning(Verdict.TEMPORARY, None, "something on the way drops the length of the request: look at the proxy"),
    413: _Meaning(Verdict.PERMANENT, None, "the object is too large for it: raise the limit of the server or proxy"),
    415: _Meaning(Verdict.PERMANENT, None, "it takes no application/dicom, or not in this transfer syntax"),
    429: _Meaning(Verdict.TEMPORARY, _OUT_OF_RESOURCES, "the node asks too often for it"),
    503: _Meaning(Verdict.TEMPORARY, _OUT_OF_RESOURCES, "it is busy, or being serviced"),
    507: _Meaning(Verdict.TEMPORARY, _OUT_OF_RESOURCES, "it has no room left"),
}
_REDIRECT: Final = _Meaning(
    Verdict.TEMPORARY, None, "it sends the node elsewhere, which it does not follow: correct url"
)
_CLIENT: Final = _Meaning(Verdict.PERMANENT, None, "it refused the request: look at its log")
_SERVER: Final = _Meaning(Verdict.TEMPORARY, _PROCESSING_FAILURE, "it failed: look at its log")


def _meaning(status: int) -> _Meaning:
    if status in _REDIRECTS:
        return _REDIRECT
    if status in _SUCCESSES:
        return _MEANINGS.get(status, _MEANINGS[_OK])
    default = _CLIENT if status < 500 else _SERVER  # noqa: PLR2004 - RFC 9110 15.6
    return _MEANINGS.get(status, default)


def refuses(answer: Answer) -> bool:
    """Return whether a server does not want what it was sent, now or later, by its status alone."""
    return _meaning(answer.status).verdict is Verdict.PERMANENT


def outcome(item: OutgoingObject, name: str, answer: Answer, told: Told) -> Outcome:
    """Return what an answer of the server `name` means for one object: its own words on it count most."""
    uid = item.sop_instance_uid
    if uid in told.failed:
        reason = told.failed[uid]
        if reason is None:
            return Outcome(uid, Verdict.PERMANENT, None, f"{name} refused it without a reason: look at its log")
        return _not_stored(item, name, reason)
    if uid in told.stored:
        warning = told.stored[uid]
        stored = item.answered(name, SUCCESS if warning is None else warning)
        # whatever the warning is: the server lists it among what it has
        return Outcome(uid, Verdict.ACCEPTED, stored.status, stored.reason)
    if told.anything:
        return item.postponed(f"{name} says nothing of this object")
    meaning = _meaning(answer.status)
    return Outcome(uid, meaning.verdict, meaning.status, f"{name} answered HTTP {answer.status}: {meaning.text}")


def _not_stored(item: OutgoingObject, name: str, reason: int) -> Outcome:
    outcome = item.answered(name, reason)
    # "success" among the failures is no success; 0x0111 is one: the instance is there
    if outcome.status == SUCCESS:
        return Outcome(outcome.sop_instance_uid, Verdict.PERMANENT, None, f"{name} refused it without a reason")
    return outcome


def why_not_there(answer: Answer) -> str | None:
    """Return why a server that answers a question is none that would take objects; None if it may be."""
    status = answer.status
    if status in _REDIRECTS or status in {_UNAUTHORISED, 403, 404, 407} or (status >= 500 and status != 501):  # noqa: PLR2004
        return _meaning(status).text
    return None


def words(status: int) -> str:
    """Return what a status that is no success means, and what to look at."""
    return _meaning(status).text


def pause(answer: Head, now: float) -> float:
    """Return how many seconds a server asks to be left alone (RFC 9110 10.2.3), at most a day; 0 if it does not."""
    text = answer.headers.get("retry-after", "").strip()
    if answer.status not in _BUSY or not text:
        return 0.0
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(text)
        seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):  # no date, or none that there will be
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_PAUSE)
