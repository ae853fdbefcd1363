"""The table of transitions is total where it must be, and every state can be left or is an end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.errors import TransitionForbidden
from dicom_node.lifecycle import (
    TRANSITIONS,
    DeliveryEvent,
    DeliveryState,
    Event,
    JobEvent,
    JobState,
    State,
    StudyEvent,
    StudyState,
    after,
    before,
)

_MACHINES: list[tuple[type[State], type[Event]]] = [
    (StudyState, StudyEvent),
    (JobState, JobEvent),
    (DeliveryState, DeliveryEvent),
]
_STATES = [state for states, _ in _MACHINES for state in states]
_EVENTS = [event for _, events in _MACHINES for event in events]
#: States that nothing leaves: there the journey ends.
_ENDS = {StudyState.ROUTED, JobState.DONE, DeliveryState.DELIVERED}


@given(st.sampled_from(_STATES), st.sampled_from(_EVENTS))
def test_every_state_and_event_has_an_answer(state: State, event: Event) -> None:
    """Either the table names the next state, of the same machine, or it is forbidden: nothing in between."""
    if (state, event) in TRANSITIONS:
        assert type(after(state, event)) is type(state)
        assert state in before(event)
    else:
        with pytest.raises(TransitionForbidden):
            after(state, event)
        assert state not in before(event)


def test_no_machine_takes_the_events_of_another() -> None:
    """Equal words, such as HELD, never mix up a job and a delivery."""
    machine = {state: index for index, (states, _) in enumerate(_MACHINES) for state in states}
    own = {event: index for index, (_, events) in enumerate(_MACHINES) for event in events}
    by_identity = {(type(state), state.name): machine[state] for state in _STATES}
    for state, event in TRANSITIONS:
        assert (
            by_identity[type(state), state.name] == own[event] or type(state).__name__[:3] == type(event).__name__[:3]
        )


def test_every_event_can_happen() -> None:
    """An event that no state takes would be dead text."""
    assert [event for event in _EVENTS if not before(event)] == []


def test_every_state_but_an_end_can_be_left() -> None:
    """Nothing is ever stuck: even what is held or cancelled can be asked for again."""
    left = {(type(state), state.name) for state, _ in TRANSITIONS}
    stuck = {state for state in _STATES if (type(state), state.name) not in left}
    assert stuck == _ENDS


def test_every_state_can_be_reached() -> None:
    """From the first state of its machine, by events alone."""
    for states, events in _MACHINES:
        first = next(iter(states))
        reached, waiting = {first}, [first]
        while waiting:
            state = waiting.pop()
            following = {after(state, event) for event in events if state in before(event)} - reached
            reached |= following
            waiting += following
        assert reached == set(states)


@given(st.lists(st.sampled_from(list(JobEvent)), max_size=30))
def test_a_finished_job_stays_finished(events: list[JobEvent]) -> None:
    """Whatever happens, in any order, a job that is DONE never runs again under the same row."""
    states = list(itertools.accumulate(events, _or_stay, initial=JobState.QUEUED))
    done = [index for index, state in enumerate(states) if state is JobState.DONE]
    assert not done or all(state is JobState.DONE for state in states[done[0] :])


def _or_stay(state: State, event: Event) -> State:
    return TRANSITIONS.get((state, event), state)
