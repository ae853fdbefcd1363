"""One DICOMweb server as a user agent sees it: authorised requests, again where that helps, none while it is busy."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from dicom_node.dicom_web import statuses
from dicom_node.dicom_web.authorisation import authorisation
from dicom_node.dicom_web.web import Answer, Arriving, Head, Web, named, same_server
from dicom_node.errors import PeerUnreachable
from dicom_node.settings import WebConnection

_UNAUTHORISED: Final = 401
_JSON: Final = "application/dicom+json"
_Head = TypeVar("_Head", bound=Head)


class Content(Protocol):
    """What a request carries."""

    @property
    def content_type(self) -> str:
        """The Content-Type header."""
        ...

    @property
    def length(self) -> int:
        """Bytes."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield it piece by piece."""
        ...


class Service:
    """Requests to one server; what it knows of tokens and pauses is shared by all that ask there.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, connection: WebConnection, clock: Callable[[], float]) -> None:
        self._url = connection.url
        self._web = Web(connection)
        self._authorisation = authorisation(connection, self._web, clock)
        self._clock = clock
        self._name: Final = named(connection.url)
        self._not_before = 0.0

    def __str__(self) -> str:
        """Return its address, as far as it may be shown."""
        return self._name

    def asked(self, method: str, path: Sequence[str] = (), query: Sequence[tuple[str, str]] = ()) -> Answer:
        """Return the answer to a question about something below the address.

        Raises
        ------
        PeerUnreachable, PeerRefused, TlsUnusable
            If there is no answer, the server wants to be left alone, or there is no token.
        """
        return self._asked(lambda url: self._once(method, url, None, 0.0), self._address(path, query))

    def posted(self, body: Callable[[], Content], longer: float) -> Answer:
        """Return the answer to a POST; raises as `asked`.

        Parameters
        ----------
        body : callable
            Gives the body anew for each attempt.
        longer : float
            Seconds that the server may take beyond the timeout.
        """
        return self._asked(lambda url: self._once("POST", url, body, longer), self._url)

    @contextmanager
    def getting(self, path: Sequence[str], accept: str, until: float) -> Iterator[Arriving]:
        """Give what is below the address while it arrives; raises as `asked`, and while it is read.

        Parameters
        ----------
        accept : str
            The Accept header.
        until : float
            Seconds of the monotonic clock: what is not there in full by then is given up.
        """
        with ExitStack() as answers:

            def once(url: str) -> Arriving:
                answers.close()  # what the answer before says is of no interest
                headers = {"Accept": accept, **self._authorisation.header()}
                return answers.enter_context(self._web.getting(url, headers, until))

            yield self._asked(once, self._address(path, ()))

    def _address(self, path: Sequence[str], query: Sequence[tuple[str, str]]) -> str:
        parts = urlsplit(self._url)
        below = "/".join([parts.path.rstrip("/") if path else parts.path, *(quote(each, safe=".") for each in path)])
        given = [parts.query] if parts.query else []
        return urlunsplit(
            parts._replace(path=below, query="&".join([*given, *([urlencode(query)] if query else [])]))
        )

    def _asked(self, once: Callable[[str], _Head], url: str) -> _Head:
        left = self._not_before - self._clock()
        if left > 0:
            raise PeerUnreachable(f"{self._name} has asked to be left alone for another {left:.0f} s (Retry-After)")
        answer = self._again(once, url)
        self._not_before = self._clock() + statuses.pause(answer, self._clock())
        return answer

    def _again(self, once: Callable[[str], _Head], url: str) -> _Head:
        """Ask; once more with another token, or where the same server says, should it say so."""
        answer = once(url)
        elsewhere = same_server(answer, url)
        url = elsewhere or url
        if elsewhere:
            answer = once(url)
        if answer.status == _UNAUTHORISED and self._authorisation.refused():
            answer = once(url)
        return answer

    def _once(self, method: str, url: str, body: Callable[[], Content] | None, longer: float) -> Answer:
        headers = {"Accept": _JSON, **self._authorisation.header()}
        if body is None:
            return self._web.ask(method, url, headers)
        content = body()
        headers |= {"Content-Type": content.content_type, "Content-Length": str(content.length)}
        return self._web.ask(method, url, headers, content, longer)


class Services:
    """Services by how they are reached, the same each time: what they know outlives a question."""

    def __init__(self) -> None:
        self._known: dict[WebConnection, Service] = {}
        self._lock = threading.Lock()

    def of(self, connection: WebConnection, clock: Callable[[], float]) -> Service:
        """Return the service of a connection; the clock gives UTC seconds."""
        with self._lock:
            if connection not in self._known:
                self._known[connection] = Service(connection, clock)
            return self._known[connection]
