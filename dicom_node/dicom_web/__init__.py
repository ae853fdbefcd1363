"""DICOMweb as a user agent (PS3.18): STOW-RS (10.5) sends files as they are, QIDO-RS (10.6) asks what a server has.

What WADO-RS (10.4) and other searches need is in `Service`, `parts`, `dicom_json` and `paging`.
"""

from dicom_node.dicom_web.qido_rs import QidoRs
from dicom_node.dicom_web.service import Service, Services
from dicom_node.dicom_web.stow_rs import BATCH_BYTES, BATCH_OBJECTS, StowRsSender

__all__ = ["BATCH_BYTES", "BATCH_OBJECTS", "QidoRs", "Service", "Services", "StowRsSender"]
