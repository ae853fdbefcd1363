"""Curves as SVG: drawn on the node, readable without a script, and told in words to those who cannot see them."""

from collections.abc import Mapping
from typing import Final

from dicom_node.admin.office import Office
from dicom_node.admin.pages.words import Html, joined, lasting, tag
from dicom_node.admin.queries.times import STAGES, Series, Times

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 190, 44, 24, 10
_COLOURS: Final = ("c1", "c2", "c3", "c4", "c5")
_DAY: Final = 86400.0
SPAN_NAMES: Final = {"hour": "Last hour", "day": "Last day", "week": "Last week"}


def studies_plot(office: Office, times: Times) -> Html:
    """Return bars: studies received."""
    series = times.studies
    top = max(1.0, *(value or 0 for value in series.values))
    step = (_WIDTH - _LEFT) / len(series.values)
    bars = [
        f'<rect class="bar" x="{_LEFT + number * step + 1:.1f}" y="{_y(value or 0, top):.1f}" '
        f'width="{max(1.0, step - 2):.1f}" height="{_y(0, top) - _y(value or 0, top):.1f}"/>'
        for number, value in enumerate(series.values)
    ]
    total = int(sum(value or 0 for value in series.values))
    return _figure(
        f"Studies received: {total}", [*_axes(office, series, top, f"{top:.0f}"), *bars], f"{total} studies received"
    )


def stages_plot(office: Office, times: Times) -> Html:
    """Return lines: the median seconds of each stage."""
    curves: Mapping[str, Series] = times.stages
    known = [value for series in curves.values() for value in series.values if value is not None]
    top = max([1.0, *known])
    lines = [
        line
        for (stage, series), colour in zip(curves.items(), _COLOURS, strict=True)
        for line in _line(series, top, colour, stage)
    ]
    legend = joined(
        tag("span", tag("i", class_=colour), f" {stage}", title=STAGES[stage])
        for stage, colour in zip(curves, _COLOURS, strict=True)
    )
    body = [*_axes(office, times.studies, top, lasting(top)), *lines]
    told = f"Median time of each stage, at most {lasting(top)}"
    return tag("div", _figure("Median time of each stage", body, told), tag("p", legend, class_="legend"))


def _figure(title: str, body: list[str], told: str) -> Html:
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}">{"".join(body)}</svg>'
    return tag("figure", tag("figcaption", title), Html(svg))


def _y(value: float, top: float) -> float:
    return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (1 - value / top)


def _axes(office: Office, series: Series, top: float, label: str) -> list[str]:
    count = len(series.starts)
    long = series.starts[-1] - series.starts[0] > _DAY
    ticks = []
    for number in range(0, count, max(1, count // 5)):
        x = _LEFT + number * (_WIDTH - _LEFT) / count
        text = office.local(series.starts[number]).strftime("%a %d" if long else "%H:%M")
        ticks.append(f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 6}">{text}</text>')
    base = _y(0, top)
    return [
        f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH}" y2="{base}"/>',
        f'<line class="grid" x1="{_LEFT}" y1="{_TOP}" x2="{_WIDTH}" y2="{_TOP}"/>',
        f'<text class="tick" x="0" y="{_TOP + 8}">{label}</text>',
        f'<text class="tick" x="0" y="{base}">0</text>',
        *ticks,
    ]


def _line(series: Series, top: float, colour: str, stage: str) -> list[str]:
    step = (_WIDTH - _LEFT) / len(series.values)
    points = [
        (_LEFT + (number + 0.5) * step, _y(value, top))
        for number, value in enumerate(series.values)
        if value is not None
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [
        f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{stage}</title></circle>'
        for x, y in points
    ]
    return [f'<polyline class="{colour}" points="{path}"/>', *dots] if points else []
