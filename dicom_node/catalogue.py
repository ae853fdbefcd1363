"""Pipelines that are installed: found by entry point, so that a hospital can ship its own as a package."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from dicom_node.contract import ENTRY_POINT_GROUP, Pipeline, Role
from dicom_node.errors import PipelineUnknown
from dicom_node.log import safe_text, where


def installed() -> Mapping[str, EntryPoint]:
    """Return name -> entry point of every installed pipeline; nothing is imported."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def find(name: str) -> Pipeline:
    """Return a new object of the pipeline of that name; its model is not loaded.

    Raises
    ------
    PipelineUnknown
        If no installed package offers it, or what is offered cannot be imported or is no pipeline.
    """
    point = installed().get(name)
    if point is None:
        known = ", ".join(sorted(installed())) or "none"
        raise PipelineUnknown(f"no pipeline {name!r} is installed (installed: {known})")
    try:
        pipeline = point.load()()
    except ImportError as error:
        reason = f"pipeline {name!r} cannot be imported, {error.name or 'a package'} is missing: "
        raise PipelineUnknown(reason + 'install it (pip install "dicom-node[pipelines]")') from error
    except Exception as error:  # the named boundary: whoever wrote the package, the node starts without it
        reason = f"pipeline {name!r} cannot be used ({safe_text(error)} at {where(error)})"
        raise PipelineUnknown(f"{reason}: ask those who made {point.value}, or uninstall it") from error
    if not isinstance(pipeline, Pipeline):
        raise PipelineUnknown(f"{point.value} is no pipeline: see dicom_node.contract.Pipeline")
    return pipeline


def roles() -> Mapping[str, Mapping[str, Role]]:
    """Return pipeline name -> its roles, for checking rules; one that cannot be imported is left out."""
    found: dict[str, Mapping[str, Role]] = {}
    for name in installed():
        try:
            found[name] = dict(find(name).roles)
        except PipelineUnknown:
            continue
    return found
