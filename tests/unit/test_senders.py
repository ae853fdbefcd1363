"""The way to each destination: chosen by its protocol, made once."""

import time
from pathlib import Path

import pytest

from dicom_node.dicom_web import StowRsSender
from dicom_node.folder_sender import FolderSender
from dicom_node.senders import Senders, StorageSender
from dicom_node.settings import Destination, DicomDestination, DicomWebDestination, FolderDestination

_PACS = DicomDestination(name="a", ae_title="PACS", host="h", port=104)
_WEB = DicomWebDestination(name="b", protocol="dicomweb", url="https://h/studies?key=geheim")
_SHARE = FolderDestination(name="c", protocol="folder", path=Path("/mnt/share"))


@pytest.mark.parametrize(
    ("destination", "kind", "shown"),
    [
        (_PACS, StorageSender, "PACS@h:104"),
        (_WEB, StowRsSender, "https://h/studies"),
        (_SHARE, FolderSender, "/mnt/share"),
    ],
)
def test_the_protocol_chooses(destination: Destination, kind: type, shown: str) -> None:
    """Each protocol has its sender, which is called as an administrator knows the place; nothing is opened for it."""
    sender = Senders("NODE", time.time).of(destination)
    assert type(sender) is kind
    assert str(sender) == shown


def test_a_sender_is_made_once() -> None:
    """A token, a pause that a server asked for, and a limit on bytes outlive a delivery."""
    senders = Senders("NODE", time.time)
    assert senders.of(_WEB) is senders.of(_WEB)
    assert senders.of(_WEB) is not senders.of(_WEB.model_copy(update={"name": "other"}))
