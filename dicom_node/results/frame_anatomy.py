"""Which part of the body a frame shows, in a code (PS3.3 C.7.6.16.2.8).

The macro is optional, but dcmqi, and with it 3D Slicer, ends at a Parametric Map without it.
"""

from collections.abc import Mapping
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.results.item_copies import item_copy
from dicom_node.results.provenance import code_item

#: Of Body Part Examined (PS3.16 Annex L); what is not here is tissue.
_REGIONS: Final[Mapping[str, Code]] = {
    "BRAIN": Code("12738006", "SCT", "Brain"),
    "HEAD": Code("69536005", "SCT", "Head"),
    "NECK": Code("45048000", "SCT", "Neck"),
    "BREAST": Code("76752008", "SCT", "Breast"),
    "LUNG": Code("39607008", "SCT", "Lung"),
    "HEART": Code("80891009", "SCT", "Heart"),
    "LIVER": Code("10200004", "SCT", "Liver"),
    "KIDNEY": Code("64033007", "SCT", "Kidney"),
    "PROSTATE": Code("41216001", "SCT", "Prostate"),
    "SPINE": Code("421060004", "SCT", "Spine"),
}
_TISSUE: Final = Code("85756007", "SCT", "Tissue")
#: Paired organs: one whose side the source does not say is not "unpaired", so it is tissue.
_PAIRED: Final = frozenset({"BREAST", "LUNG", "KIDNEY"})
_SIDES: Final = ("R", "L", "B")
_UNPAIRED: Final = "U"


def frame_anatomy(image: Dataset) -> Dataset:
    """Return a Frame Anatomy item: the source's own, else what its Body Part Examined says."""
    for groups in image.get("SharedFunctionalGroupsSequence") or ():
        for item in groups.get("FrameAnatomySequence") or ():
            return item_copy(item, private=False, own_character_sets=False)
    item = Dataset()
    part, side = str(image.get("BodyPartExamined") or ""), image.get("Laterality")
    known = part not in _PAIRED or side in _SIDES
    item.AnatomicRegionSequence = [code_item(_REGIONS.get(part, _TISSUE) if known else _TISSUE)]
    item.FrameLaterality = side if side in _SIDES else _UNPAIRED
    return item
