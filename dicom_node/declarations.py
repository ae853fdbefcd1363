"""What a pipeline may declare beside the contract, for the pages: its weight files, and what it puts out.

Both are found by their names, so a pipeline that declares neither is a pipeline all the same.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from dicom_node.contract import Pipeline
from dicom_node.errors import ModelUnavailable

_PIECE: Final = 2**20


@runtime_checkable
class DeclaresWeights(Protocol):
    """A pipeline that tells where its weights lie."""

    def weight_files(self) -> Sequence[Path]:
        """Return the weight files, in the order in which `load` digests them; raises ModelUnavailable."""
        ...


@runtime_checkable
class DeclaresOutputs(Protocol):
    """A pipeline that tells what it finds: name to a sentence."""

    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a pipeline, as they lie on this computer.

    Parameters
    ----------
    sha256 : str
        Over the content of all files, one after the other, as `load` returns it.
    fault : str
        Why there is no digest; empty if there is one.
    """

    sha256: str = ""
    files: tuple[str, ...] = ()
    size: int = 0
    fault: str = ""


class WeightDigests:
    """Digests weight files once, and again when size or time of one has changed; safe to call from many threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, int, int], ...], Weights] = {}
        self._lock = threading.Lock()

    def of(self, pipeline: Pipeline) -> Weights | None:
        """Return the weights of a pipeline; None if it declares none."""
        if not isinstance(pipeline, DeclaresWeights):
            return None
        try:
            with self._lock:
                return self._of(pipeline.weight_files())
        except (ModelUnavailable, OSError) as error:
            return Weights(fault=str(error) if isinstance(error, ModelUnavailable) else (error.strerror or "lost"))

    def _of(self, files: Sequence[Path]) -> Weights:
        states = [(file, file.stat()) for file in files]
        key = tuple((str(file), state.st_size, state.st_mtime_ns) for file, state in states)
        if key not in self._known:
            size = sum(state.st_size for _, state in states)
            self._known[key] = Weights(_digest(files), tuple(file.name for file in files), size)
        return self._known[key]


def outputs_of(pipeline: Pipeline) -> Mapping[str, str]:
    """Return what a pipeline says that it puts out; empty if it does not say."""
    return dict(pipeline.outputs) if isinstance(pipeline, DeclaresOutputs) else {}


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()
