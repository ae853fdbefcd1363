"""The rules as a form, for those who do not write TOML: a list of rules, and the fields of the chosen one."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from dicom_node.admin.pages.frame import show
from dicom_node.admin.pages.rule_conditions import Conditions
from dicom_node.admin.pages.rule_draft import Draft
from dicom_node.admin.pages.rule_fields import Fields, Known
from dicom_node.admin.pages.words import tag
from dicom_node.admin.rule_texts import fits_form, free_name, is_toml, line_of, with_rule
from dicom_node.errors import SettingsInvalid
from dicom_node.routing import move_rule, remove_rule


class Form:
    """The form of a draft.

    Parameters
    ----------
    wrote : callable
        Called after the form has changed the text.
    reveal : callable
        Called with the line of the rule that is being edited.
    """

    def __init__(self, draft: Draft, known: Known, wrote: Callable[[], None], reveal: Callable[[int], None]) -> None:
        self._draft = draft
        self._known = known
        self._wrote = wrote
        self._reveal = reveal
        self._place = 0
        self._chosen: ui.select | None = None
        self._written: str | None = None
        self._rules: list[dict[str, Any]] = []
        self._box = ui.element("div").classes("rule-form")
        draft.heard_by(self._heard)

    def _heard(self) -> None:
        """Draw anew what somebody typed; what the form itself wrote stands in it already."""
        if self._draft.text != self._written:
            self.draw()

    def draw(self) -> None:
        """Draw the list of rules, and the chosen one."""
        self._written = self._draft.text
        rules = self._rules = self._draft.rules
        self._place = max(0, min(self._place, len(rules) - 1))
        self._chosen = None
        self._box.clear()
        with self._box:
            if not rules and not is_toml(self._written):
                show(tag("p", "The text is no TOML at this moment: mend its first fault, and the form is back."))
                return
            self._buttons(len(rules))
            if rules and fits_form(rules[self._place]):
                self._fields(rules[self._place])
            elif rules:
                show(tag("p", "A value of this rule is of another kind than it must be: mend it in the text."))

    def _options(self) -> dict[int, str]:
        names = [str(rule.get("name", "")) for rule in self._rules]
        return {place: f"{place + 1}. {name or '(no name)'}" for place, name in enumerate(names)}

    def _buttons(self, count: int) -> None:
        def choose(place: int | None) -> None:
            if place is None:  # the rule is gone: what took it away draws the form
                return
            self._turn(place)

        with ui.row().classes("items-center"):
            if count:
                self._chosen = ui.select(self._options(), value=self._place, label="Rule")
                self._chosen.on_value_change(lambda event: choose(event.value))
                self._chosen.props("outlined dense").classes("grow")
            ui.button("New rule", on_click=self._new).props("outline dense no-caps padding='4px 12px'")
        if not count:
            return
        with ui.row().classes("items-center"):
            place = self._place
            for title, action, possible in (
                ("Earlier", lambda: self._move(place - 1), place > 0),
                ("Later", lambda: self._move(place + 1), place + 1 < count),
                ("Copy", self._copy, True),
                ("Remove", self._remove, True),
            ):
                button = ui.button(title, on_click=action).props("flat dense no-caps")
                if not possible:
                    button.disable()

    def _fields(self, rule: dict[str, Any]) -> None:
        fields = Fields(rule, self._known, lambda: self._put(rule))
        with ui.element("div").classes("filters"):
            fields.text("name", "Name")
            fields.switch("enabled", "In use", default=True)
        fields.text("description", "For people")
        if "do_not_run" in rule:
            fields.text("do_not_run", "Recognised, and not run because")
        else:
            self._run_fields(rule, fields)
        show(tag("h3", "The study"))
        Conditions("The study", rule.get("when") or {}, lambda table: fields.put("when", table, {}))
        for role, where in (rule.get("inputs") or {}).items():
            if isinstance(where, dict):
                self._input(rule, role, where)
        if "priors" in rule:
            show(tag("p", "Its priors are edited in the text.", class_="quiet"))

    def _run_fields(self, rule: dict[str, Any], fields: Fields) -> None:
        with ui.element("div").classes("filters"):
            given = str(rule.get("pipeline", ""))
            options = list(dict.fromkeys((*sorted(self._known.pipelines), given)))
            pipeline = ui.select(options, value=given, label="Pipeline").props("outlined dense").classes("grow")
            pipeline.on_value_change(lambda event: self._pipeline(rule, event.value))
            fields.destinations()
        with ui.element("div").classes("filters"):
            fields.priority()
            fields.late_images()
            fields.schedule()
        with ui.element("div").classes("filters"):
            fields.switch("dry_run", "Dry run: sends nothing")
            fields.switch("stop", "Stop: rules after it are not asked")
            fields.switch("fallback", "Only if no other rule fired")
        with ui.expansion("When its study is whole, and settings of its pipeline").props("dense"):
            show(tag("p", "Its study is whole by (else as node.toml says):", class_="quiet"))
            with ui.element("div").classes("filters"):
                fields.completion()
            show(tag("p", "Settings of its pipeline:", class_="quiet"))
            with ui.element("div").classes("filters"):
                fields.settings()

    def _input(self, rule: dict[str, Any], role: str, where: dict[str, Any]) -> None:
        def put(table: dict[str, Any]) -> None:
            rule["inputs"] = {**rule["inputs"], role: table}
            self._put(rule)

        show(tag("h3", f"The series for {role}"))
        Conditions(f"The series for {role}", where, put)

    def _pipeline(self, rule: dict[str, Any], name: str) -> None:
        """Take another pipeline: its inputs take the place of those that it does not have."""
        roles = self._known.pipelines.get(name, ())
        given = rule.get("inputs") or {}
        rule["pipeline"] = name
        rule["inputs"] = {role: given.get(role, {"Modality": "MR"}) for role in roles} or given
        rule.pop("settings", None)
        self._put(rule)
        self.draw()

    def _put(self, rule: dict[str, Any]) -> None:
        # by its place: while it is given another name, it may have none, or that of another rule
        if self._changes(lambda text: with_rule(text, rule, self._place)):
            self._rules = self._draft.rules
            if self._chosen is not None:
                self._chosen.set_options(self._options())
            self._show_in_text()

    def _changes(self, edited: Callable[[str], str]) -> bool:
        """Change the text; return whether that could be done. If not, say why, and show the text as it is."""
        said = "The text was changed in between: the form shows it now. Do it once more."
        if self._draft.text == self._written:
            try:
                self._draft.text = self._written = edited(self._draft.text)
            except SettingsInvalid as error:
                said = str(error)
            else:
                self._wrote()
                return True
        ui.notify(said, type="warning", multi_line=True)
        self.draw()
        return False

    def _new(self) -> None:
        pipeline = next(iter(sorted(self._known.pipelines)), "")
        roles = self._known.pipelines.get(pipeline, ())
        name = free_name(self._rules, "new rule")
        rule = {"name": name, "pipeline": pipeline, "destinations": list(self._known.destinations[:1])}
        self._add({**rule, "inputs": {role: {"Modality": "MR"} for role in roles}})

    def _copy(self) -> None:
        rule = self._rules[self._place]
        self._add({**rule, "name": free_name(self._rules, f"{rule.get('name', '')} copy".strip())})

    def _add(self, rule: dict[str, Any]) -> None:
        last = len(self._rules)
        if self._changes(lambda text: with_rule(text, rule, rule["name"])):
            self._turn(last)

    def _remove(self) -> None:
        if self._changes(lambda text: remove_rule(text, self._place)):
            self._turn(self._place)

    def _move(self, place: int) -> None:
        if self._changes(lambda text: move_rule(text, self._place, place)):
            self._turn(place)

    def _turn(self, place: int) -> None:
        self._place = place
        self.draw()
        self._show_in_text()

    def _show_in_text(self) -> None:
        if self._rules:
            self._reveal(line_of(self._draft.text, self._place))
