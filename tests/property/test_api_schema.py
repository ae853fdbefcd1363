"""The API keeps its own description (OpenAPI), whatever it is asked: Schemathesis makes the questions."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dicom_node.admin.app import make_app
from dicom_node.ledger import AccountRole
from tests.admin_cases import ADMINISTRATOR, bench
from tests.ledger_cases import STUDY, finished

_CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

#: A description without operations would be kept by every answer.
_FEWEST = 25
_SUCCESS = {200, 201, 204}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with bench(tmp_path_factory.mktemp("api")) as desk:
        finished(desk.ledger)
        secret = desk.office.actions.add_token(ADMINISTRATOR, "schemathesis", AccountRole.ADMINISTRATOR)
        app = make_app(desk.office)
        headers = {"Authorization": f"Bearer {secret}"}
        found = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=headers)
        found.config.update(headers=headers)
        yield found


def test_every_operation_keeps_its_description(api: Any) -> None:
    """No question gets a 500, a status, a type or a body that the description does not have."""
    operations = [each.ok() for each in api.get_all_operations()]
    assert len(operations) > _FEWEST
    done = [operation.label for operation in operations if _SUCCESS & _ask(operation)]
    assert len(done) > len(operations) // 2


def _ask(operation: Any) -> set[int]:
    """Ask one operation whatever its description allows, and some that it does not; return the statuses seen."""
    seen: set[int] = set()

    @given(case=operation.as_strategy())
    @settings(max_examples=8, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def asked(case: Case) -> None:
        if "study" in case.path_parameters:  # of a study that there is, the answers have more to be wrong
            case.path_parameters["study"] = STUDY
        seen.add(case.call_and_validate(checks=list(_CHECKS)).status_code)

    asked()
    return seen
