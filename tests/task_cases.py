"""An order for a worker, on images and a store in a folder."""

from pathlib import Path

from dicom_node.instance_store import InstanceStore
from dicom_node.study_folder import one_study
from dicom_node.task import Order, Product
from tests.ledger_cases import NOW
from tests.results_cases import profile
from tests.study_cases import write_study


def order_for(folder: Path, pipeline: str = "bright_voxels") -> Order:
    """Return an order for six good slices."""
    write_study(folder / "images")
    InstanceStore(folder / "store", free_space_floor=0)
    return Order(
        name="J1",
        pipeline=pipeline,
        settings={},
        inputs={"t1": tuple(one_study(folder / "images").instances.values())},
        created_at=NOW,
        store=folder / "store",
        node_name="node1",
        products=(Product(profile(), ("pacs",)),),
        device="cpu",
    )
