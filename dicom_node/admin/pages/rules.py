"""Rules: a form and the text side by side; check, try, save, history and back again."""

from asyncio import to_thread
from typing import Final

from nicegui import ui
from nicegui.events import UploadEventArguments
from pydicom.datadict import keyword_dict

from dicom_node.admin.pages.frame import Visit, confirmed, keep_live, show
from dicom_node.admin.pages.rule_conditions import KEYWORDS
from dicom_node.admin.pages.rule_draft import Draft, with_plain_lines
from dicom_node.admin.pages.rule_editor import Editor
from dicom_node.admin.pages.rule_fields import Known
from dicom_node.admin.pages.rule_form import Form
from dicom_node.admin.pages.rule_history import History, diff_html
from dicom_node.admin.pages.rule_trial import draw_trial
from dicom_node.admin.pages.words import Html, clock, joined, tag
from dicom_node.ledger import AccountRole, RuleVersion
from dicom_node.routing.facts import SERIES_FACTS, STUDY_FACTS

_LOOK_SECONDS: Final = 0.4
_LIVE_SECONDS: Final = 2.0
_LARGEST_FILE: Final = 2_000_000


async def rules_page(visit: Visit) -> None:
    """Show the rules in force, and let those who may edit them."""
    draft = await to_thread(Draft, visit.office)
    known = await to_thread(Known.of, visit.office.settings)
    page = _Page(visit, draft, known)
    await page.renew()
    ui.timer(_LOOK_SECONDS, page.look)
    keep_live(visit, _LIVE_SECONDS, page.live)


class _Page:
    """The page of one visit."""

    def __init__(self, visit: Visit, draft: Draft, known: Known) -> None:
        self._visit = visit
        self._draft = draft
        self._form: Form | None = None
        show(tag("h1", "Rules"))
        self._head = show(Html(""))
        self._news = ui.element("div").classes("said").props('role="alert"')
        self._news.set_visibility(False)
        if visit.may(AccountRole.ADMINISTRATOR):
            show(_keywords())
            with ui.element("div").classes("rules-two"):
                with ui.element("section").classes("card").props('aria-label="Form"'):
                    show(tag("h2", "As a form"))
                    self._form = Form(draft, known, self._wrote, self._reveal)
                self._editor = _text(draft, may_edit=True)
            self._form.draw()
        else:
            self._editor = _text(draft, may_edit=False)
        if visit.may(AccountRole.OPERATOR):
            draw_trial(visit, draft)
        if visit.may(AccountRole.ADMINISTRATOR):
            self._draw_save()
        self._history = History(visit, self._rolled_back)

    def _wrote(self) -> None:
        self._editor.renew()

    def _reveal(self, line: int) -> None:
        self._editor.reveal(line)

    async def look(self) -> None:
        """Check what was edited; to edit is to use the session."""
        if self._draft.is_new and await self._visit.is_here():
            await self._draft.look()

    async def begin(self) -> None:
        """Show what is in force; what was edited is gone."""
        await self._draft.begin()
        await self._begun()

    async def _begun(self) -> None:
        self._news.clear()
        self._news.set_visibility(False)
        self._editor.renew()
        if self._form is not None:
            self._form.draw()
        await self.renew()

    async def _rolled_back(self) -> None:
        """Show the version that is back; an edit that is under way stays, and is told of it."""
        await self.live()
        await self.renew()

    async def renew(self) -> None:
        """Show who put in force what there is, and the history."""
        latest = await to_thread(self._visit.office.rules.in_force)
        self._head.content = _in_force(self._visit, latest)
        await self._draft.look()
        await self._history.draw()

    async def live(self) -> None:
        """Notice that somebody saved another version: show it, or say so if something is being edited."""
        newest = await to_thread(self._visit.office.rules.newest)
        if newest <= self._draft.after or (self._draft.is_changed and self._news.visible):
            return
        if await self._draft.follow():
            await self._begun()
            return
        self._news.set_visibility(True)
        with self._news:
            after = self._draft.after
            ui.label(f"Version {newest} was saved meanwhile; what you edit began with version {after}.")
            ui.label("“What changes” below shows how your edit differs from that version now.")
            ui.button("Give up my edit, and show it", on_click=self.begin).props("flat dense no-caps")
            ui.button("Keep my edit, to be saved over it", on_click=self._insist).props("flat dense no-caps")

    async def _insist(self) -> None:
        """Go on with an edit from the version that was saved meanwhile: saving it replaces that one."""
        await self._draft.insist()
        self._news.clear()
        self._news.set_visibility(False)
        await self.renew()

    def _draw_save(self) -> None:
        draft, rules = self._draft, self._visit.office.rules

        async def difference() -> None:
            shown.content = diff_html(await to_thread(rules.difference_to, draft.text))

        async def save() -> None:
            text, why, after = draft.text, str(reason.value), draft.after
            made = await self._visit.get(lambda person: rules.save(person, text, why, after))
            if made is not None:
                ui.notify(f"Version {made.number} is in force", type="positive")
                reason.value, shown.content = "", ""
                draft.keep(text, made)
                await self._begun()

        async def discard() -> None:
            if not draft.is_changed or await confirmed("Give up what you edited?", "Give it up"):
                shown.content = ""
                await self.begin()

        def judge() -> None:
            button.set_enabled(draft.is_changed and not draft.checked.faults)

        with ui.element("section").classes("card wide"):
            show(tag("h2", "Save"))
            with ui.element("div").classes("filters items-center"):
                reason = ui.input("Why (kept in the history)").props("outlined dense maxlength=1000").classes("grow")
                button = ui.button("Save", on_click=save).props("no-caps")
                ui.button("What changes", on_click=difference).props("outline no-caps")
                ui.button("Give up the edit", on_click=discard).props("flat no-caps")
                ui.button("Download", on_click=lambda: ui.download.content(draft.text, "rules.toml")).props(
                    "flat no-caps"
                )
                _draw_upload(draft)
            shown = show(Html(""))
        draft.heard_by(judge)


def _text(draft: Draft, *, may_edit: bool) -> Editor:
    with ui.element("section").classes("card").props('aria-label="Text"'):
        show(tag("h2", "As text"))
        return Editor(draft, may_edit=may_edit)


def _draw_upload(draft: Draft) -> None:
    """Draw how a file of rules takes the place of the text; it is not saved by that."""

    async def take(event: UploadEventArguments) -> None:
        content = await event.file.read()
        field.reset()
        if draft.is_changed and not await confirmed("Give up what you edited, and take the file?", "Take the file"):
            return
        try:
            draft.text = with_plain_lines(content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            ui.notify("this file is no text in UTF-8", type="negative")
        await draft.look()

    def refuse() -> None:
        ui.notify(f"a file of rules is a text of at most {_LARGEST_FILE // 1_000_000} MB", type="negative")

    field = ui.upload(
        label="Take a file",
        on_upload=take,
        on_rejected=refuse,
        auto_upload=True,
        max_file_size=_LARGEST_FILE,
        max_files=1,
    )
    field.props('accept=".toml,text/plain" flat bordered dense').classes("upload")


def _in_force(visit: Visit, latest: RuleVersion | None) -> Html:
    if latest is None:
        return tag("p", "There are no rules yet.")
    who = f" by {latest.author}" + (f": {latest.reason}" if latest.reason else "")
    since = [tag("b", f"Version {latest.number}"), " is in force since ", clock(visit.office, latest.at), who]
    said = "A change is taken within two seconds, one with a fault never."
    return joined([tag("p", *since), tag("p", said, class_="quiet")])


def _keywords() -> Html:
    names = sorted({*keyword_dict, *SERIES_FACTS, *STUDY_FACTS} - {""})
    return tag("datalist", *(tag("option", value=name) for name in names), id=KEYWORDS)
