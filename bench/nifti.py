"""Read a NIfTI-1 file: just enough for a mask, so that the reference's library is not ours to install."""

import gzip
import struct
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_KINDS: Final = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2"}
#: NIfTI counts x to the right and y to the front; DICOM to the left and to the back.
_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return values, (i, j, k), and the affine, 4 x 4, index to LPS mm.

    Raises
    ------
    ValueError
        If the file is not a little endian, three-dimensional NIfTI-1 file with an sform.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = struct.unpack("<4h", content[40:48])
    kind, sform = struct.unpack("<h", content[70:72])[0], struct.unpack("<h", content[254:256])[0]
    if struct.unpack("<i", content[:4])[0] != 348 or shape[0] != 3 or kind not in _KINDS or not sform:
        raise ValueError(f"{path} is not a NIfTI-1 mask that this reader understands")
    start, slope, intercept = struct.unpack("<3f", content[108:120])
    stored = np.frombuffer(content, f"<{_KINDS[kind]}", int(np.prod(shape[1:])), int(start))
    scale, offset = (slope, intercept) if np.isfinite(slope) and slope else (1.0, 0.0)
    values = np.asarray(stored.reshape(shape[1:], order="F") * scale + offset, np.float32)
    affine = np.vstack([np.array(struct.unpack("<12f", content[280:328])).reshape(3, 4), [0, 0, 0, 1]])
    return values, _RAS_TO_LPS @ affine
