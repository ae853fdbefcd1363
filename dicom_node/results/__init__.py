"""Findings to DICOM objects, each kind by its builder, and the gate that no wrong object passes."""

from dicom_node.results.building import build
from dicom_node.results.gate import check, check_notice
from dicom_node.results.not_run import NotRun, headers_only
from dicom_node.results.notice import build_notice
from dicom_node.results.objects import BuiltObject, Predecessor, RunContext, encode
from dicom_node.results.preview import preview_png

__all__ = [
    "BuiltObject",
    "NotRun",
    "Predecessor",
    "RunContext",
    "build",
    "build_notice",
    "check",
    "check_notice",
    "encode",
    "headers_only",
    "preview_png",
]
