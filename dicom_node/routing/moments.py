"""Dates and times as DICOM writes them (PS3.5 6.2: DA, TM, DT), and ranges of them."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

from dicom_node.entities import FactValue

Moment = date | time | datetime

_DATE: Final = re.compile(r"(\d{4})[-.]?(\d{2})[-.]?(\d{2})")  # with dots: ACR-NEMA, still met
_TIME: Final = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATETIME: Final = re.compile(r"(\d{4}-?\d{2}-?\d{2})[T ]?([\d:.]*)(?:[+-]\d{4})?")


def read_date(text: str) -> date | None:
    """Return the date that a text is: "20260321" or "2026-03-21"."""
    found = _DATE.fullmatch(text.strip())
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def read_time(text: str) -> time | None:
    """Return the time of day that a text is: "1015", "101530.25" or "10:15:30"."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    try:
        return time(int(hour), int(minute or 0), int(second or 0), int((fraction or "0").ljust(6, "0")))
    except ValueError:
        return None


def read_datetime(text: str) -> datetime | None:
    """Return date and time of day as they are written; an offset from UTC is not looked at."""
    found = _DATETIME.fullmatch(text.strip())
    day = read_date(found[1]) if found else None
    clock = read_time(found[2] or "00") if found else None
    return datetime.combine(day, clock) if day and clock else None


#: Value representation -> how its texts are read, and an example of one.
READERS: Final = {
    "DA": (read_date, "2026-03-21"),
    "TM": (read_time, "18:30"),
    "DT": (read_datetime, "2026-03-21 18:30"),
}
_KINDS: Final = {"DA": date, "TM": time, "DT": datetime}


def moment_of(vr: str, value: object) -> Moment | None:
    """Return a TOML value or text as the kind of moment that a VR holds; None if it is none."""
    if isinstance(value, str):
        return READERS[vr][0](value)
    if vr == "DT" and isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    if not isinstance(value, date | time) or type(value) is not _KINDS[vr] or getattr(value, "tzinfo", None):
        return None
    return value


def digits(moment: Moment) -> str:
    """Return a moment as DICOM writes it: "20260321", "183000", "20260321183000"; with a fraction if there is one."""
    return re.sub(r"[-: ]", "", str(moment))


@dataclass(frozen=True, slots=True)
class Between:
    """The date or time lies in a range, ends included; times of day may go over midnight.

    Parameters
    ----------
    vr : str
        "DA", "TM" or "DT"; both ends are of that kind, and at least one is given.
    """

    vr: str
    at_least: Moment | None = None
    at_most: Moment | None = None

    @property
    def over_midnight(self) -> bool:
        """True for times of day such as 22:00 to 06:00."""
        return self.vr == "TM" and None not in (self.at_least, self.at_most) and self._later()

    def _later(self) -> bool:
        return str(self.at_least) > str(self.at_most)  # ISO 8601: as texts in the order of time

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this; what is no date or time does not."""
        seen = READERS[self.vr][0](value) if isinstance(value, str) else None
        if seen is None:
            return False
        text = str(seen)
        late_enough = self.at_least is None or text >= str(self.at_least)
        early_enough = self.at_most is None or text <= str(self.at_most)
        return (late_enough or early_enough) if self.over_midnight else (late_enough and early_enough)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        ends = [("at least", self.at_least), ("at most", self.at_most)]
        return " and ".join(f"{words} {end}" for words, end in ends if end is not None)
