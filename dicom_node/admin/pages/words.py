"""Values as an administrator reads them, as safe HTML: every text of a sender's is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from dicom_node.admin.office import Office

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0
_KILO: Final = 1024
#: Word of a state -> how it is coloured; the word itself is always there, for those who see no colours.
_KINDS: Final = {
    **dict.fromkeys(("held", "down", "no", "refused", "error", "failed"), "bad"),
    **dict.fromkeys(("waiting", "queued", "paused", "delivering", "sending", "receiving", "silent", "low"), "open"),
    **dict.fromkeys(("running",), "busy"),
    **dict.fromkeys(("done", "delivered", "confirmed", "up", "yes", "well", "routed", "fires", "active"), "good"),
}


class Html(str):
    """Text that is safe HTML already."""

    __slots__ = ()


def safe(value: object) -> Html:
    """Return anything as safe HTML."""
    return value if isinstance(value, Html) else Html(escape("" if value is None else str(value)))


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Return parts one after the other."""
    return Html(between.join(safe(part) for part in parts))


def tag(name: str, /, *parts: object, **attributes: object) -> Html:
    """Return an element; `class_` stands for class, and `aria_label` for aria-label."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{safe(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{joined(parts)}</{name}>")


def kind_of(word: object) -> str:
    """Return how a state is coloured."""
    return _KINDS.get(str(word), "plain")


def badge(word: object) -> Html:
    """Return a state as a coloured word."""
    return tag("span", word, class_=f"badge {kind_of(word)}")


def table(
    heads: Sequence[object], rows: Iterable[Sequence[object]], empty: str = "Nothing.", label: str = ""
) -> Html:
    """Return a table, or a sentence if it has no rows."""
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    if not body:
        return tag("p", empty, class_="quiet")
    head = tag("thead", tag("tr", *(tag("th", each, scope="col") for each in heads)))
    whole = tag("table", head, tag("tbody", *body), class_="plain", aria_label=label or None)
    return tag("div", whole, class_="scroll")


def pairs(rows: Iterable[tuple[object, object]]) -> Html:
    """Return names and values as a list of definitions."""
    parts = [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows]
    return tag("dl", *parts, class_="pairs")


def card(title: object, *parts: object, wide: bool = False) -> Html:
    """Return a section with a heading."""
    return tag("section", tag("h2", title), *parts, class_="card wide" if wide else "card")


def clock(office: Office, at: float | None) -> Html:
    """Return a time in the site's time zone."""
    if at is None:
        return Html("-")
    local = office.local(at)
    return tag("time", local.strftime("%Y-%m-%d %H:%M:%S"), datetime=local.isoformat(timespec="seconds"))


def ago(now: float, at: float | None) -> str:
    """Return how long ago something was, in words."""
    return "never" if at is None else f"{lasting(max(0.0, now - at))} ago"


def lasting(seconds: float | None) -> str:
    """Return a duration in words."""
    if seconds is None:
        return "-"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - two digits are enough
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.1f} days"


def room(mib: int) -> str:
    """Return an amount of disk in words."""
    return f"{mib} MiB" if mib < 10 * _KILO else f"{mib / _KILO:.0f} GiB"


def person_name(text: str) -> str:
    """Return a person's name (PS3.5 6.2.1.2) as it is read: "Doe^Jane" is "Doe, Jane"."""
    parts = [part.strip() for part in text.split("=", maxsplit=1)[0].split("^")]
    return ", ".join(filter(None, [parts[0], " ".join(filter(None, parts[1:]))]))


def date(text: str) -> str:
    """Return a date (VR DA) with its dashes."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdecimal() else text  # noqa: PLR2004 - DA
