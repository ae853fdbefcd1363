"""The Rules page's form and draft: what is edited lands in its own rule, and nobody's edit is lost."""

import asyncio
from collections.abc import Iterator

import pytest
from nicegui import Client
from nicegui.page import page

from dicom_node.admin.pages.rule_draft import Draft
from dicom_node.admin.pages.rule_fields import Known
from dicom_node.admin.pages.rule_form import Form
from dicom_node.admin.rule_texts import fits_form, rules_of
from tests.admin_cases import ADMINISTRATOR, Bench

_TEXT = """# first
[[rule]]
name = "one"
do_not_run = "phantoms"

# second
[[rule]]
name = "two"  # of two
do_not_run = "tests"
"""
#: Without a fault.
_WELL = """[[rule]]
name = "one"
do_not_run = "phantoms"

[rule.when]
PatientName = { matches = "phantom" }
"""


class _Shown:
    """A form, without a browser."""

    def __init__(self, desk: Bench, text: str) -> None:
        self.draft = Draft(desk.office)
        self.draft.text = text
        self.form = Form(self.draft, Known({}, ("pacs",), ()), lambda: None, lambda _: None)

    def choose(self, place: int) -> None:
        self.form._turn(place)

    @property
    def names(self) -> list[str]:
        return [rule.get("name", "") for rule in self.draft.rules]


@pytest.fixture
def shown(desk: Bench) -> Iterator[_Shown]:
    with asyncio.Runner() as runner:
        client = runner.run(_client())
        with client:
            made = _Shown(desk, _TEXT)
            made.form.draw()
            yield made
        client.delete()


async def _client() -> Client:
    return Client(page(""))


def test_a_name_may_be_blank_while_it_is_typed(shown: _Shown) -> None:
    """Between the old name and the new one there is none: it stays the same rule, at its place, with its comments."""
    rule = shown.draft.rules[0]
    del rule["name"]
    shown.form._put(rule)
    rule["name"] = "another"
    shown.form._put(rule)
    assert shown.names == ["another", "two"]
    assert "# second" in shown.draft.text


def test_of_two_rules_of_one_name_the_chosen_one_is_edited(shown: _Shown) -> None:
    """A copy that was named alike by mistake can be named otherwise, moved and removed, and the other one stays."""
    shown.draft.text = _TEXT.replace('"two"', '"one"')
    shown.choose(1)
    rule = shown.draft.rules[1]
    shown.form._put(rule | {"do_not_run": "copies"})
    assert [each["do_not_run"] for each in shown.draft.rules] == ["phantoms", "copies"]
    shown.form._move(0)
    assert [each["do_not_run"] for each in shown.draft.rules] == ["copies", "phantoms"]
    shown.form._remove()
    assert [each["do_not_run"] for each in shown.draft.rules] == ["phantoms"]


def test_the_last_rule_can_be_removed(shown: _Shown) -> None:
    """The one before it is shown then; after the only one there is none, and a new one can be made."""
    shown.choose(1)
    shown.form._remove()
    assert shown.names == ["one"]
    shown.form._remove()
    assert shown.names == []
    shown.form._new()
    assert shown.names == ["new rule"]


def test_a_form_writes_nothing_over_what_was_typed_meanwhile(shown: _Shown) -> None:
    """What it shows is no longer what there is: it says so, and shows that."""
    rule = shown.draft.rules[0]
    shown.draft.text = "# gone\n"
    shown.form._put(rule)
    shown.form._remove()
    assert shown.draft.text == "# gone\n"


@pytest.mark.parametrize(
    "text",
    [
        "[[rule]\n",
        "[rule]\nname = 'x'\n",
        "rule = 3\n",
        "rule = [{name = 'x'}]\n",
        "rule = [3]\n",
        "[[rule]]\nwhen = 3\n",
        "[[rule]]\ninputs = 'x'\n",
        "[[rule]]\ninputs.t1 = 3\n",
        "[[rule]]\ncompletion = 'late'\n",
        "[[rule]]\ncompletion = {quiet_seconds = 'x', count_from = []}\n",
        "[[rule]]\nsettings = {a = []}\n",
        "[[rule]]\ndestinations = 'pacs'\n",
        "[[rule]]\ndestinations = [{name = ['x']}, 3]\n",
        "[[rule]]\npriority = ['stat']\nschedule = 3\nlate_images = []\nenabled = 'x'\nname = 3\n",
        "[[rule]]\nname = 'x'\n[rule.when]\nany_of = 3\nall_of = [{Modality = {not = {exists = 3}}}]\n",
        "[[rule]]\nname = 'x'\n[rule.inputs.'a\"b c=1']\n'odd\" key' = 1979-05-27\n",
    ],
)
def test_no_text_breaks_the_form(shown: _Shown, text: str) -> None:
    """What is typed in between may be of any kind: the form says what it cannot show, and shows the next text."""
    shown.draft.text = text
    shown.form.draw()
    shown.form._new()
    shown.draft.text = _TEXT
    shown.form.draw()
    shown.form._new()
    assert shown.names == ["one", "two", "new rule"]


def test_what_a_form_has_fields_for() -> None:
    """Faults of value are shown in their field; what is of another kind is mended in the text."""
    (rule, _) = rules_of(_TEXT)
    assert fits_form(rule | {"priority": "soon", "destinations": ["nowhere", {"name": "pacs", "profile": "x"}]})
    assert not fits_form(rule | {"destinations": "pacs"})
    assert not fits_form(rule | {"when": []})


def test_line_ends_are_those_of_the_editor(desk: Bench) -> None:
    """The editor counts one character for each end of a line: with two, typing would change another place."""
    desk.office.rules.save(ADMINISTRATOR, _WELL.replace("\n", "\r\n"), "", None)
    draft = Draft(desk.office)
    assert draft.text == _WELL
    assert not draft.is_changed


def test_what_is_typed_while_it_is_saved_stays(desk: Bench) -> None:
    """The edit goes on from the version that was made, so that it can be saved in its turn."""
    draft = Draft(desk.office)
    draft.text = _WELL
    made = desk.office.rules.save(ADMINISTRATOR, _WELL, "", draft.after)
    draft.text = f"{_WELL}# more\n"
    draft.keep(_WELL, made)
    assert (draft.text, draft.after, draft.is_changed) == (f"{_WELL}# more\n", made.number, True)
    assert desk.office.rules.save(ADMINISTRATOR, draft.text, "", draft.after).number == made.number + 1


def test_a_version_saved_meanwhile_takes_the_place_of_no_edit(desk: Bench) -> None:
    """Who edits nothing sees it; who edits goes on, and may put it over that version on purpose."""
    draft = Draft(desk.office)
    made = desk.office.rules.save(ADMINISTRATOR, _WELL, "", None)
    draft.text = "# mine\n"
    assert not asyncio.run(draft.follow())
    assert (draft.text, draft.after) == ("# mine\n", 0)
    asyncio.run(draft.insist())
    assert (draft.text, draft.after, draft.is_changed) == ("# mine\n", made.number, True)
    asyncio.run(draft.begin())
    assert (draft.text, draft.is_changed) == (_WELL, False)
