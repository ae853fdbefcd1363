"""Every known way in which a result goes wrong in a PACS or viewer is stopped, with its reason, or met elsewhere."""

import pytest

from tests.wrong_objects import ELSEWHERE, WRONG, Wrong

FAILURES = 27


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{wrong.number}-{wrong.breaks}" for wrong in WRONG])
def test_it_is_refused_with_its_reason(wrong: Wrong) -> None:
    """The right object passes; the same with one fault is refused, and the sentence says which fault."""
    assert wrong.said in wrong.refused()


def test_no_failure_is_left_out() -> None:
    """Each of the 27 is made, or said to be met elsewhere; none is both."""
    made = {wrong.number for wrong in WRONG}
    assert made | ELSEWHERE.keys() == set(range(1, FAILURES + 1))
    assert not made & ELSEWHERE.keys()
