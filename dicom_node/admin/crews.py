"""Threads for what takes long: a few for each kind of work, so that no quick question of a page waits for it.

Pages and API ask the ledger in threads that all share. Decoding a series, or waiting for a destination that is off,
would keep those from everybody else.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, TypeVar

from dicom_node.errors import Failure

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")
#: Under way and waiting, of each kind: who comes later is told so and keeps no memory.
_MOST: Final = 100


class CrewBusy(Failure):
    """Too much of the same kind is under way already."""

    retryable = True


class Crew:
    """A few threads for one kind of work.

    Parameters
    ----------
    name : str
        Of its threads.
    most : int
        Under way and waiting, together.
    """

    def __init__(self, name: str, threads: int, most: int = _MOST) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(most)

    async def do(self, work: Callable[_Given, _Value], *given: _Given.args, **named: _Given.kwargs) -> _Value:
        """Do something in one of the threads; who stops waiting before it began gives the place free.

        Raises
        ------
        CrewBusy
            If too many wait already.
        """
        if not self._places.acquire(blocking=False):
            raise CrewBusy("the node is busy with many requests like this one: wait a moment, then try again")
        try:
            done = self._pool.submit(work, *given, **named)
        except RuntimeError:  # the node stops
            self._places.release()
            raise CrewBusy("the node stops") from None
        done.add_done_callback(self._leave)
        return await asyncio.wrap_future(done)

    def _leave(self, _done: Future[_Value]) -> None:
        self._places.release()

    def stop(self) -> None:
        """Begin nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Crews:
    """The crews of an office.

    Parameters
    ----------
    volumes : Crew
        Decodes whole series.
    pictures : Crew
        Draws slices of decoded series, marks and thumbnails.
    tests : Crew
        Waits for destinations that are tested; each may take half a minute a step.
    bulk : Crew
        Acts on many studies, and lists them all.
    trials : Crew
        Waits for rules that are tried. One trial at a time: the others are for telling the next that it is busy.
    """

    volumes: Crew = field(default_factory=partial(Crew, "volumes", 2))
    pictures: Crew = field(default_factory=partial(Crew, "pictures", 4))
    tests: Crew = field(default_factory=partial(Crew, "tests", 8))
    bulk: Crew = field(default_factory=partial(Crew, "bulk", 2))
    trials: Crew = field(default_factory=partial(Crew, "trials", 2))

    def stop(self) -> None:
        """Begin nothing any more."""
        for crew in (self.volumes, self.pictures, self.tests, self.bulk, self.trials):
            crew.stop()
