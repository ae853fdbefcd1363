"""How a destination is, in words, wherever pages tell it."""

from dicom_node.admin.pages.words import Html, ago, badge, joined, lasting, tag
from dicom_node.admin.queries.overview import DestinationState


def state_html(state: DestinationState, now: float) -> Html:
    """Return whether a destination is up; `now` in UTC seconds."""
    if state.paused_at is not None:
        return joined([badge("paused"), f" by {state.paused_by}, ", ago(now, state.paused_at)])
    if state.down_since is not None:
        return joined([badge("down"), f" for {lasting(now - state.down_since)}: {state.reason}"])
    if state.echo is not None and not state.echo.answered:
        return joined([badge("down"), f" {state.echo.reason}"])
    return badge("up") if state.asked or state.echo else tag("span", "not asked yet", class_="quiet")


def echo_html(state: DestinationState, now: float) -> Html:
    """Return when a destination was last asked by C-ECHO, and how it answered."""
    if state.echo is None:
        return tag("span", "not asked yet", class_="quiet")
    word = "answered" if state.echo.answered else "no answer"
    took = f" in {lasting(state.echo.seconds)}" if state.echo.answered else ""
    return joined([word, took, ", ", tag("span", ago(now, state.echo.at), class_="quiet")])
