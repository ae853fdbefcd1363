"""What an archive has of a study and the node lacks: asked for when the study is quiet, before it is frozen."""

import time

from dicom_node.fetching.outcome import Outcome
from dicom_node.fetching.pulling import Puller
from dicom_node.ledger import Fetch


def fetch_missing(puller: Puller, fetch: Fetch) -> Outcome:
    """Fetch what is missing of a study.

    Raises
    ------
    Failure
        If the archive cannot be asked, or breaks off; what came stays.
    """
    until = time.monotonic() + fetch.give_up_at - puller.clock()
    archive = puller.archive(fetch.archive)
    study = fetch.study_instance_uid
    contents = archive[1].contents(study)
    if not any(contents.values()):
        return Outcome("it does not have the study")
    pulled = puller.pull(archive, {study: contents}, {study: puller.lacking(contents)}, until)
    return Outcome(str(pulled), broke=pulled.lack(fetch.attempts))
