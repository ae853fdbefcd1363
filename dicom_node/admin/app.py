"""The web application: entrance, API, health and metrics, behind the guard. Pages are added by `pages`."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from dicom_node import __version__
from dicom_node.admin import entrance, openid_door
from dicom_node.admin.api import connections, health, node, people, previews, rules, studies
from dicom_node.admin.api.asking import answer_failures, declare_roles
from dicom_node.admin.guard import Guard
from dicom_node.admin.office import Office

#: Bytes of a request: the longest text of rules, however it is written in JSON.
LARGEST_BODY: Final = 2**24
_STATIC: Final = Path(__file__).parent / "static"


def make_app(office: Office) -> FastAPI:
    """Return the application of an office."""
    app = FastAPI(
        title="dicom_node",
        version=__version__,
        description="What the pages of a node do, for programs. Times are UTC seconds. Tokens have roles.",
        # the ready-made documentation pages load scripts from the internet
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        max_body_size=LARGEST_BODY,
    )
    app.state.office = office
    for part in (
        entrance.router,
        openid_door.router,
        health.router,
        node.router,
        connections.router,
        studies.router,
        previews.router,
        rules.router,
        people.router,
    ):
        declare_roles(part)
        app.include_router(part)
    app.mount("/static", StaticFiles(directory=_STATIC), "static")
    app.add_middleware(Guard, people=office.people, root_path=office.settings.admin.root_path)
    answer_failures(app)
    return app
