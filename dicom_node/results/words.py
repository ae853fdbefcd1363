"""The node's own words in pictures and documents, in each language that a profile may name (ISO 639-1).

Only these are translated: what a pipeline says, and the meanings of codes, stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from dicom_node.results.lettering import is_shown
from dicom_node.results.objects import RunContext
from dicom_node.settings import Language


@dataclass(frozen=True, slots=True)
class Words:
    """One language.

    Parameters
    ----------
    decimal : str
        The decimal sign.
    date : str
        By `datetime.strftime`.
    """

    decimal: str
    date: str
    warning: str
    series: str
    slice_of: str
    nothing: str
    not_found: str
    reference: str
    more: str
    some_slices: str
    image: str
    measured: str
    structure: str
    quantity: str
    value: str
    range: str
    within: str
    below: str
    above: str
    population: str
    classified: str
    question: str
    answer: str
    probability: str
    places: str
    remarks: str
    all_images: str
    origin: str
    algorithm: str
    weights: str
    parameters: str
    study: str
    source_series: str
    created: str
    by: str
    patient: str
    patient_id: str
    born: str
    accession: str
    study_date: str
    unknown: str
    unshowable: str
    page: str


ENGLISH: Final = Words(
    decimal=".",
    date="%Y-%m-%d",
    warning="AI RESULT - NOT FOR PRIMARY DIAGNOSIS",
    series="Series {number}",
    slice_of="Slice {number} of {count}",
    nothing="{title} found nothing in these images.",
    not_found="not found in these images",
    reference="reference",
    more="More at the end of this series.",
    some_slices="{shown} of {count} key slices are shown.",
    image="Image {number}",
    measured="Measured values",
    structure="Structure",
    quantity="Quantity",
    value="Value",
    range="Reference range",
    within="within",
    below="below",
    above="above",
    population="Reference ranges",
    classified="Classifications",
    question="Question",
    answer="Answer",
    probability="Probability",
    places="Location",
    remarks="Remarks",
    all_images="all images",
    origin="How this was made",
    algorithm="Algorithm",
    weights="SHA-256 of the weights",
    parameters="Parameters",
    study="Study Instance UID",
    source_series="Source series",
    created="Made",
    by="by",
    patient="Patient",
    patient_id="ID",
    born="Born",
    accession="Accession number",
    study_date="Study of",
    unknown="unknown",
    unshowable="cannot be shown here",
    page="Page {number} of {count}",
)
GERMAN: Final = Words(
    decimal=",",
    date="%d.%m.%Y",
    warning="KI-ERGEBNIS - NICHT FÜR DIE PRIMÄRE BEFUNDUNG",
    series="Serie {number}",
    slice_of="Schicht {number} von {count}",
    nothing="{title} hat in diesen Bildern nichts gefunden.",
    not_found="in diesen Bildern nicht gefunden",
    reference="Referenz",
    more="Mehr am Ende dieser Serie.",
    some_slices="{shown} von {count} Schlüsselschichten sind gezeigt.",
    image="Bild {number}",
    measured="Messwerte",
    structure="Struktur",
    quantity="Größe",
    value="Wert",
    range="Referenzbereich",
    within="im Bereich",
    below="darunter",
    above="darüber",
    population="Referenzbereiche",
    classified="Einstufungen",
    question="Frage",
    answer="Antwort",
    probability="Wahrscheinlichkeit",
    places="Fundort",
    remarks="Anmerkungen",
    all_images="alle Bilder",
    origin="Wie dies entstand",
    algorithm="Algorithmus",
    weights="SHA-256 der Gewichte",
    parameters="Parameter",
    study="Study Instance UID",
    source_series="Quellserie",
    created="Erstellt",
    by="von",
    patient="Patient",
    patient_id="ID",
    born="Geboren",
    accession="Accession-Nummer",
    study_date="Untersuchung vom",
    unknown="unbekannt",
    unshowable="hier nicht darstellbar",
    page="Seite {number} von {count}",
)
LANGUAGES: Final[Mapping[Language, Words]] = {"en": ENGLISH, "de": GERMAN}


def words_of(run: RunContext) -> Words:
    """Return the words of the language that the profile names, English where it names none, with its own warning.

    A warning that our font cannot show would warn nobody: then it is that of the language.
    """
    words, warning = LANGUAGES[run.profile.language or "en"], run.profile.warning
    return replace(words, warning=warning) if warning and is_shown(warning) else words
