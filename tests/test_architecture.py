"""The house stands: imports go down only, nothing is imported in secret, and pipelines know only the contract."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).resolve().parents[1]

#: Room (module or package directly below `dicom_node`) -> floor. A room imports from lower floors, and from itself.
FLOORS: Final[Mapping[str, int]] = {
    "__init__": 0,
    "entities": 0,
    "errors": 0,
    "toml_source": 0,
    "toml_tables": 1,
    "commitment": 1,
    "contract": 1,
    "lifecycle": 1,
    "log": 1,
    "outgoing": 1,
    "pace": 1,
    "settings": 1,
    "tls": 1,
    "catalogue": 2,
    "declarations": 2,
    "completion": 2,
    "geometry": 2,
    "instance_store": 2,
    "ledger": 2,
    "presentation": 2,
    "reaching": 2,
    "requestor": 2,
    "routing": 2,
    "compute": 3,
    "folder_sender": 3,
    "results": 3,
    "storage_scp": 3,
    "storage_scu": 3,
    "dicom_web": 3,
    "archive_scu": 3,
    "study_folder": 3,
    "offers": 3,
    "homeless": 3,
    "edited_file": 3,
    "settling": 3,
    "live_settings": 4,
    "breaker": 2,
    "proving": 4,
    "rulebook": 4,
    "retrieving": 4,
    "pipeline_settings": 3,
    "known_facts": 3,
    "echoes": 1,
    "gpus": 1,
    "job_log": 3,
    "job_meter": 3,
    "counts": 1,
    "counting": 5,
    "early": 4,
    "wanted": 4,
    "rule_trial": 4,
    "senders": 4,
    "task": 4,
    "admin": 5,
    "delivering": 5,
    "fetching": 5,
    "flow": 5,
    "ticks": 6,
    "node": 7,
    "demo": 8,
    "commands": 9,
    "__main__": 10,
}
#: Everybody may know who we are: version and implementation UID.
_GROUND: Final = "__init__"
#: What a pipeline may know of this software.
PIPELINE_MAY_IMPORT: Final = frozenset({"contract", "entities", "errors", "geometry"})
#: Imports inside functions that are allowed: (file, imported module) -> why.
INNER_IMPORTS: Final[Mapping[tuple[str, str], str]] = {
    ("dicom_node/node.py", "dicom_node.admin.house"): "the web server takes a second; commands do without",
    ("pipelines/brain_extraction.py", "pipelines.deepbet_engine"): "torch takes seconds; roles are asked for often",
}


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands and what it names."""

    file: str
    line: int
    module: str
    inner: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def _files(package: str) -> list[Path]:
    return sorted((_ROOT / package).rglob("*.py"))


def _module(file: Path) -> str:
    parts = file.relative_to(_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: Final = frozenset(_module(file) for package in ("dicom_node", "pipelines") for file in _files(package))


def _imports(file: Path) -> Iterator[Import]:
    """Yield every import of a file, wherever it stands."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    )
    inner = {id(child) for function in functions for child in ast.walk(function)}
    name = str(file.relative_to(_ROOT))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in _named(node, file):
                yield Import(name, node.lineno, module, id(node) in inner)


def _named(node: ast.Import | ast.ImportFrom, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        package = _module(file).split(".") if file.name == "__init__.py" else _module(file).split(".")[:-1]
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    below = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in MODULES else base for name in below]


def _room(module: str) -> str | None:
    """Return the room of a module of `dicom_node`; None for any other package."""
    package, _, rest = module.partition(".")
    if package != "dicom_node":
        return None
    return rest.split(".")[0] or _GROUND


_EVERY_IMPORT: Final = [
    found for package in ("dicom_node", "pipelines") for file in _files(package) for found in _imports(file)
]


def _own_room(found: Import) -> str:
    return _room(_module(_ROOT / found.file)) or "pipelines"


def test_the_test_sees_the_house() -> None:
    """A test that reads no files proves nothing."""
    assert {"dicom_node.entities", "dicom_node.routing.rules", "dicom_node.settings"} <= MODULES
    seen = {(found.file, found.module) for found in _EVERY_IMPORT}
    assert ("dicom_node/routing/facts.py", "dicom_node.routing.headers") in seen


def test_every_room_has_a_floor() -> None:
    """A new module is given its floor here before it is used."""
    rooms = {_room(module) for module in MODULES if module.startswith("dicom_node")} - {None}
    assert rooms - set(FLOORS) == set()


def test_imports_go_down_only() -> None:
    """A file imports from lower floors and from its own room, never up and never sideways."""
    wrong = [
        f"{found} (floor {FLOORS[own]} -> {FLOORS[room]})"
        for found in _EVERY_IMPORT
        if (room := _room(found.module)) is not None
        and (own := _own_room(found)) in FLOORS
        and room not in (own, _GROUND)
        and FLOORS.get(room, -1) >= FLOORS[own]
    ]
    assert wrong == []


def test_pipelines_know_only_the_contract() -> None:
    """A pipeline's author needs `contract`, `entities`, `errors` and `geometry`, and never touches the rest."""
    wrong = [
        str(found)
        for found in _EVERY_IMPORT
        if _own_room(found) == "pipelines"
        and (room := _room(found.module)) is not None
        and room not in PIPELINE_MAY_IMPORT
    ]
    assert wrong == []


def test_the_node_does_not_know_any_pipeline() -> None:
    """Pipelines are found by their entry point, so that a hospital can ship its own."""
    wrong = [
        str(found)
        for found in _EVERY_IMPORT
        if _own_room(found) != "pipelines" and found.module.split(".")[0] == "pipelines"
    ]
    assert wrong == []


def test_heavy_libraries_stay_in_pipelines() -> None:
    """The core installs and starts without torch and MONAI."""
    wrong = [
        str(found)
        for found in _EVERY_IMPORT
        if _own_room(found) != "pipelines" and found.module.split(".")[0] in ("torch", "monai")
    ]
    assert wrong == []


def test_no_import_hides_in_a_function() -> None:
    """What a module needs stands at its top; the exemptions are named with their reasons, and all are in use."""
    inner = {(found.file, found.module): str(found) for found in _EVERY_IMPORT if found.inner}
    assert [text for key, text in inner.items() if key not in INNER_IMPORTS] == []
    assert [key for key in INNER_IMPORTS if key not in inner] == []


def _graph() -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in _EVERY_IMPORT:
        own = _module(_ROOT / found.file)
        if found.module in MODULES and found.module != own:
            graph[own].add(found.module)
    return graph


def test_no_module_imports_itself_by_a_detour() -> None:
    """There are no import cycles, inside rooms either."""
    graph = _graph()
    assert [cycle for module in sorted(graph) if (cycle := _cycle(graph, module))] == []


def _cycle(graph: Mapping[str, set[str]], start: str) -> list[str]:
    """Return a path of imports from a module back to itself, if there is one."""
    waiting, seen = [[start]], set()
    while waiting:
        path = waiting.pop()
        for following in graph[path[-1]]:
            if following == start:
                return [*path, start]
            if following not in seen:
                seen.add(following)
                waiting.append([*path, following])
    return []


@pytest.mark.parametrize("package", ["dicom_node", "pipelines"])
def test_no_file_is_longer_than_500_lines(package: str) -> None:
    """A file that grows over 500 lines is two files."""
    long = {str(file): count for file in _files(package) if (count := len(file.read_text().splitlines())) > 500}
    assert long == {}


def test_the_cycle_finder_finds_cycles() -> None:
    """The finder itself works."""
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}, "a") == ["a", "b", "c", "a"]
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}, "a") == []
