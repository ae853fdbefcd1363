"""Orthanc as a test PACS: a process of its own, on loopback ports, in a loopback-only network."""

import base64
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from dicom_node.demo import loopback
from dicom_node.demo.stored import ARRIVALS, LOOPBACK, Stored, answers_echo, free_port, peer, read_arrivals
from dicom_node.entities import Peer
from dicom_node.errors import DemoUnavailable

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_REST_SECONDS: Final = 60.0


class OrthancPacs:
    """Orthanc, started as a process on loopback, with its REST interface for questions.

    The first of equal SOP Instance UIDs stays (OverwriteInstances is false); a Lua filter notes every arrival.

    Parameters
    ----------
    port, http_port : int
        0 picks a free one.
    modalities : mapping of name to Peer
        The remote modalities that Orthanc knows (for C-MOVE and C-FIND).
    options : mapping of str to object
        Further values of its configuration, such as those of its plugins, of TLS and of its users.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str = "ORTHANC",
        port: int = 0,
        http_port: int = 0,
        modalities: Mapping[str, Peer] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.port = port or free_port()
        self.http_port = http_port or free_port()
        self._folder = folder.resolve()
        self._modalities = dict(modalities or {})
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> str | None:
        """Return the path of the installed Orthanc, None if there is none."""
        return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")

    @property
    def pid(self) -> int:
        """Return the process id; raises DemoUnavailable if Orthanc is not running."""
        if self._process is None:
            raise DemoUnavailable("the test Orthanc is not running")
        return self._process.pid

    def start(self) -> None:
        """Start Orthanc and wait until it answers a C-ECHO.

        Raises
        ------
        DemoUnavailable
            If Orthanc is not installed, would be reachable from outside, or does not come up.
        """
        program = self.program()
        if program is None:
            raise DemoUnavailable("Orthanc is not installed: `make setup-test` installs it")
        if not loopback.inside():
            raise DemoUnavailable(
                "Orthanc listens on every address, so the test Orthanc runs only in a loopback-only network: "
                "start the command with `python -m dicom_node.demo.loopback COMMAND`"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            # the process keeps its own copy of the log's descriptor
            self._process = subprocess.Popen([program, str(self._configured())], stdout=log, stderr=log)  # noqa: S603
        self._wait_for_echo()

    def stop(self) -> None:
        """Stop Orthanc, by force if it does not go."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def stored(self, study_instance_uid: str | None = None) -> tuple[Stored, ...]:
        """Return the instances of a study, or of all studies, sorted by SOP Instance UID."""
        query = {} if study_instance_uid is None else {"StudyInstanceUID": study_instance_uid}
        found = self._ask("POST", "/tools/find", {"Level": "Instance", "Query": query})
        return tuple(sorted(self._identity(name) for name in json.loads(found)))

    def fetch(self, sop_instance_uid: str) -> bytes:
        """Return one stored instance as a DICOM file; raises KeyError for an unknown one."""
        found = json.loads(self._ask("POST", "/tools/lookup", sop_instance_uid))
        names = [entry["ID"] for entry in found if entry["Type"] == "Instance"]
        if not names:
            raise KeyError(sop_instance_uid)
        return self._ask("GET", f"/instances/{names[0]}/file")

    def arrivals(self) -> tuple[str, ...]:
        """Return the SOP Instance UID of every C-STORE that arrived, repeats too, in order."""
        return read_arrivals(self._folder)

    def __enter__(self) -> Self:
        """Start and return the PACS."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the PACS."""
        self.stop()

    @property
    def _log(self) -> Path:
        return self._folder / "orthanc.log"

    def _identity(self, name: str) -> Stored:
        tags = json.loads(self._ask("GET", f"/instances/{name}/tags?short"))
        return Stored(tags["0008,0018"], tags["0008,0016"], tags["0020,000e"], tags["0020,000d"])

    def _ask(self, method: str, path: str, body: object = None) -> bytes:
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        connection = http.client.HTTPConnection(LOOPBACK, self.http_port, timeout=_REST_SECONDS)
        try:
            connection.request(method, path, text, self._authorisation())
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise DemoUnavailable(f"Orthanc answered {answer.status} to {method} {path}")
        return content

    def _wait_for_echo(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while not self._answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > until:
                self.stop()
                raise DemoUnavailable(f"Orthanc did not start; its log is {self._log}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        if not self._options.get("DicomTlsEnabled"):
            return answers_echo(peer(self))
        try:
            self._ask("GET", "/system")
        except OSError:
            return False
        return True

    def _authorisation(self) -> dict[str, str]:
        users = self._options.get("RegisteredUsers")
        for user, password in users.items() if isinstance(users, Mapping) else ():
            return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
        return {}

    def _configured(self) -> Path:
        record = self._folder / ARRIVALS
        script = self._folder / "note_arrivals.lua"
        script.write_text(_NOTE_ARRIVALS.format(path=record), encoding="utf-8")
        path = self._folder / "orthanc.json"
        path.write_text(json.dumps(self._configuration(script), indent=1), encoding="utf-8")
        return path

    def _configuration(self, script: Path) -> dict[str, object]:
        known = {name: [str(to.ae_title), to.host, to.port] for name, to in self._modalities.items()}
        return {
            "Name": "test PACS",
            "StorageDirectory": str(self._folder / "store"),
            "IndexDirectory": str(self._folder / "store"),
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomModalities": known,
            "LuaScripts": [str(script)],
            "OverwriteInstances": False,
            "Plugins": [],
            "SaveJobs": False,
            **self._options,
        }


#: Orthanc calls this for each instance before it looks whether it has it already.
_NOTE_ARRIVALS: Final = """
function ReceivedInstanceFilter(dicom, origin)
  local record = io.open([[{path}]], "a")
  record:write(dicom.SOPInstanceUID, "\\n")
  record:close()
  return true
end
"""
