"""The parts of brain extraction that need no weights: clean masks, honest doubts, weights that are checked."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from highdicom import Volume

from dicom_node.contract import Findings, Pipeline
from dicom_node.errors import ModelUnavailable
from pipelines.brain_extraction import BrainExtraction
from pipelines.brain_plausibility import Evidence, doubts, evidence
from pipelines.deepbet_engine import NOTHING_FOUND, Engine
from pipelines.deepbet_files import WEIGHTS
from pipelines.deepbet_outline import Outline, brain_mask, filled, largest_piece, outline
from pipelines.deepbet_weights import Networks, load_networks

#: What a real head gives (Siemens Prisma).
HEAD = Evidence(volume_ml=1550, surroundings=0.57, uncertain=0.021, cut=0.0)


def _bright(image: torch.Tensor) -> torch.Tensor:
    """Stand in for a network: bright is brain."""
    bright = (image > 0.55).float()
    return torch.cat([1 - bright, bright], dim=1)


def _nothing(image: torch.Tensor) -> torch.Tensor:
    """Stand in for a network that sees no brain."""
    return torch.cat([torch.ones_like(image), torch.zeros_like(image)], dim=1)


NETWORKS = Networks(outline=_bright, locate=_bright, device=torch.device("cpu"), sha256="ab" * 32)


def _pipeline(networks: Networks = NETWORKS) -> BrainExtraction:
    pipeline = BrainExtraction()
    pipeline._engine = Engine(networks)
    return pipeline


def _head() -> Volume:
    """Return a lopsided bright block with holes, in a grey head, in air: 4 mm sagittal voxels, slightly oblique."""
    array = np.zeros((44, 60, 56), np.float32)
    array[2:42, 2:58, 2:54] = 30
    array[10:32, 10:48, 8:40] = 100
    array[12:18, 40:52, 12:20] = 100
    array[20, 20, 20] = 0
    sine, cosine = np.sin(0.1), np.cos(0.1)
    turn = np.array([[0.0, 0.0, -1.0], [cosine, -sine, 0.0], [-sine, -cosine, 0.0]])
    return Volume.from_components(
        array,
        spacing=(4.0, 4.0, 4.0),
        position=(100, -90, 80),
        direction=turn[:, [2, 1, 0]],
        coordinate_system="PATIENT",
    )


def _run(volume: Volume, **settings: float) -> Findings:
    return _pipeline().run({"t1": volume}, settings, lambda _share, _words: None)


def test_it_is_a_pipeline() -> None:
    """What the node finds by the entry point fulfils the contract."""
    assert isinstance(BrainExtraction(), Pipeline)
    assert BrainExtraction.roles["t1"].minimum_slices == 32


def test_the_largest_piece_holds_together_at_corners() -> None:
    """26 neighbours: voxels that touch at a corner are one piece; the smaller piece goes."""
    mask = np.zeros((6, 6, 6), np.bool_)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[5, 5, 4:] = True
    assert np.argwhere(largest_piece(mask)).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def test_the_largest_piece_of_nothing_is_nothing() -> None:
    """An empty mask stays empty."""
    assert not largest_piece(np.zeros((3, 3, 3), np.bool_)).any()


def test_holes_are_filled_and_openings_are_not() -> None:
    """A cavity closed to its faces is filled; one that a face-connected path joins to the border stays."""
    mask = np.ones((7, 7, 7), np.bool_)
    mask[3, 3, 3] = False
    mask[1, 1, :2] = False
    whole = filled(mask)
    assert whole[3, 3, 3]
    assert not whole[1, 1, :2].any()


def test_a_full_mask_stays_full() -> None:
    """No background at all is no fault."""
    assert filled(np.ones((3, 3, 3), np.bool_)).all()


def test_the_mask_lies_where_its_box_lies() -> None:
    """Probabilities are those of the box; above the threshold, not at it, is brain."""
    probability = np.full((3, 3, 3), 0.5, np.float32)
    probability[1, 1, 1] = 0.75
    mask = brain_mask(Outline(probability, (slice(2, 5), slice(4, 7), slice(0, 3))), (8, 8, 8), 0.5)
    assert np.argwhere(mask).tolist() == [[3, 5, 1]]


def test_an_image_of_one_value_has_no_brain() -> None:
    """Without contrast there is nothing to scale, and nothing to find."""
    assert outline(NETWORKS, np.full((8, 8, 8), 7, np.float32), lambda: None) is None


def test_nothing_located_is_said_in_words() -> None:
    """No segment, no measurement, one remark."""
    findings = _pipeline(replace(NETWORKS, locate=_nothing)).run({"t1": _head()}, {}, lambda _share, _words: None)
    assert (findings.segments, findings.measurements, findings.remarks) == ((), (), (NOTHING_FOUND,))


def test_nothing_outlined_is_said_in_words() -> None:
    """The same if only the second network sees nothing."""
    findings = _pipeline(replace(NETWORKS, outline=_nothing)).run({"t1": _head()}, {}, lambda _share, _words: None)
    assert (findings.segments, findings.remarks) == ((), (NOTHING_FOUND,))


def test_the_mask_is_that_of_the_input_whatever_its_orientation() -> None:
    """All orders and directions of axes give the same brain, on the grid that came in, and the same volume."""
    head = _head()
    (expected,) = _run(head).segments
    for axes in itertools.permutations(range(3)):
        turned = head.permute_spatial_axes(axes).flip_spatial([axes[0]])
        findings = _run(turned)
        back = turned.with_array(findings.segments[0].mask).flip_spatial([axes[0]])
        np.testing.assert_array_equal(back.permute_spatial_axes(np.argsort(axes)).array, expected.mask)


def test_the_volume_is_voxels_times_voxel_volume_in_millilitres() -> None:
    """Coded Volume (118565006, SCT) in UCUM ml, of the segment."""
    findings = _run(_head())
    (segment,), (measurement,) = findings.segments, findings.measurements
    assert measurement.value == pytest.approx(np.count_nonzero(segment.mask) * 64 / 1000)
    assert (measurement.name.value, measurement.unit.value, measurement.segment) == ("118565006", "ml", "Brain")
    assert segment.mask[20, 20, 20]


def test_the_algorithm_says_what_made_the_findings() -> None:
    """Name, version, weights and every setting, defaults included (TID 4019)."""
    algorithm = _run(_head(), threshold=0.6).algorithm
    assert (algorithm.name, algorithm.version) == ("brain_extraction", "1.0.0")
    assert algorithm.family.value == "123110"
    assert algorithm.weights_sha256 == NETWORKS.sha256
    assert algorithm.parameters == {"threshold": 0.6, "minimum_volume_ml": 700.0, "maximum_volume_ml": 2200.0}


def test_an_implausible_outline_gives_no_volume() -> None:
    """A remark with the reason, no segment, no measurement."""
    findings = _run(_head(), maximum_volume_ml=1000.0)
    assert (findings.segments, findings.measurements) == ((), ())
    assert findings.remarks[0].startswith("What was outlined is not plausible as a brain: its volume of ")


def test_progress_is_told_in_order() -> None:
    """Shares grow from 0 to 1, each with words."""
    told: list[tuple[float, str]] = []
    _pipeline().run({"t1": _head()}, {}, lambda share, words: told.append((share, words)))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert all(0 <= share <= 1 and words for share, words in told)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"volume_ml": 2459}, "volume of 2459 ml is outside 700 to 2200 ml"),
        ({"volume_ml": 562}, "volume of 562 ml is outside"),
        ({"surroundings": 0.18}, "only 18% of what surrounds it is tissue"),
        ({"uncertain": 0.056}, "outline is uncertain (5.6%"),
        ({"cut": 0.16}, "edge of the images cuts through it (16%"),
    ],
)
def test_each_doubt_is_said_with_its_number(change: dict[str, float], words: str) -> None:
    """One statistic out of its range is enough, and is named."""
    (doubt,) = doubts(replace(HEAD, **change), 700, 2200)
    assert words in doubt


def test_a_head_raises_no_doubt() -> None:
    """The statistics of a real head are plausible."""
    assert doubts(HEAD, 700, 2200) == []


def test_surroundings_are_the_share_of_tissue_in_the_shell() -> None:
    """A ball in a bright half-space: half of the shell around it is tissue; in air, none is."""
    grid = np.indices((60, 60, 60)) * 2.0 - 60
    ball = (grid**2).sum(axis=0) < 30**2
    found = Outline(ball.astype(np.float32), (slice(None),) * 3)
    half = np.where(ball | (grid[0] > 0), 100, 0).astype(np.float32)
    assert evidence(half, ball, found, (2.0, 2.0, 2.0)).surroundings == pytest.approx(0.5, abs=0.03)
    assert evidence(np.where(ball, 100, 0).astype(np.float32), ball, found, (2.0,) * 3).surroundings == 0


def test_cut_is_the_share_of_the_surface_on_the_edge() -> None:
    """A block against one side of the image is cut there: one face of six."""
    mask = np.zeros((8, 8, 8), np.bool_)
    mask[:4, 2:6, 2:6] = True
    found = Outline(mask.astype(np.float32), (slice(None),) * 3)
    seen = evidence(mask.astype(np.float32), mask, found, (10.0, 10.0, 10.0))
    assert seen.cut == pytest.approx(1 / 6)
    assert seen.volume_ml == pytest.approx(64)


def test_run_before_load_is_refused() -> None:
    """Weights are loaded once per worker; without them nothing runs."""
    with pytest.raises(ModelUnavailable, match="call load before run"):
        BrainExtraction().run({"t1": _head()}, {}, lambda _share, _words: None)


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    """The administrator reads the command that installs them."""
    with pytest.raises(ModelUnavailable, match=r"model\.pt is missing; .*pip install --no-deps deepbet==1\.0\.2"):
        load_networks("cpu", tmp_path)


def test_weights_that_were_changed_are_refused(tmp_path: Path, shared_models: Path) -> None:
    """One changed byte, and the file is not loaded at all."""
    for name in WEIGHTS:
        shutil.copyfile(shared_models / "deepbet" / name, tmp_path / name)
    spoilt = bytearray((tmp_path / "bbox_model.pt").read_bytes())
    spoilt[1000] ^= 1
    (tmp_path / "bbox_model.pt").write_bytes(spoilt)
    with pytest.raises(ModelUnavailable, match=r"bbox_model\.pt is not the file published with deepbet 1\.0\.2"):
        load_networks("cpu", tmp_path)


def test_a_device_that_is_not_there_is_refused(shared_models: Path) -> None:
    """A GPU in the settings, but none in the machine."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelUnavailable, match=r"set compute\.device to 'cpu'"):
        load_networks("cuda:0", shared_models / "deepbet")
