"""Just enough NIfTI-1 to read one three-dimensional image: the demo's head comes in that format.

Names in backticks are fields of the NIfTI-1 header (nifti1.h of the NIfTI Data Format Working Group).
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import DemoUnavailable

_HEADER_SIZE: Final = 348
_GZIP_MAGIC: Final = b"\x1f\x8b"
#: `datatype` -> numpy type without byte order.
_TYPES: Final = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_AXES: Final = 3


@dataclass(frozen=True, slots=True)
class Image:
    """One image in space.

    Parameters
    ----------
    array : float32, (i, j, k), scaled by `scl_slope` and `scl_inter`
    affine : float64, 4 x 4, index (i, j, k) to RAS mm
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]


def read_nifti(path: Path) -> Image:
    """Return the image of a NIfTI-1 file (.nii or .nii.gz), of either byte order.

    Raises
    ------
    DemoUnavailable
        If the file is not NIfTI-1, not three-dimensional, of a type that is not plain numbers, or cut short.
    """
    content = _content(path)
    order = _byte_order(content)
    if order is None:
        raise DemoUnavailable(f"{path} is not a NIfTI-1 file (.nii or .nii.gz)")
    shape = _shape(content, order)
    if shape is None:
        raise DemoUnavailable(f"{path} holds more or fewer than three dimensions")
    (code,) = struct.unpack_from(f"{order}h", content, 70)
    if code not in _TYPES:
        raise DemoUnavailable(f"{path} has NIfTI datatype {code}, which is not read here")
    offset, slope, intercept = struct.unpack_from(f"{order}3f", content, 108)
    kind = np.dtype(order + _TYPES[code])
    count = int(np.prod(shape))
    if len(content) < int(offset) + count * kind.itemsize:
        raise DemoUnavailable(f"{path} is cut short")
    values = np.frombuffer(content, kind, count, int(offset)).reshape(shape, order="F").astype(np.float32)
    # `scl_slope` 0 means: the values are not scaled
    scaled = values if slope == 0 else values * np.float32(slope) + np.float32(intercept)
    return Image(scaled, _affine(content, order))


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error):
        raise DemoUnavailable(f"{path} is cut short or damaged") from None


def _byte_order(content: bytes) -> str | None:
    if len(content) < _HEADER_SIZE or content[344:347] != b"n+1":
        return None
    sizes = {order: struct.unpack_from(f"{order}i", content, 0)[0] for order in "<>"}
    return next((order for order, size in sizes.items() if size == _HEADER_SIZE), None)


def _shape(content: bytes, order: str) -> tuple[int, ...] | None:
    count, *sizes = struct.unpack_from(f"{order}8h", content, 40)
    # a fourth dimension of 1 is common and harmless
    extra = sizes[_AXES:count]
    usable = count >= _AXES and all(size == 1 for size in extra) and min(sizes[:_AXES]) > 0
    return tuple(sizes[:_AXES]) if usable else None


def _affine(content: bytes, order: str) -> NDArray[np.float64]:
    pixdim = struct.unpack_from(f"{order}4f", content, 76)
    qform_code, sform_code = struct.unpack_from(f"{order}2h", content, 252)
    affine = np.eye(4)
    if sform_code > 0:  # method 3
        affine[:3] = np.reshape(struct.unpack_from(f"{order}12f", content, 280), (3, 4))
    elif qform_code > 0:  # method 2
        b, c, d, *offset = struct.unpack_from(f"{order}6f", content, 256)
        # `pixdim[0]` is qfac: -1 where the third axis is left-handed, anything else counts as 1
        steps = np.array(pixdim[1:]) * (1, 1, -1 if pixdim[0] < 0 else 1)
        affine[:3, :3] = _rotation(b, c, d) * steps
        affine[:3, 3] = offset
    else:  # method 1: no place in space is known
        affine[:3, :3] = np.diag(pixdim[1:])
    return affine


def _rotation(b: float, c: float, d: float) -> NDArray[np.float64]:
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
