"""A destination that is down is left alone for growing pauses, and tried once after each."""

from dicom_node.breaker import Breakers

NOW = 1_800_000_000.0


def test_a_failure_opens_and_an_answer_closes() -> None:
    """Others are not held up; only the first failure is news, and the end says since when it was down."""
    breakers = Breakers(30, 600)
    assert breakers.allows("pacs", NOW)
    assert breakers.failed("pacs", "no answer", NOW)
    assert not breakers.allows("pacs", NOW + 29)
    assert breakers.allows("archive", NOW)
    assert breakers.allows("pacs", NOW + 30)
    assert not breakers.failed("pacs", "no answer", NOW + 30)
    over = breakers.answered("pacs")
    assert over is not None
    assert (over.since, over.failures, over.reason) == (NOW, 2, "no answer")
    assert breakers.allows("pacs", NOW + 31)
    assert breakers.answered("pacs") is None


def test_pauses_grow_to_the_longest() -> None:
    """30, 60, 120 s and so on, never longer than 600 s, however many failures there are."""
    breakers = Breakers(30, 600)
    pauses = []
    now = NOW
    for _ in range(2000):
        breakers.failed("pacs", "", now)
        outage = breakers.outage("pacs")
        assert outage is not None
        pauses.append(outage.until - now)
        now = outage.until
    assert pauses[:6] == [30, 60, 120, 240, 480, 600]
    assert set(pauses[5:]) == {600}


def test_many_objects_that_fail_together_are_one_failure() -> None:
    """Fifty objects of one attempt do not make the pause fifty times longer."""
    breakers = Breakers(30, 600)
    for _ in range(50):
        breakers.failed("pacs", "no answer", NOW)
    assert breakers.allows("pacs", NOW + 30)


def test_one_attempt_may_be_let_through_early() -> None:
    """The outage goes on until something is answered: it is no news again, and its pauses grow on."""
    breakers = Breakers(30, 600)
    breakers.let_through("pacs", NOW)
    assert breakers.outage("pacs") is None
    breakers.failed("pacs", "no answer", NOW)
    breakers.let_through("pacs", NOW + 5)
    assert breakers.allows("pacs", NOW + 5)
    assert not breakers.failed("pacs", "no answer", NOW + 6)
    assert not breakers.allows("pacs", NOW + 65)
    breakers.let_through("pacs", NOW + 600)
    outage = breakers.outage("pacs")
    assert outage is not None
    assert (outage.since, outage.until) == (NOW, NOW + 66)
