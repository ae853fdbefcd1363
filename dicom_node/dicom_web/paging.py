"""Matches that come page by page (PS3.18 8.3.4.4); no server is asked for ever."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from dicom_node.dicom_web.dicom_json import DataSet, first_text

#: A server that always has another page is not believed.
_MOST_PAGES: Final = 1000
#: Some matches, and whether there may be more.
Page = tuple[Sequence[DataSet], bool]


def paged(ask: Callable[[int], Page], uid_keyword: str) -> Iterator[DataSet]:
    """Yield every match once, until nothing new comes: a server may ignore that it is asked for another page.

    Parameters
    ----------
    ask : callable
        Returns the page that begins after so many matches.
    uid_keyword : str
        What tells the matches apart.
    """
    seen: set[str] = set()
    offset = 0
    for _ in range(_MOST_PAGES):
        page, more = ask(offset)
        offset += len(page)
        new = [match for match in page if first_text(match, uid_keyword) not in seen]
        seen |= {first_text(match, uid_keyword) for match in new}
        yield from new
        if not new or not more:
            return
