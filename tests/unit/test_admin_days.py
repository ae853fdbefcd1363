"""Days that somebody filters by are those of the site."""

from pathlib import Path

import pytest

from dicom_node.admin.pages.studies import day_of
from tests.admin_cases import bench


def test_a_day_begins_and_ends_at_the_sites_midnight(tmp_path: Path) -> None:
    """Also one on which the clock is changed."""
    with bench(tmp_path) as desk:
        begins, ends = day_of(desk.office, "2026-03-29")
        assert begins is not None
        assert ends is not None
        assert desk.office.local(begins).isoformat()[:16] == "2026-03-29T00:00"
        assert desk.office.local(ends).isoformat()[:16] == "2026-03-30T00:00"


@pytest.mark.parametrize("typed", ["", "2026-1", "0000-01-01", "9999-12-31"])
def test_a_day_that_is_being_typed_is_none(typed: str, tmp_path: Path) -> None:
    """Nothing is looked for by it, and nothing breaks."""
    with bench(tmp_path) as desk:
        assert day_of(desk.office, typed) == (None, None)
