"""Findings to DICOM objects - Segmentation and Comprehensive 3D SR - and the gate that no wrong object passes."""

from dicom_node.results.building import build
from dicom_node.results.gate import check
from dicom_node.results.objects import BuiltObject, RunContext, encode
from dicom_node.results.preview import preview_png

__all__ = ["BuiltObject", "RunContext", "build", "check", "encode", "preview_png"]
