"""Where deepbet's weight files lie, and what they must be; found without PyTorch, which takes seconds to import."""

import importlib.metadata
from pathlib import Path
from typing import Final

from dicom_node.errors import ModelUnavailable

DEEPBET_VERSION: Final = "1.0.2"
#: File name to SHA-256, in the order in which they are digested.
WEIGHTS: Final = {
    "model.pt": "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd",
    "bbox_model.pt": "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa",
}
CURE: Final = f"install them with: pip install --no-deps deepbet=={DEEPBET_VERSION}"


def weight_files(folder: Path | None) -> tuple[Path, ...]:
    """Return the weight files, of a folder or (None) of the installed package.

    Raises
    ------
    ModelUnavailable
        If one is missing.
    """
    found = tuple(_installed(name) if folder is None else folder / name for name in WEIGHTS)
    for path in found:
        if not path.is_file():
            raise ModelUnavailable(f"{path} is missing; {CURE}")
    return found


def _installed(name: str) -> Path:
    try:
        files = importlib.metadata.files("deepbet") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelUnavailable(f"the deepbet weights are not installed; {CURE}") from error
    found = [file for file in files if file.parts[-2:] == ("models", name)]
    if not found:
        raise ModelUnavailable(f"the installed deepbet package holds no {name}; {CURE}")
    return Path(str(found[0].locate()))
