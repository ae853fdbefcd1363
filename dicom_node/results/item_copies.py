"""Copies of other objects' elements, nested items included, that hold decoded text and nothing undecoded."""

from pydicom import DataElement, Dataset
from pydicom.tag import BaseTag

_SPECIFIC_CHARACTER_SET = BaseTag(0x00080005)


def element_copy(element: DataElement, *, private: bool, own_character_sets: bool) -> DataElement:
    """Return an element of its own, whose nested items are copies too; other values are shared.

    Parameters
    ----------
    private : bool
        Copy private elements too (PS3.5 7.8).
    own_character_sets : bool
        Keep a Specific Character Set that an item has for itself (PS3.3 C.12.1.1.2). Without it the text is written
        in that of the object which the item comes into.
    """
    if element.VR != "SQ":
        return DataElement(element.tag, element.VR, element.value, already_converted=True)
    copies = [item_copy(item, private=private, own_character_sets=own_character_sets) for item in element.value]
    return DataElement(element.tag, "SQ", copies)


def item_copy(item: Dataset, *, private: bool, own_character_sets: bool) -> Dataset:
    """Return an item with the elements of another, decoded with the character set that they were read with."""
    copy = Dataset()
    for element in item:
        if element.tag == _SPECIFIC_CHARACTER_SET and not own_character_sets:
            continue
        if private or not element.tag.is_private:
            copy.add(element_copy(element, private=private, own_character_sets=own_character_sets))
    return copy
