"""Orthanc takes pictures, documents, key objects and presentation states, and shows what was drawn and printed."""

import http.client
import json
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread

from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.stored import peer
from dicom_node.results import BuiltObject, encode
from dicom_node.storage_scu import OutgoingObject, StorageSCU, Verdict
from tests.picture_cases import built, page_texts, pdf_of, rich


def asked(pacs: OrthancPacs, built_object: BuiltObject, what: str) -> bytes:
    """Return what Orthanc's REST interface says of one instance."""
    with closing(http.client.HTTPConnection("127.0.0.1", pacs.http_port, timeout=60)) as line:
        line.request("POST", "/tools/lookup", built_object.sop_instance_uid)
        (found,) = json.loads(line.getresponse().read())
        line.request("GET", f"/instances/{found['ID']}/{what}", headers={"Accept": "image/png"})
        answer = line.getresponse()
        content = answer.read()
    assert answer.status == http.client.OK, content
    return content


def test_orthanc_stores_and_shows_them(orthanc: OrthancPacs, tmp_path: Path) -> None:
    """Each is answered with success; its picture is ours pixel by pixel, its PDF ours byte by byte."""
    objects = built(rich())
    outgoing = []
    for each in objects:
        path = tmp_path / each.name
        path.write_bytes(encode(each))
        outgoing.append(OutgoingObject(path, each.sop_class_uid, each.sop_instance_uid, each.transfer_syntax_uid))
    outcomes = list(StorageSCU("DICOM_NODE", 20).store(peer(orthanc), outgoing))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * len(objects)
    for each in objects:
        assert dcmread(BytesIO(orthanc.fetch(each.sop_instance_uid))) == dcmread(BytesIO(encode(each)))
        if each.kind == "SC":
            shown = np.asarray(Image.open(BytesIO(asked(orthanc, each, "preview"))))
            assert (shown == each.dataset.pixel_array).all()
        if each.kind == "PDF":
            document = asked(orthanc, each, "pdf")
            assert document.rstrip(b"\0") == pdf_of(each.dataset).rstrip(b"\0")
            assert "AI RESULT" in page_texts(document)[0]
