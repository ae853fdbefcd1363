"""A destination is asked what it accepts; jobs make what it can take, and an administrator is told what it cannot."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE

from dicom_node.delivering import Delivering
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.offers import Offers, fitted
from dicom_node.presentation import LABEL_MAP_STORAGE
from dicom_node.settings import DicomDestination, ResultKind, ResultProfile, Settings

OLD = ResultProfile(name="old", segmentation="labelmap")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    found = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield found
    found.close()


@pytest.fixture
def old_pacs() -> Iterator[int]:
    """A PACS that takes pictures and reports in Explicit VR Little Endian only; the port."""
    entity = AE("PACS")
    for sop_class in (Comprehensive3DSRStorage, SecondaryCaptureImageStorage):
        entity.add_supported_context(sop_class, ExplicitVRLittleEndian)
    server: Any = entity.start_server(("127.0.0.1", 0), block=False)
    yield int(server.server_address[1])
    server.shutdown()


def _learned(ledger: Ledger, folder: Path, port: int, profile: ResultProfile) -> tuple[Offers, Settings]:
    pacs = DicomDestination(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=port, profile=profile.name, timeout_seconds=5
    )
    settings, offers = Settings(destinations=(pacs,), profiles=(profile,)), Offers()
    delivering = Delivering(settings, ledger, InstanceStore(folder / "store", 0), time.time, offers)
    for _ in range(2):
        delivering.learn(pacs)
    return offers, settings


def test_an_old_pacs_gets_what_it_can_show(ledger: Ledger, tmp_path: Path, old_pacs: int) -> None:
    """Neither form of segmentation: pictures instead, said once in the ledger."""
    offers, settings = _learned(ledger, tmp_path, old_pacs, OLD)
    form = fitted(settings.profile("old"), offers.of("pacs"))
    assert offers.of("pacs")[LABEL_MAP_STORAGE] is False
    assert (form.segmentation, form.kinds[0]) == ("binary", ResultKind.PICTURE)
    told = [text for _, kind, text in ledger.events() if kind == "destination takes less"]
    assert "pacs: Segmentation Storage is not accepted" in told[1]
    assert sum("Segmentation Storage is not accepted: pictures" in text for text in told) == 1


def test_it_is_asked_in_the_encoding_of_its_profile(ledger: Ledger, tmp_path: Path, old_pacs: int) -> None:
    """Who takes Explicit VR only takes nothing of a profile in Implicit VR."""
    implicit = ResultProfile(name="implicit", transfer_syntax="implicit", kinds=(ResultKind.REPORT,))
    offers, _ = _learned(ledger, tmp_path, old_pacs, implicit)
    assert offers.of("pacs") == {str(Comprehensive3DSRStorage): False}


def test_one_that_is_away_is_no_news(ledger: Ledger, tmp_path: Path, old_pacs: int) -> None:
    """Nothing is known of a destination that does not answer, and nothing of what was known is forgotten."""
    offers, settings = _learned(ledger, tmp_path, old_pacs, OLD)
    before = offers.of("pacs")
    away = settings.destinations[0].model_copy(update={"port": 1})
    delivering = Delivering(settings, ledger, InstanceStore(tmp_path / "store", 0), time.time, offers)
    delivering.learn(away)
    assert offers.of("pacs") == before
