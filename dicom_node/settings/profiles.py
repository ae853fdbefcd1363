"""Result profiles: what a destination is sent, and in which form. Ready ones by name, others in `[[profile]]`."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from string import Formatter
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Strict

from dicom_node.settings.values import Flag, Name, Section, between, not_empty

DEFAULT_PROFILE: Final = "default"
#: Languages in which the node's own sentences are written (ISO 639-1).
Language = Literal["en", "de"]
#: Each job takes a block of numbers, one for each kind; further series of a kind lie this much higher.
SeriesNumberBase = Annotated[int, Strict(), between(1, 2**31 - 1_000_000)]
_LONGEST_WARNING: Final = 60  # characters: one line above a picture
_IN_DESCRIPTIONS: Final = frozenset({"title", "pipeline", "version", "kind", "label"})


def _series_template(value: str) -> str:
    try:
        names = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
    except ValueError:
        raise ValueError(f"{value!r} has a brace without its pair; write {{{{ and }}}} for a brace itself") from None
    if unknown := sorted(names - _IN_DESCRIPTIONS):
        raise ValueError(f"{value!r} holds {{{unknown[0]}}}; known: {', '.join(sorted(_IN_DESCRIPTIONS))}")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable() or len(value) > _LONGEST_WARNING or value != value.strip():
        raise ValueError(
            f"{value!r} must be one line of at most {_LONGEST_WARNING} characters, without spaces around it"
        )
    return value


WarningText = Annotated[str, AfterValidator(_one_line)]


class ResultKind(StrEnum):
    """What a result can be."""

    SEGMENTATION = "SEG"
    REPORT = "SR"
    PARAMETRIC_MAP = "PM"
    PICTURE = "SC"  # Secondary Capture: key slices with what was found burnt in
    DOCUMENT = "PDF"
    KEY_OBJECTS = "KO"
    PRESENTATION_STATE = "PR"
    IMAGES = "IMG"  # a derived image series


#: These point at other objects, and many viewers show neither.
_POINTERS: Final = frozenset({ResultKind.KEY_OBJECTS, ResultKind.PRESENTATION_STATE})


def _shown_somewhere(kinds: tuple[ResultKind, ...]) -> tuple[ResultKind, ...]:
    if kinds and _POINTERS.issuperset(kinds):
        raise ValueError('only "KO" and "PR", which many viewers do not show; add "SR", "SC" or another')
    return kinds


class NoticeKind(StrEnum):
    """What tells a reader that a pipeline did not run."""

    NONE = "none"
    REPORT = "SR"
    PICTURE = "SC"


class ResultProfile(Section):
    """What one kind of destination is sent, and in which form.

    What is None is taken from `[results]`. `extends` names the profile whose values hold where this one has none.

    Parameters
    ----------
    kinds : tuple of ResultKind
        What is sent of all that a pipeline found; a kind that it has nothing for is not made.
    empty_frames : bool
        A SEG frame for every source image of each segment, those without a voxel too (for old viewers).
    report : str
        "measurements": TID 1500; "text": the same in sentences (TID 2000), for a PACS that shows no other.
    character_set : str
        "source": that of the source images; "ISO_IR 192": texts are converted to UTF-8.
    series_description : str
        Template; {title}, {pipeline}, {version}, {kind} and {label} are filled in.
    warning : str or None
        What pictures and documents say first; empty: the warning of the language.
    """

    name: Name
    extends: Name = DEFAULT_PROFILE
    kinds: Annotated[tuple[ResultKind, ...], AfterValidator(not_empty), AfterValidator(_shown_somewhere)] = (
        ResultKind.SEGMENTATION,
        ResultKind.REPORT,
        ResultKind.IMAGES,
    )
    segmentation: Literal["binary", "labelmap"] = "binary"
    empty_frames: Flag = False
    report: Literal["measurements", "text"] = "measurements"
    transfer_syntax: Literal["explicit", "implicit"] = "explicit"
    character_set: Literal["source", "ISO_IR 192"] = "source"
    series_description: Annotated[str, AfterValidator(_series_template)] = "{title} {kind} (AI, not reviewed)"
    not_run: NoticeKind = NoticeKind.NONE
    series_number_base: SeriesNumberBase | None = None
    notice: str | None = None
    warning: WarningText | None = None
    language: Language | None = None

    def content(self) -> str:
        """Return, as text, all that decides what the objects hold: equal texts, equal objects."""
        return self.model_dump_json(exclude={"name", "extends", "not_run"})


_ALL_THAT_SHOWS: Final = (
    ResultKind.SEGMENTATION,
    ResultKind.REPORT,
    ResultKind.PARAMETRIC_MAP,
    ResultKind.PICTURE,
    ResultKind.DOCUMENT,
    ResultKind.IMAGES,
)
#: The profiles that come with the node, measured against what each viewer and archive shows.
READY: Final[Mapping[str, ResultProfile]] = {
    profile.name: profile
    for profile in (
        ResultProfile(name=DEFAULT_PROFILE),
        ResultProfile(name="ohif", kinds=_ALL_THAT_SHOWS),
        ResultProfile(name="orthanc", kinds=_ALL_THAT_SHOWS),
        ResultProfile(
            name="dcm4chee", kinds=(*_ALL_THAT_SHOWS, ResultKind.KEY_OBJECTS, ResultKind.PRESENTATION_STATE)
        ),
        ResultProfile(
            name="slicer",
            kinds=(
                ResultKind.SEGMENTATION,
                ResultKind.REPORT,
                ResultKind.PARAMETRIC_MAP,
                ResultKind.IMAGES,
            ),
        ),
        ResultProfile(
            name="no-seg-pacs",
            kinds=(ResultKind.PICTURE, ResultKind.DOCUMENT, ResultKind.REPORT, ResultKind.IMAGES),
            report="text",
            not_run=NoticeKind.PICTURE,
        ),
    )
}


def why_unusable(own: Iterable[ResultProfile]) -> dict[str, str]:
    """Return, by name, what is wrong with profiles beside the ready ones: their name, or what they extend."""
    known, faults = set(READY), {}
    for profile in own:
        if profile.name in READY:
            faults[profile.name] = "name is that of a ready profile: choose another, and extend that one"
        elif profile.extends not in known:
            faults[profile.name] = (
                f"extends {profile.extends!r}, which is neither ready nor above it; known: {', '.join(sorted(known))}"
            )
        known.add(profile.name)
    return faults


def known_profiles(own: Iterable[ResultProfile]) -> dict[str, ResultProfile]:
    """Return every profile by name, with the values of those that it extends filled in.

    Raises
    ------
    KeyError
        If a profile extends one that is neither ready nor before it.
    """
    known = dict(READY)
    for profile in own:
        given = {field: getattr(profile, field) for field in profile.model_fields_set}
        known[profile.name] = known[profile.extends].model_copy(update=given)
    return known
