"""What a rule says of how its job is to be done: kept with the job, as the rule may be another one by then."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dicom_node.ledger.moves import to_json


@dataclass(frozen=True, slots=True)
class JobTerms:
    """The terms of one job.

    Parameters
    ----------
    profiles : mapping
        Destination -> result profile, where the rule wants another one than the destination's own.
    windows : tuple of str
        When it may start; empty: at any time.
    dry_run : bool
        True: its results are stored and sent nowhere.
    beside : bool
        True: its results stand beside those on earlier images; False: they take their place.
    settling : bool
        True: more images of the study may come before it starts, and then the next revision decides.
    early : bool
        True: its rule took the study for whole sooner than `[completion]` of node.toml does.
    """

    profiles: Mapping[str, str] = field(default_factory=dict)
    windows: tuple[str, ...] = ()
    dry_run: bool = False
    beside: bool = False
    settling: bool = False
    early: bool = False

    def written(self) -> str:
        """Return the terms as JSON, without what is not special."""
        return to_json({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def read(cls, text: str) -> "JobTerms":
        """Return the terms that `written` wrote."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values | {"windows": tuple(values.get("windows", ()))})


#: How the terms of a dry run, and of a job that settles, are written; for the database to find them.
DRY_RUN = '%"dry_run":true%'
SETTLING = '%"settling":true%'
