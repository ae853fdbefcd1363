"""The installed node as a process: a refusal reaches those who wait for a result, and its administrator."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import SegmentationStorage

from bench.peers import NodeProcess, settings_text
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.stored import free_port, peer
from dicom_node.lifecycle import DeliveryState, JobState
from tests.node_house import House, Moods, kinds, rule, until
from tests.study_cases import write_study

# pynetdicom 3.0 leaves the socket of a peer that went away to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_PROFILE = '[[profile]]\nname = "told"\nnot_run = "SC"\n'


def test_a_refusal_is_in_the_pacs_and_the_job_is_held(tmp_path: Path) -> None:
    """A slice is missing: the job is HELD with its reason, and the study in the PACS has a picture that says so."""
    pacs, port = SmallPacs(tmp_path / "pacs", "PACS1"), free_port()
    settings = settings_text({"pacs": peer(pacs)}, port, extra=_PROFILE, destination='profile = "told"')
    node = NodeProcess(tmp_path / "node", settings, rule("bright_voxels"), port)
    study = write_study(tmp_path / "images", "bright_voxels", numbers=(0, 1, 2, 4, 5))
    with pacs, node, node.ledger() as ledger:
        house = House(node, ledger, pacs, pacs, pacs, Moods())
        house.push(tmp_path / "images")
        job = house.job(study, JobState.HELD)
        (delivery,) = house.delivered(study, 1)
        assert (delivery.kind, delivery.job_id, delivery.state) == ("SC", job.id, DeliveryState.DELIVERED)
        (stored,) = pacs.stored(study)
        picture = dcmread(pacs._folder / f"{stored.sop_instance_uid}.dcm")
        assert picture.ImageComments == f"Bright voxels did not run: {job.reason}"
        assert "missing" in job.reason
        assert ledger.jobs.get(job.id) == job


def test_pictures_take_the_place_of_segmentations(tmp_path: Path) -> None:
    """A PACS refuses SEG in the association: it has the report, and pictures with outlines, by itself."""
    pacs, port = SmallPacs(tmp_path / "pacs", "PACS1", refused=frozenset({SegmentationStorage})), free_port()
    node = NodeProcess(tmp_path / "node", settings_text({"pacs": peer(pacs)}, port), rule("bright_voxels"), port)
    study = write_study(tmp_path / "images", "bright_voxels")
    with pacs, node, node.ledger() as ledger:
        until(lambda: any(kind == "destination takes less" for _, kind, _ in ledger.events()))
        house = House(node, ledger, pacs, pacs, pacs, Moods())
        house.push(tmp_path / "images")
        job = house.job(study, JobState.DONE)
        made = [result.kind for result in ledger.jobs.results(job.id)]
        house.delivered(study, len(made))
        assert set(made) == {"SC", "SR"}
        assert set(kinds(pacs, study)) == {"SC", "SR"}
