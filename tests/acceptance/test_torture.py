"""The torture tests of `bench/`, short: that they run, what they find, and that they would find it."""

import hashlib
import random
from pathlib import Path
from typing import Any

from bench import hostile, power
from bench.mutations import Corpus, make
from bench.recording import DataSet
from bench.repeating_senders import Image, judge, new_image, new_uid
from bench.upper_layer import EXPLICIT_LITTLE, MR_STORAGE, c_store
from dicom_node.entities import Association, InstanceRef, SameUidPolicy
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import open_ledger

_SENDER = Association("a", "SCANNER", "NODE", "127.0.0.1", 0.0)


def test_killed_receivers_lose_nothing(tmp_path: Path) -> None:
    """A short run of `bench.power`: every acknowledged instance is in the ledger and in the store, byte for byte."""
    count, told = power.run(tmp_path, 4, 4, 65536, random.Random(1), print)  # noqa: S311 - guards no secret
    assert count.acknowledged > 0
    assert count.wrong == 0
    assert sum(number for name, number in told.items() if name.startswith("killed")) == 4
    assert told["temporary files left"] == 0


def test_the_judge_sees_every_kind_of_loss(tmp_path: Path) -> None:
    """No row, no file, other bytes in the file, other bytes in the row: each is counted for what it is."""
    store = InstanceStore(tmp_path / "store", 0)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    images = [new_image(new_uid(), new_uid(), bytes(256)) for _ in range(4)]
    refs = [_received(image, store) for image in images[:3]]
    for ref in refs:
        ledger.arrivals.note_arrival(ref, _SENDER, 0.0, SameUidPolicy.KEEP_FIRST)
    digests = {image.uid: hashlib.sha256(image.data).hexdigest() for image in images[:3]}
    assert judge(ledger, store.root, digests.items()).wrong == 0
    store.path_of(refs[0].path).unlink()
    with store.path_of(refs[1].path).open("ab") as file:
        file.write(b"\0")
    wanted = digests | {images[2].uid: "0" * 64, images[3].uid: "0" * 64}
    count = judge(ledger, store.root, wanted.items())
    ledger.close()
    assert (count.acknowledged, count.without_row, count.without_file, count.other_bytes) == (4, 1, 1, 2)


def _received(image: Image, store: InstanceStore) -> InstanceRef:
    part = store.incoming(MR_STORAGE, image.uid, EXPLICIT_LITTLE, "SCANNER")
    part.write(image.data)
    return store.keep(part, MR_STORAGE, image.uid)


def test_hostile_peers_do_no_harm(tmp_path: Path, require_tool: Any) -> None:
    """A short run of `bench.hostile`: nothing ends but associations, nothing is left over, no 0x0000 is untrue."""
    require_tool("storescu", "dcmtk")
    found = hostile.run(tmp_path, 8, 1, 4, range(80), print)
    assert found.crashes == []
    assert found.leaked == dict.fromkeys(found.leaked, 0), list(hostile.told(found))
    assert (found.claims.wrong, found.normal.wrong) == (0, 0)
    assert found.inputs.total() > 20
    assert found.normal.acknowledged > 0
    assert found.clean


def test_the_same_numbers_give_the_same_inputs() -> None:
    """A case that was found can be sent again."""
    image = new_image("2.25.1", "2.25.2", bytes(256))
    data = DataSet(MR_STORAGE, image.uid, EXPLICIT_LITTLE, image.data)
    corpus = Corpus([c_store(1, 1, MR_STORAGE, image.uid, image.data)], [data])
    first, again = ([make(corpus, 5, number) for number in range(200)] for _ in range(2))
    assert first == again
    assert len({given.kind for given in first}) == 7
    assert len({given.pieces for given in first}) > 100
