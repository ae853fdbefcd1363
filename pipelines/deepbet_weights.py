"""The two deepbet networks: found as files, checked by SHA-256, loaded as TorchScript - its package never runs.

deepbet (L. Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks",
Computers in Biology and Medicine 2024, MIT licence) ships its weights in its wheel on PyPI. Only those files are
used; installing with `--no-deps` leaves its desktop program's requirements out.
"""

import hashlib
import importlib.metadata
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import torch

from dicom_node.errors import ModelUnavailable

DEEPBET_VERSION: Final = "1.0.2"
#: File name to SHA-256, in the order in which they are digested.
WEIGHTS: Final = {
    "model.pt": "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd",
    "bbox_model.pt": "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa",
}
_CURE: Final = f"install them with: pip install --no-deps deepbet=={DEEPBET_VERSION}"

#: A frozen TorchScript module: float32 (1, 1, x, y, z) to (1, 2, x, y, z), channel 1 the probability.
Network = Any


@dataclass(frozen=True, slots=True)
class Networks:
    """Both networks on one device.

    Parameters
    ----------
    outline : Network
        Probability of brain in a box around the head's brain.
    locate : Network
        The same on the whole image, coarsely, to find that box.
    device : torch.device
    sha256 : str
        Hex digest over both weight files.
    """

    outline: Network
    locate: Network
    device: torch.device
    sha256: str


def load_networks(device: str, folder: Path | None) -> Networks:
    """Return both networks, ready to run.

    Parameters
    ----------
    device : str
        "cpu" or "cuda:0".
    folder : Path or None
        Where the weight files lie; None takes those of the installed package.

    Raises
    ------
    ModelUnavailable
        If a file is missing or is not the one that was published, or the device does not exist.
    """
    contents = [_checked(name, folder) for name in WEIGHTS]
    target = _device(device)
    outline, locate = (_frozen(content, target) for content in contents)
    return Networks(outline, locate, target, hashlib.sha256(b"".join(contents)).hexdigest())


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable(
            f"device {name!r} is not available to PyTorch; set compute.device to 'cpu', or install the NVIDIA driver "
            "and a CUDA build of PyTorch"
        )
    return device


def _checked(name: str, folder: Path | None) -> bytes:
    path = _installed(name) if folder is None else folder / name
    if not path.is_file():
        raise ModelUnavailable(f"{path} is missing; {_CURE}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS[name]:
        raise ModelUnavailable(
            f"{path} is not the file published with deepbet {DEEPBET_VERSION} (SHA-256 {found}); {_CURE}"
        )
    return content


def _installed(name: str) -> Path:
    try:
        files = importlib.metadata.files("deepbet") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelUnavailable(f"the deepbet weights are not installed; {_CURE}") from error
    found = [file for file in files if file.parts[-2:] == ("models", name)]
    if not found:
        raise ModelUnavailable(f"the installed deepbet package holds no {name}; {_CURE}")
    return Path(str(found[0].locate()))


def _frozen(content: bytes, device: torch.device) -> Network:
    """Return the network from the very bytes that were checked, its weights folded in: same output, twice as fast."""
    with warnings.catch_warnings():
        # TorchScript is what is published; exporting it anew would need the package's code
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit")
        network = torch.jit.load(BytesIO(content), map_location=device).eval()
        return torch.jit.freeze(network)
