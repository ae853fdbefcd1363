"""One series, classic or Enhanced, as one regular volume - or `GeometryUnusable`, in words for a radiographer.

`source` holds the values, `slices` reads where each picture lies, `regular` judges whether they are one volume,
`pixels` decodes, `series` puts it together.
"""

from dicom_node.geometry.series import load_series, read_series, require_slices
from dicom_node.geometry.source import SourceFrame, SourceSeries

__all__ = ["SourceFrame", "SourceSeries", "load_series", "read_series", "require_slices"]
