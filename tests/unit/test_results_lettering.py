"""Texts are shown in the letters that they are written in, or in ones that can still be read."""

from dataclasses import fields

import pytest

from dicom_node.results.lettering import font, is_shown, shown, wrapped
from dicom_node.results.words import ENGLISH, GERMAN


@pytest.mark.parametrize(
    "text", ["Müller^Jörg", "Dvořák", "Łukasz Ęsz", "Ólafur Þór", "Αλέξανδρος", "Пётр Ильич", "5 µm² – 3 °C"]
)
def test_european_names_are_shown_as_they_are(text: str) -> None:
    """Latin with every accent, Greek, Cyrillic, and the signs of units."""
    assert is_shown(text)
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "legible"),
    [
        ("山田 taro", "□□ taro"),
        ("Ｙａｍａｄａ", "Yamada"),
        ("a\tb\x07c", "a b□c"),
        ("שרה", "□□□"),
        ("Mu\N{COMBINING DIAERESIS}ller", "Müller"),
    ],
)
def test_other_characters_leave_a_box_or_a_plain_letter(text: str, legible: str) -> None:
    """A box says that something stood there; it is never left out in silence."""
    assert shown(text) == legible


def test_lines_are_never_too_wide() -> None:
    """Long words are broken, and nothing of the text is lost."""
    text = "A remark with an " + "unusuallylongword" * 12 + " in it, and then some more words"
    lines = wrapped(text, font(17), 200)
    assert all(font(17).getlength(line) <= 200 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_both_languages_say_everything() -> None:
    """Every word of ours exists in both, can be shown, and asks for the same values."""
    for field in fields(ENGLISH):
        english, german = getattr(ENGLISH, field.name), getattr(GERMAN, field.name)
        assert english
        assert german
        assert is_shown(german)
        assert english.count("{") == german.count("{")
