"""A measured value on its reference range, as a small drawing for a table cell of a document."""

import math
from dataclasses import dataclass
from typing import Final

from reportlab.lib.colors import HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from dicom_node.results.paper_style import FONT, QUIET
from dicom_node.results.statements import between

_HEIGHT: Final = 22.0  # points
_BAR: Final = (10.0, 7.0)  # lower edge and height
_AXIS_INK: Final = HexColor("#9aa3ad")
_RANGE_INK: Final = HexColor("#bcd9c4")
_VALUE_INK: Final = HexColor("#14324f")
_LETTER: Final = 6.0
#: Share of the drawing that lies beyond what is drawn, on each side.
_BEYOND: Final = 0.12


@dataclass(frozen=True, slots=True)
class Scale:
    """Where numbers lie on a line of a given length, in points.

    Parameters
    ----------
    lowest, highest : float
        At the two ends of the line.
    """

    lowest: float
    highest: float
    length: float

    def place(self, value: float) -> float:
        """Return the distance of a number from the left end."""
        return (value - self.lowest) / (self.highest - self.lowest) * self.length


def scale_of(value: float, low: float, high: float, length: float) -> Scale:
    """Return a scale that shows a range, whose ends may be infinite, and a value, wherever that lies."""
    ends = [end for end in (value, low, high) if math.isfinite(end)]
    lowest, highest = min(ends), max(ends)
    spread = (highest - lowest) or 1.0
    return Scale(lowest - spread * _BEYOND, highest + spread * _BEYOND, length)


class RangePlot(Flowable):
    """The range as a bar with its limits below it, the value as a marker; readable in black and white.

    Parameters
    ----------
    low_text, high_text : str
        The limits as they are written.
    width : float
        In points.
    """

    def __init__(self, value: float, low: float, high: float, low_text: str, high_text: str, width: float) -> None:
        super().__init__()
        self.width, self.height = width, _HEIGHT
        self._scale = scale_of(value, low, high, width)
        self._value, self._low, self._high = value, low, high
        self._limits = low_text, high_text

    def wrap(self, *_: float) -> tuple[float, float]:
        """Return the size, whatever room there is."""
        return self.width, self.height

    def draw(self) -> None:
        """Draw on the canvas that the document has set."""
        canvas, (bottom, height) = self.canv, _BAR
        middle = bottom + height / 2
        canvas.setStrokeColor(_AXIS_INK)
        canvas.setLineWidth(0.6)
        canvas.line(0, middle, self.width, middle)
        low = self._scale.place(max(self._low, self._scale.lowest))
        high = self._scale.place(min(self._high, self._scale.highest))
        canvas.setFillColor(_RANGE_INK)
        canvas.rect(low, bottom, high - low, height, stroke=1, fill=1)
        canvas.setFillColor(_VALUE_INK)
        at = self._scale.place(self._value)
        marker = canvas.beginPath()
        marker.moveTo(at, middle)
        marker.lineTo(at - 3.4, bottom + height + 4.5)
        marker.lineTo(at + 3.4, bottom + height + 4.5)
        marker.close()
        canvas.drawPath(marker, stroke=0, fill=1)
        canvas.rect(at - 0.5, bottom - 1.5, 1.0, height + 3, stroke=0, fill=1)
        canvas.setFillColor(QUIET)
        canvas.setFont(FONT, _LETTER)
        for place, text in self._labels(low, high):
            canvas.drawCentredString(place, bottom - _LETTER - 2, text)

    def _labels(self, low: float, high: float) -> list[tuple[float, str]]:
        """Return what stands below the limits: both texts, or one where two would run into each other; or none."""
        below, above = self._limits
        if not (below and above):
            return [(low, below), (high, above)]
        widths = sum(stringWidth(text, FONT, _LETTER) for text in self._limits)
        if high - low < widths / 2 + _LETTER / 2:
            return [((low + high) / 2, between(below, above))]
        return [(low, below), (high, above)]
