"""An archive that does what no archive should."""

import time
from collections.abc import Iterator
from typing import Any

from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as StudyRootGet

from dicom_node.entities import Peer


class PeculiarArchive:
    """An archive made of pynetdicom that breaks off, is silent, or offers no C-GET.

    Parameters
    ----------
    after : int
        So many objects are sent; then the association is aborted, or nothing comes for a while before.
    """

    def __init__(self, images: list[Any], after: int, *, silent: bool = False) -> None:
        self._images = images
        self.after = after
        self.silent = silent
        self.silence_seconds = 5.0
        self.server: Any = None

    def start(self, *, get: bool = True) -> Peer:
        entity = AE("PECULIAR")
        contexts = [build_context(StudyRootFind)]
        if get:
            contexts.append(build_context(StudyRootGet))
        context = build_context("1.2.840.10008.5.1.4.1.1.4")
        context.scu_role, context.scp_role = False, True
        contexts.append(context)
        entity.supported_contexts = contexts
        for each in entity.supported_contexts:
            if each.abstract_syntax == context.abstract_syntax:
                each.scu_role, each.scp_role = True, True
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_GET, self._get)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        return Peer.parse("PECULIAR", "127.0.0.1", self.server.server_address[1])

    def stop(self) -> None:
        for association in self.server.active_associations:
            association.abort()
        self.server.shutdown()

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Any]]:
        level = event.identifier.QueryRetrieveLevel
        for image in self._images if level == "IMAGE" else self._images[:1]:
            answer = event.identifier
            for element in answer:
                if element.keyword in image and element.keyword != "QueryRetrieveLevel":
                    setattr(answer, element.keyword, image[element.keyword].value)
            yield 0xFF00, answer

    def _get(self, event: evt.Event) -> Iterator[Any]:
        yield len(self._images)
        for number, image in enumerate(self._images):
            if number == self.after:
                if self.silent:
                    time.sleep(self.silence_seconds)
                event.assoc.abort()
                return
            yield 0xFF00, image
