"""Is this study complete? The cases by name, and then any case: never too early, never undone by time alone."""

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.completion import AssociationState, StudyArrivals, decide
from dicom_node.entities import AssociationEnd
from dicom_node.settings import CompletionSettings

_POLICY = CompletionSettings()
_RELEASED = AssociationState(AssociationEnd.RELEASED, 101.0)
_ABORTED = AssociationState(AssociationEnd.ABORTED, 101.0)
_LOST = AssociationState(AssociationEnd.LOST, 101.0)
_OPEN = AssociationState(None, None)


def _arrivals(*associations: AssociationState, instances: int = 192, watched_since: float = 0.0) -> StudyArrivals:
    return StudyArrivals(instances, 100.0, associations, watched_since)


def test_all_released_needs_only_the_grace() -> None:
    """A released association says that the sender meant to stop (PS3.8 7.2)."""
    answer = decide(_arrivals(_RELEASED), _POLICY, 106.0)
    assert answer.complete
    assert answer.reason == "192 instances; every association was released, then quiet for 5 s"


def test_the_grace_counts_from_the_release() -> None:
    """Not from the last instance: the sender may take its time to release."""
    answer = decide(_arrivals(_RELEASED), _POLICY, 105.9)
    assert not answer.complete
    assert answer.look_again_at == 106.0


def test_an_aborted_association_needs_the_long_quiet() -> None:
    """A sender that aborts will probably come back with the rest."""
    assert not decide(_arrivals(_ABORTED, _RELEASED), _POLICY, 129.9).complete
    answer = decide(_arrivals(_ABORTED, _RELEASED, instances=241), _POLICY, 130.0)
    assert answer.complete
    assert answer.reason == "quiet for 30 s, 241 instances; one association was aborted"


def test_lost_and_open_associations_are_told() -> None:
    """The reason says what kept the shorter grace from counting."""
    answer = decide(_arrivals(_LOST, _LOST, _OPEN, instances=1), _POLICY, 131.5)
    assert answer.reason == "quiet for 31 s, 1 instance; 2 associations were lost; one association is still open"


def test_silence_while_nobody_listened_is_no_silence() -> None:
    """After a restart both silences start again: senders could not reach the node."""
    answer = decide(_arrivals(_RELEASED, watched_since=1000.0), _POLICY, 1004.9)
    assert not answer.complete
    assert answer.look_again_at == 1005.0
    assert decide(_arrivals(_ABORTED, watched_since=1000.0), _POLICY, 1029.9).complete is False


def test_without_any_known_association_only_the_long_quiet_counts() -> None:
    """Nothing released is not everything released."""
    assert not decide(_arrivals(), _POLICY, 110.0).complete
    assert decide(_arrivals(), _POLICY, 130.0).complete


def test_an_unfinished_study_says_for_how_long_it_waits() -> None:
    """What `status` shows while a study is coming in."""
    answer = decide(_arrivals(_OPEN), _POLICY, 110.0)
    told = "192 instances so far; complete if nothing arrives for 20 s more; one association is still open"
    assert answer.reason == told


_times = st.floats(0, 1000, allow_nan=False)
_states = st.one_of(st.just(_OPEN), st.builds(AssociationState, st.sampled_from(AssociationEnd), _times))
_any_arrivals = st.builds(
    StudyArrivals, st.integers(1, 999), _times, st.lists(_states, max_size=4).map(tuple), _times
)
_policies = st.builds(CompletionSettings, quiet_seconds=st.floats(0, 100), release_grace_seconds=st.floats(0, 100))


@given(_any_arrivals, _policies, _times)
def test_never_complete_before_the_shorter_silence(
    arrivals: StudyArrivals, policy: CompletionSettings, now: float
) -> None:
    """Whatever happened, there was at least the shorter silence since the last instance and since the start."""
    silence = now - max(arrivals.last_arrival_at, arrivals.watched_since)
    if decide(arrivals, policy, now).complete:
        assert silence >= min(policy.quiet_seconds, policy.release_grace_seconds) - 1e-9


@given(_any_arrivals, _policies, _times)
def test_the_shorter_silence_counts_only_if_all_were_released(
    arrivals: StudyArrivals, policy: CompletionSettings, now: float
) -> None:
    """One association that is open, aborted or lost, and only the long quiet counts."""
    silence = now - max(arrivals.last_arrival_at, arrivals.watched_since)
    released = bool(arrivals.associations) and all(
        state.end is AssociationEnd.RELEASED for state in arrivals.associations
    )
    if decide(arrivals, policy, now).complete and not released:
        assert silence >= policy.quiet_seconds - 1e-9


@given(_any_arrivals, _policies, _times, st.floats(0, 1000))
def test_time_alone_never_undoes_completeness(
    arrivals: StudyArrivals, policy: CompletionSettings, now: float, later: float
) -> None:
    """Monotone in time: complete now means complete later, if nothing arrives."""
    if decide(arrivals, policy, now).complete:
        assert decide(arrivals, policy, now + later).complete


@given(_any_arrivals, _policies, _times)
def test_look_again_at_is_when_it_is_complete(
    arrivals: StudyArrivals, policy: CompletionSettings, now: float
) -> None:
    """Whoever sleeps until then misses nothing, and does not wake in vain."""
    answer = decide(arrivals, policy, now)
    assert decide(arrivals, policy, answer.look_again_at).complete
    assert answer.complete or answer.look_again_at > now
