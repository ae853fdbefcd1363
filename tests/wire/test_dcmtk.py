"""DCMTK, the sender that hospitals know, against the node."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.uid import (
    HEVCM10P51,
    HEVCMP51,
    JPEG2000,
    MPEG2MPHL,
    MPEG2MPML,
    MPEG4HP41,
    MPEG4HP41BD,
    MPEG4HP42STEREO,
    MPEG4HP422D,
    MPEG4HP423D,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom.dsutils import split_dataset

from dicom_node.entities import AssociationEnd


def _run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_echoscu(node: Any, require_tool: Any) -> None:
    """`echoscu` succeeds with the right called AE title, and says why not with a wrong one."""
    echoscu = require_tool("echoscu", "dcmtk")
    port = str(node.scp.port)
    assert _run(echoscu, "-aec", "NODE", "127.0.0.1", port).returncode == 0
    refused = _run(echoscu, "-aec", "WRONG", "127.0.0.1", port)
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.stderr


@pytest.mark.parametrize(
    ("name", "option"),
    [("1", "-xi"), ("2", "-xe"), ("3", "-xb"), ("4", "-xs"), ("5", "-xt"), ("6", "-xv"), ("7", "-xr")],
)
def test_storescu_in_its_own_encoding(
    node: Any, require_tool: Any, shared_data: Path, name: str, option: str, eventually: Any
) -> None:
    """Every real encoding that DCMTK sends is acknowledged and kept, and the release noted."""
    files = _by_syntax(shared_data).get(option, [])
    if not files:
        pytest.skip(f"no shared file is encoded for storescu {option}")
    result = _run(require_tool("storescu", "dcmtk"), "-aec", "NODE", option, "127.0.0.1", str(node.scp.port), *files)
    assert result.returncode == 0, result.stderr
    assert len(node.ledger.instances) == len(files)
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1] is AssociationEnd.RELEASED


_OPTIONS = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.5": "-xr",
}


def _by_syntax(shared_data: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted((shared_data / "transfer-syntaxes" / "dcm_qa_ts").glob("*.dcm")):
        syntax = str(split_dataset(path)[0].TransferSyntaxUID)
        found.setdefault(_OPTIONS.get(syntax, syntax), []).append(str(path))
    return found


#: What DCMTK's storescu can propose beside Implicit and Explicit VR Little Endian, and how it is asked to.
_PROPOSALS = {
    "--propose-big": ExplicitVRBigEndian,
    "--propose-lossless": JPEGLosslessSV1,
    "--propose-jpeg8": JPEGBaseline8Bit,
    "--propose-jpeg12": JPEGExtended12Bit,
    "--propose-j2k-lossless": JPEG2000Lossless,
    "--propose-j2k-lossy": JPEG2000,
    "--propose-jls-lossless": JPEGLSLossless,
    "--propose-jls-lossy": JPEGLSNearLossless,
    "--propose-mpeg2": MPEG2MPML,
    "--propose-mpeg2-high": MPEG2MPHL,
    "--propose-mpeg4": MPEG4HP41,
    "--propose-mpeg4-bd": MPEG4HP41BD,
    "--propose-mpeg4-2-2d": MPEG4HP422D,
    "--propose-mpeg4-2-3d": MPEG4HP423D,
    "--propose-mpeg4-2-st": MPEG4HP42STEREO,
    "--propose-hevc": HEVCMP51,
    "--propose-hevc10": HEVCM10P51,
    "--propose-rle": RLELossless,
    "--propose-deflated": DeflatedExplicitVRLittleEndian,
}


@pytest.mark.parametrize(("option", "syntax"), _PROPOSALS.items(), ids=lambda each: each.strip("-"))
def test_storescu_proposes(
    node: Any, require_tool: Any, tmp_path: Path, eventually: Any, option: str, syntax: UID
) -> None:
    """Each encoding that DCMTK can propose is accepted, and an object in it comes as it is."""
    file = _written(tmp_path, syntax)
    arguments = (option, "-aec", "NODE", "127.0.0.1", str(node.scp.port), str(file))
    result = _run(require_tool("storescu", "dcmtk"), *arguments)
    assert result.returncode == 0, result.stderr
    assert eventually(lambda: node.ledger.records)
    assert f"{SecondaryCaptureImageStorage} {syntax}" in node.ledger.records[0].accepted
    (kept,) = node.ledger.instances
    assert kept.transfer_syntax_uid == syntax
    assert b"".join(_fragments(node.store.path_of(kept.path))) == b"".join(_fragments(file))


def _written(folder: Path, syntax: UID) -> Path:
    """Write a small secondary capture in an encoding; a compressed one holds fragments that nobody decodes."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, "2.25.1"
    image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.1.1", "2.25.1.2"
    image.PatientID, image.Modality, image.ConversionType = "", "OT", "WSD"
    image.Rows = image.Columns = image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 7, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = encapsulate([bytes(range(64))]) if syntax.is_encapsulated else bytes(range(64))
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = syntax.is_encapsulated
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    path = folder / "capture.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def _fragments(path: Path) -> list[bytes]:
    image = dcmread(path)
    if not image.file_meta.TransferSyntaxUID.is_encapsulated:
        return [image.PixelData]
    return list(generate_fragments(image.PixelData))


_CONFIGURATION = """
[[TransferSyntaxes]]
[Lossless]
TransferSyntax1 = JPEGLossless:Non-hierarchical-1stOrderPrediction
TransferSyntax2 = LittleEndianExplicit
[Uncompressed]
TransferSyntax1 = LittleEndianExplicit
TransferSyntax2 = BigEndianExplicit
TransferSyntax3 = LittleEndianImplicit
[[PresentationContexts]]
[Capture]
PresentationContext1 = SecondaryCaptureImageStorage\\Lossless
PresentationContext2 = SecondaryCaptureImageStorage\\Uncompressed
PresentationContext3 = CTImageStorage\\Lossless
PresentationContext4 = VerificationSOPClass\\Uncompressed
[[SCPSCURoleSelection]]
[Both]
Role1 = SecondaryCaptureImageStorage\\Both
[[ExtendedNegotiation]]
[Storage]
ExtendedNegotiation1 = SecondaryCaptureImageStorage\\020000000000
[[Profiles]]
[Scanner]
PresentationContexts = Capture
SCPSCURoleSelection = Both
ExtendedNegotiation = Storage
"""


def test_storescu_with_a_configuration_file(node: Any, require_tool: Any, tmp_path: Path, eventually: Any) -> None:
    """`-xf`: several contexts of one SOP class, roles and extended negotiation, as scanners are set up with."""
    configuration = tmp_path / "storescu.cfg"
    configuration.write_text(_CONFIGURATION)
    file = _written(tmp_path, ExplicitVRLittleEndian)
    arguments = ("-d", "-xf", str(configuration), "Scanner", "-aec", "NODE", "127.0.0.1", str(node.scp.port))
    result = _run(require_tool("storescu", "dcmtk"), *arguments, str(file))
    assert result.returncode == 0, result.stderr
    assert eventually(lambda: node.ledger.records)
    (record,) = node.ledger.records
    assert (record.refused, len(record.accepted), record.kept) == ((), 4, 1)
    _, _, heard = (result.stdout + result.stderr).partition("A-ASSOCIATE-AC")
    assert heard.count("Accepted SCP/SCU Role: SCU") == 2
    assert "Accepted Extended Negotiation:\nD:   =SecondaryCaptureImageStorage" in heard
    assert "[0x02, 0x00, 0x03, 0x00, 0x00, 0x00]" in heard


def test_storescu_as_debian_configures_it(node: Any, require_tool: Any, tmp_path: Path, eventually: Any) -> None:
    """DCMTK's own storescu.cfg: some hundred contexts, every one of them accepted."""
    configuration = Path("/etc/dcmtk/storescu.cfg")
    if not configuration.exists():
        pytest.skip("this DCMTK has brought no storescu.cfg")
    file = _written(tmp_path, ExplicitVRLittleEndian)
    arguments = ("-xf", str(configuration), "Default", "-aec", "NODE", "127.0.0.1", str(node.scp.port), str(file))
    result = _run(require_tool("storescu", "dcmtk"), *arguments)
    assert result.returncode == 0, result.stderr
    assert eventually(lambda: node.ledger.records)
    (record,) = node.ledger.records
    assert (record.refused, record.kept) == ((), 1)
    assert len(record.accepted) > 50


def test_storescu_aborting(node: Any, require_tool: Any, shared_data: Path, eventually: Any) -> None:
    """`storescu --abort` is an abort, after an instance that was kept."""
    (file, *_) = _by_syntax(shared_data)["-xe"]
    _run(require_tool("storescu", "dcmtk"), "--abort", "-aec", "NODE", "127.0.0.1", str(node.scp.port), file)
    assert eventually(lambda: node.ledger.ends)
    assert len(node.ledger.instances) == 1
    assert node.ledger.ends[0][1] is AssociationEnd.ABORTED


def test_a_killed_sender_is_lost(node: Any, require_tool: Any, shared_data: Path, eventually: Any) -> None:
    """Kill -9 of the sender in the middle: LOST, what was acknowledged is there, no temporary file stays."""
    (file, *_) = _by_syntax(shared_data)["-xe"]
    arguments = ["--repeat", "500", "-aec", "NODE", "127.0.0.1", str(node.scp.port), file]
    sender = subprocess.Popen([require_tool("storescu", "dcmtk"), *arguments])
    assert eventually(lambda: len(node.ledger.instances) >= 5)
    sender.kill()
    sender.wait(10)
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1] is AssociationEnd.LOST
    assert eventually(lambda: not node.files("incoming"))
    assert node.still_serves()
