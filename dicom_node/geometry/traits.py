"""What may not differ between the pictures of one volume: echoes, b-values, stacks, time points."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Trait:
    """An attribute that must not differ between the pictures of one volume.

    Parameters
    ----------
    words : str
        What a radiographer calls it, plural.
    classic : str
        Keyword in a single-frame image.
    enhanced : (str, str)
        Functional group and keyword in a multi-frame image (PS3.3 C.7.6.16); empty where there is none.
    always : bool
        True if pictures that differ in it are never one volume; False if it only explains repeated positions.
    """

    words: str
    classic: str
    enhanced: tuple[str, str] = ("", "")
    always: bool = False


#: From what separates images most often to what does so least often; the first that differs is named.
TRAITS: Final = (
    Trait("echo times (ms)", "EchoTime", ("MREchoSequence", "EffectiveEchoTime"), always=True),
    Trait("echo numbers", "EchoNumbers", always=True),
    Trait("b-values (s/mm2)", "DiffusionBValue", ("MRDiffusionSequence", "DiffusionBValue"), always=True),
    Trait("stacks", "", ("FrameContentSequence", "StackID"), always=True),
    Trait("time points", "TemporalPositionIdentifier", ("FrameContentSequence", "TemporalPositionIndex")),
    Trait("image types", "ImageType", ("MRImageFrameTypeSequence", "FrameType")),
    Trait("inversion times (ms)", "InversionTime", ("MRModifierSequence", "InversionTimes")),
    Trait("flip angles (degrees)", "FlipAngle", ("MRTimingAndRelatedParametersSequence", "FlipAngle")),
    Trait(
        "trigger times (ms)",
        "TriggerTime",
        ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ),
    Trait("acquisition numbers", "AcquisitionNumber", ("FrameContentSequence", "FrameAcquisitionNumber")),
)
