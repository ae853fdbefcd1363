"""The two deepbet networks: found as files, checked by SHA-256, loaded as TorchScript - its package never runs.

deepbet (L. Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks",
Computers in Biology and Medicine 2024, MIT licence) ships its weights in its wheel on PyPI. Only those files are
used; installing with `--no-deps` leaves its desktop program's requirements out.
"""

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from dicom_node.errors import ModelUnavailable
from pipelines.deepbet_files import CURE, DEEPBET_VERSION, WEIGHTS, weight_files

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
    contents = [_checked(path) for path in weight_files(folder)]
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


def _checked(path: Path) -> bytes:
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS[path.name]:
        raise ModelUnavailable(
            f"{path} is not the file published with deepbet {DEEPBET_VERSION} (SHA-256 {found}); {CURE}"
        )
    return content


def _frozen(content: bytes, device: torch.device) -> Network:
    """Return the network from the very bytes that were checked, its weights folded in: same output, twice as fast."""
    with warnings.catch_warnings():
        # TorchScript is what is published; exporting it anew would need the package's code
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit")
        network = torch.jit.load(BytesIO(content), map_location=device).eval()
        return torch.jit.freeze(network)
