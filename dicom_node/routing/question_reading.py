"""A table of conditions and groups -> the questions that it asks."""

from collections.abc import Iterator, Mapping
from typing import Any

from dicom_node.routing.attributes import attribute, normal_path
from dicom_node.routing.condition_reading import FORMS, Wrong, read_condition
from dicom_node.routing.questions import Group, GroupKind, Question, Where
from dicom_node.routing.reading import TableReader
from dicom_node.toml_source import KeyPath


def read_questions(
    reader: TableReader, table: Mapping[str, Any], path: KeyPath, *, of_study: bool
) -> tuple[Question, ...]:
    """Return the questions of a table; faults are noted by the reader.

    Parameters
    ----------
    of_study : bool
        True: facts of the study's journey may be asked about.
    """
    questions: list[Question] = []
    asked: set[str] = set()
    for key, value in _flat(table):
        here: KeyPath = (*path, *key)
        if len(key) == 1 and key[0] in tuple(GroupKind):
            questions += _group(reader, GroupKind(key[0]), value, here, of_study=of_study)
            continue
        with reader.faults_at(here):
            where = _where(".".join(key), value, of_study=of_study)
            if where.keyword in asked:
                raise Wrong(f"{where.keyword} stands twice in one table; put both into an all_of")
            asked.add(where.keyword)
            questions.append(reader.conditions.setdefault(where, where))
    return tuple(questions)


def _group(reader: TableReader, kind: GroupKind, value: Any, path: KeyPath, *, of_study: bool) -> Iterator[Group]:
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) and one for one in value):
        example = f"{kind} = [{{ Modality = 'MR' }}, {{ Modality = 'CT' }}]"
        reader.fault(path, f"{kind} must be a list of tables with conditions, such as {example}")
        return
    branches = [read_questions(reader, one, (*path, index), of_study=of_study) for index, one in enumerate(value)]
    yield Group(kind, tuple(branches))


def _where(keyword: str, value: Any, *, of_study: bool) -> Where:
    keyword = normal_path(keyword)
    about = attribute(keyword)
    if about.study_only and not of_study:
        raise Wrong(f"{keyword} belongs to the study; put it under [rule.when]")
    return Where(keyword, read_condition(keyword, value, about))


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield key path and value of each condition: `A.B = "x"` without quotes is a table in a table."""
    for key, value in table.items():
        inner = value if isinstance(value, dict) else {}
        if inner and not any(form in FORMS for form in inner) and all(form[:1].isupper() for form in inner):
            yield from (((key, *rest), condition) for rest, condition in _flat(inner))
        else:
            yield (key,), value
