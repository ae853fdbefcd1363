"""One maker of a Segmentation, in a process of its own; prints the seconds of its steps as JSON on its last line.

python -m bench.results_makers MAKER FORM FOLDER TARGET
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.sr.coding import Code

from bench.results_case import LABELS, files
from dicom_node.contract import Algorithm, Findings, LabelMask, Segment
from dicom_node.entities import JobKey, derived_uid
from dicom_node.geometry import read_series
from dicom_node.results import RunContext, build, check, encode
from dicom_node.settings import ResultKind, Settings

_ANATOMY: Final = Code("123037004", "SCT", "Anatomical Structure")
_ORGAN: Final = Code("113343008", "SCT", "Organ")
_FAMILY: Final = Code("123109", "DCM", "Manual Processing")
_COLOUR: Final = (60.0, 40.0, 30.0)

Labels = NDArray[np.uint8]


def main(maker: str, form: str, folder: Path, target: Path) -> int:
    """Load, make, write the file, print."""
    labels = np.load(folder / LABELS)
    times = MAKERS[maker](form, folder, labels, target)
    steps = ("build", "gate", "encode")
    print(json.dumps({step: end - start for step, start, end in zip(steps, times, times[1:], strict=False)}))
    return 0


def _node(form: str, folder: Path, labels: Labels, target: Path) -> tuple[float, ...]:
    source = read_series(files(folder))
    profile = Settings().profile().model_copy(update={"kinds": (ResultKind.SEGMENTATION,), "segmentation": form})
    run = RunContext(JobKey((), "bench", "1", "", ""), 0.0, "bench", profile, "Bench")
    begun = time.monotonic()
    segments = tuple(
        Segment(f"Organ {number}", LabelMask(labels, number), _ANATOMY, _ORGAN, _COLOUR)
        for number in range(1, int(labels.max()) + 1)
    )
    objects = build(Findings("", Algorithm("bench", "1", _FAMILY), segments), {"": source}, run)
    built = time.monotonic()
    check(objects, {"": source})
    checked = time.monotonic()
    data = encode(objects[0])
    encoded = time.monotonic()
    target.write_bytes(data)
    return begun, built, checked, encoded


def _highdicom(form: str, folder: Path, labels: Labels, target: Path) -> tuple[float, ...]:
    """Its constructor as its guide shows it: source images, an array of labels, descriptions."""
    images = [dcmread(path) for path in files(folder)]
    begun = time.monotonic()
    algorithm = hd.AlgorithmIdentificationSequence(name="bench", version="1", family=_FAMILY)
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"Organ {number}",
            segmented_property_category=_ANATOMY,
            segmented_property_type=_ORGAN,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            display_color=hd.color.CIELabColor(*_COLOUR),
        )
        for number in range(1, int(labels.max()) + 1)
    ]
    segmentation = hd.seg.Segmentation(
        source_images=images,
        pixel_array=labels,
        segmentation_type=hd.seg.SegmentationTypeValues[form.upper()],
        segment_descriptions=descriptions,
        series_instance_uid=derived_uid("bench/highdicom/series"),
        series_number=100,
        sop_instance_uid=derived_uid("bench/highdicom"),
        instance_number=1,
        manufacturer="bench",
        manufacturer_model_name="bench",
        software_versions="1",
        device_serial_number="1",
    )
    built = time.monotonic()
    buffer = BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    encoded = time.monotonic()
    target.write_bytes(data)
    return begun, built, built, encoded


MAKERS: Final[Mapping[str, Callable[[str, Path, Labels, Path], tuple[float, ...]]]] = {
    "dicom_node": _node,
    "highdicom": _highdicom,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])))
