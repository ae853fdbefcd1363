"""The table of transitions answers for every state and event, machine by machine, and nothing is ever stuck."""

from enum import Enum
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.errors import TransitionForbidden
from dicom_node.lifecycle import (
    DeliveryEvent,
    DeliveryState,
    Event,
    FetchEvent,
    FetchState,
    JobEvent,
    JobState,
    State,
    StudyEvent,
    StudyState,
    after,
    before,
)

_MACHINES: list[tuple[type[Enum], type[Enum]]] = [
    (StudyState, StudyEvent),
    (JobState, JobEvent),
    (DeliveryState, DeliveryEvent),
    (FetchState, FetchEvent),
]
_STATES = [state for states, _ in _MACHINES for state in states]
_EVENTS = [event for _, events in _MACHINES for event in events]
#: States that nothing leaves: there the journey ends.
_ENDS = ["ROUTED", "DONE", "DONE", "GIVEN_UP"]


def _follows(state: State, event: Event) -> State | None:
    try:
        return after(state, event)
    except TransitionForbidden:
        return None


def _is_in(state: State, states: tuple[State, ...]) -> bool:
    """Tell by identity: a held job and a held delivery have the same word, and are not the same."""
    return any(state is one for one in states)


@given(st.sampled_from(_STATES), st.sampled_from(_EVENTS))
def test_every_state_and_event_has_an_answer(state: State, event: Event) -> None:
    """The table names the next state, of the same machine, or the event is forbidden; the guard agrees."""
    following = _follows(state, event)
    assert following is None or type(following) is type(state)
    assert (following is not None) == _is_in(state, before(event))


@pytest.mark.parametrize("states", [states for states, _ in _MACHINES])
def test_no_machine_takes_the_events_of_another(states: type[Enum]) -> None:
    """A job never starts because a delivery did."""
    foreign = [event for own, events in _MACHINES if own is not states for event in events]
    taken = [(state, event) for state in states for event in foreign if _follows(state, event) is not None]
    assert taken == []


def test_every_event_can_happen() -> None:
    """An event that no state takes would be dead text."""
    assert [event for event in _EVENTS if not before(event)] == []


def test_every_state_but_an_end_can_be_left() -> None:
    """Nothing is ever stuck: what is held or cancelled can be asked for again."""
    stuck = [
        state.name
        for states, events in _MACHINES
        for state in states
        if all(_follows(state, event) is None for event in events)
    ]
    assert stuck == _ENDS


def test_every_state_can_be_reached() -> None:
    """From the first state of its machine, by events alone."""
    for states, events in _MACHINES:
        reached: list[State] = [next(iter(states))]
        for state in reached:
            following = [after for event in events if (after := _follows(state, event)) is not None]
            reached += [one for one in dict.fromkeys(following) if not _is_in(one, tuple(reached))]
        assert sorted(state.name for state in reached) == sorted(state.name for state in states)


@pytest.mark.parametrize(
    ("state", "following"),
    [
        (JobState.HELD, JobState.QUEUED),
        (JobState.CANCELLED, JobState.QUEUED),
        (DeliveryState.HELD, DeliveryState.WAITING),
        (DeliveryState.CANCELLED, DeliveryState.WAITING),
    ],
)
def test_what_is_held_or_cancelled_can_be_tried_again(state: State, following: State) -> None:
    """A retry puts each back where its own machine starts."""
    event = JobEvent.RETRY_ASKED if isinstance(state, JobState) else DeliveryEvent.RETRY_ASKED
    assert after(state, event) is following
    assert _is_in(state, before(event))


@given(st.lists(st.sampled_from(list(JobEvent)), max_size=30))
def test_a_finished_job_stays_finished(events: list[JobEvent]) -> None:
    """Whatever happens, in any order, a job that is DONE never runs again under the same row."""
    states = list(accumulate(events, lambda state, event: _follows(state, event) or state, initial=JobState.QUEUED))
    done = [index for index, state in enumerate(states) if state is JobState.DONE]
    assert not done or all(state is JobState.DONE for state in states[done[0] :])
