"""The peers of a viewer: Orthanc with DICOMweb, nginx that serves OHIF beside it (one origin), and their files.

All of it runs in a loopback-only network. OHIF is the built viewer inside its npm package, which `make setup-test`
unpacks into a cache folder of the repository; nothing is fetched here.
"""

import http.client
import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.stored import LOOPBACK, free_port
from dicom_node.errors import DemoUnavailable

#: The same as in the Makefile.
OHIF_VERSION: Final = "3.13.2"
OHIF: Final = Path(__file__).resolve().parents[3] / ".cache" / "ohif" / OHIF_VERSION / "dist"
DICOM_WEB: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_SECONDS: Final = 30.0
_STORE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Viewer:
    """A running archive and the viewer in front of it."""

    pacs: OrthancPacs
    address: str

    def store(self, files: Iterable[Path]) -> None:
        """Give files to the archive by its REST interface; its C-STORE takes 70 ms for each.

        Raises
        ------
        DemoUnavailable
            If it does not take one.
        """
        with closing(http.client.HTTPConnection(LOOPBACK, self.pacs.http_port, timeout=_STORE_SECONDS)) as archive:
            for file in files:
                archive.request("POST", "/instances", file.read_bytes())
                answer = archive.getresponse()
                answer.read()
                if answer.status != http.client.OK:
                    raise DemoUnavailable(f"Orthanc answered {answer.status} to {file.name}")


@contextmanager
def running_viewer(folder: Path, nginx: Path) -> Iterator[Viewer]:
    """Start Orthanc and nginx; both end with the block.

    Raises
    ------
    DemoUnavailable
        If one of them does not start.
    """
    web = {
        "Plugins": [str(DICOM_WEB)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True},
        "SyncStorageArea": False,
    }
    with OrthancPacs(folder / "orthanc", options=web) as pacs, _serving(folder / "nginx", nginx, pacs) as port:
        yield Viewer(pacs, f"http://{LOOPBACK}:{port}")


@contextmanager
def _serving(folder: Path, nginx: Path, pacs: OrthancPacs) -> Iterator[int]:
    folder.mkdir(parents=True)
    port = free_port()
    origin = f"http://{LOOPBACK}:{port}"
    (folder / "app-config.js").write_text(f"window.config = {json.dumps(_ohif(origin))};", encoding="utf-8")
    settings = folder / "nginx.conf"
    values = {"@FOLDER@": folder, "@PORT@": port, "@ARCHIVE@": f"http://{LOOPBACK}:{pacs.http_port}", "@OHIF@": OHIF}
    text = _NGINX
    for name, value in values.items():
        text = text.replace(name, str(value))
    settings.write_text(text, encoding="utf-8")
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([nginx, "-p", folder, "-c", settings], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while not _serves(port):
        if process.poll() is not None or time.monotonic() > until:
            raise DemoUnavailable(f"nginx did not start, or may not read {OHIF}; its log is in {folder}")
        time.sleep(0.05)


def _serves(port: int) -> bool:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=_START_SECONDS)) as connection:
        try:
            connection.request("GET", "/app-config.js")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False


def _ohif(origin: str) -> dict[str, object]:
    """Return OHIF's settings: one DICOMweb archive, of its own origin, and nothing that asks or tours."""
    archive = {
        "friendlyName": "test PACS",
        "name": "pacs",
        "qidoRoot": f"{origin}/dicom-web",
        "wadoRoot": f"{origin}/dicom-web",
        "wadoUriRoot": f"{origin}/wado",
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "qidoSupportsIncludeField": True,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    }
    return {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 2,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "strictZSpacingForVolumeViewport": True,
        "investigationalUseDialog": {"option": "never"},
        "studyPrefetcher": {"enabled": False},
        "defaultDataSourceName": "pacs",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "pacs",
                "configuration": archive,
            }
        ],
    }


#: `user` counts only for root, whose temporary folders nobody else may read. The three headers let OHIF share
#: memory between threads. Orthanc writes the address that it was asked by into its answers, so it must be told the
#: port too ($http_host). Orthanc 1.10 takes "%40" in a query for what it says: OHIF would list no study of a patient
#: with an "@" in the ID.
_NGINX: Final = """
daemon off;
user root;
worker_processes 1;
pid @FOLDER@/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
  include /etc/nginx/mime.types;
  types { application/wasm wasm; }
  default_type application/octet-stream;
  access_log off;
  client_body_temp_path @FOLDER@/body;
  proxy_temp_path @FOLDER@/proxy;
  fastcgi_temp_path @FOLDER@/fastcgi;
  uwsgi_temp_path @FOLDER@/uwsgi;
  scgi_temp_path @FOLDER@/scgi;
  server {
    listen 127.0.0.1:@PORT@;
    root @OHIF@;
    add_header Cross-Origin-Opener-Policy same-origin always;
    add_header Cross-Origin-Embedder-Policy require-corp always;
    add_header Cross-Origin-Resource-Policy same-origin always;
    location = /app-config.js { alias @FOLDER@/app-config.js; }
    location = /sw.js { return 404; }
    if ($args ~ "^(.*)%40(.*)$") { set $args $1@$2; }
    location /dicom-web/ { proxy_pass @ARCHIVE@; proxy_set_header Host $http_host; proxy_buffering off; }
    location /wado { proxy_pass @ARCHIVE@; proxy_set_header Host $http_host; }
    location / { try_files $uri /index.html; }
  }
}
"""
