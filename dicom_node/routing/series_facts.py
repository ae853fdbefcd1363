"""Facts of a series that follow from several of its attributes: when it was made, how old the patient was, voxels."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, tzinfo
from math import isfinite
from typing import Final

from dicom_node.entities import FactValue, Header
from dicom_node.routing.moments import digits, read_date, read_datetime, read_time

_DAYS_A_YEAR: Final = 365.2425
#: Date and time of a series, the most exact first (PS3.3 C.7.6.1, C.7.3.1, C.7.2.1).
_MOMENTS: Final = (
    ("AcquisitionDate", "AcquisitionTime"),
    ("SeriesDate", "SeriesTime"),
    ("ContentDate", "ContentTime"),
    ("StudyDate", "StudyTime"),
)


def moment_facts(values: Header) -> dict[str, tuple[FactValue, ...]]:
    """Return AcquiredAt (as VR DT), and PatientAge in years where only the date of birth tells it."""
    facts: dict[str, tuple[FactValue, ...]] = {}
    acquired = min(_acquired(values), default=None)
    if acquired is not None:
        facts["AcquiredAt"] = (digits(acquired.replace(microsecond=0)),)
    born, studied = _dates(values, "PatientBirthDate"), _dates(values, "StudyDate")
    if "PatientAge" not in values and len(born) == len(studied) == 1 and studied[0] >= born[0]:
        facts["PatientAge"] = (_years(born[0], studied[0]),)
    return facts


def _years(born: date, studied: date) -> float:
    """Return an age in years: whole ones from birthday to birthday, as people and laws count them."""
    had_it = (studied.month, studied.day) >= (born.month, born.day)
    last = _birthday(born, studied.year if had_it else studied.year - 1)
    return round(last.year - born.year + (studied - last).days / _DAYS_A_YEAR, 3)


def _birthday(born: date, year: int) -> date:
    """Return the birthday in a year; 1 March where there is no 29 February."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def _acquired(values: Header) -> Iterator[datetime]:
    """Yield when images were acquired, from the first pair of attributes that tells it."""
    exact = [moment for text in values.get("AcquisitionDateTime", ()) if (moment := read_datetime(str(text)))]
    yield from exact
    for day, clock in () if exact else _MOMENTS:
        dates = _dates(values, day)
        times = [found for text in values.get(clock, ()) if (found := read_time(str(text)))]
        if dates and times:
            yield datetime.combine(min(dates), min(times))
            return


def voxel_volume(values: Header) -> dict[str, tuple[FactValue, ...]]:
    """Return VoxelVolume in mm3, where Pixel Spacing and the spacing of slices are known."""
    pixel = [value for value in values.get("PixelSpacing", ()) if isinstance(value, int | float)]
    spacing = values.get("SliceSpacing") or values.get("SliceThickness", ())
    slices = [value for value in spacing if isinstance(value, int | float)]
    if not pixel or len(pixel) > 2 or len(slices) != 1:  # noqa: PLR2004 - row and column spacing; equal ones are one value
        return {}
    volume = round(float(pixel[0]) * pixel[-1] * slices[0], 4)  # float: whole numbers would grow beyond all measure
    return {"VoxelVolume": (volume,)} if isfinite(volume) else {}


def study_age_days(values: Header, arrived_at: float, zone: tzinfo | None) -> dict[str, tuple[FactValue, ...]]:
    """Return StudyAgeDays: from the Study Date to the day of the site on which the last image came (UTC seconds)."""
    dates = _dates(values, "StudyDate")
    arrived = datetime.fromtimestamp(arrived_at, UTC).astimezone(zone).date()
    return {"StudyAgeDays": ((arrived - min(dates)).days,)} if dates else {}


def _dates(values: Header, keyword: str) -> list[date]:
    return [found for text in values.get(keyword, ()) if (found := read_date(str(text)))]
