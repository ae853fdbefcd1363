"""Audit and users: who did what when, the accounts, and the tokens of programs."""

import json
from asyncio import to_thread
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

from dicom_node.admin.pages.frame import Visit, confirmed, show
from dicom_node.admin.pages.words import Html, badge, clock, table, tag
from dicom_node.admin.people import SHORTEST_PASSWORD, Person
from dicom_node.ledger import Account, AccountRole, Act, Token

_ROLES: Final = {role: str(role) for role in AccountRole}
_LINES: Final = 50
_UID_END: Final = 8
#: How long a token is valid unless somebody says otherwise: it is looked at again once a year.
_TOKEN_DAYS: Final = 365


@dataclass
class _Asked:
    """Which lines of the trail."""

    page: int = 1
    who: str = ""


async def people_page(visit: Visit) -> None:
    """Show accounts, tokens and the audit trail."""
    show(tag("h1", "Audit and users"))
    if not visit.may(AccountRole.ADMINISTRATOR):
        show(tag("p", "This page is for administrators."))
        return
    ledger = visit.office.ledger
    accounts = await to_thread(ledger.accounts.every)
    tokens = await to_thread(ledger.accounts.tokens)
    _AccountForm(visit, accounts).draw()
    await _tokens(visit, tokens)
    await _trail(visit)


class _AccountForm:
    """The accounts, and the form below them: what is not filled in stays as it is."""

    def __init__(self, visit: Visit, accounts: list[Account]) -> None:
        self._visit = visit
        self._accounts = accounts

    def draw(self) -> None:
        with ui.element("section").classes("card wide"):
            show(tag("h2", "Accounts"))
            self._rows = show(_account_table(self._visit, self._accounts))
            with ui.element("div").classes("filters"):
                self._name = ui.input("Name").props("outlined dense")
                self._role = ui.select(_ROLES, label="Role", clearable=True).props("outlined dense").classes("narrow")
                password = ui.input(f"Password, at least {SHORTEST_PASSWORD} letters", password=True)
                self._password = password.props('outlined dense autocomplete="new-password"').classes("grow")
            with ui.row().classes("actions"):
                ui.button("Add account", on_click=self._add).props("no-caps")
                ui.button("Change role or password", on_click=self._change).props("outline no-caps")
                ui.button("Let in again", on_click=self._let_in).props("outline no-caps")
                ui.button("Disable", on_click=self._disable).props("outline no-caps color=negative")

    async def _add(self) -> None:
        who, role, password = self._name.value, self._role.value, self._password.value
        if role is None:
            ui.notify("Choose the role of the new account", type="negative")
            return
        actions = self._visit.office.actions
        await self._do(lambda person: actions.add_account(person, who, role, password), f"{who} can log in")

    async def _change(self) -> None:
        role, password = self._role.value, self._password.value or None
        if role is None and password is None:
            ui.notify("Choose another role, or type a new password", type="negative")
            return
        await self._do_change("is changed", role=role, password=password)

    async def _let_in(self) -> None:
        await self._do_change("can log in", disabled=False)

    async def _disable(self) -> None:
        if await confirmed(await _before_disabling(self._visit, self._name.value), "Disable"):
            await self._do_change("is out", disabled=True)

    async def _do_change(self, done: str, **changes: Any) -> None:
        who, actions = self._name.value, self._visit.office.actions
        await self._do(lambda person: actions.change_account(person, who, **changes), f"{who} {done}")

    async def _do(self, action: Callable[[Person], None], done: str) -> None:
        if await self._visit.do(action, done):
            self._name.value, self._password.value, self._role.value = "", "", None
            self._rows.content = _account_table(
                self._visit, await to_thread(self._visit.office.ledger.accounts.every)
            )


async def _before_disabling(visit: Visit, who: str) -> str:
    """Return the question, which names what does not end with an account."""
    tokens = [each.name for each in await to_thread(visit.office.ledger.accounts.tokens) if each.created_by == who]
    left = f" Tokens that {who} made stay valid until you take them back: {', '.join(tokens)}." if tokens else ""
    return f"Disable the account {who}? Its open sessions end.{left}"


def _account_table(visit: Visit, accounts: list[Account]) -> Html:
    now = visit.office.clock()

    def state(account: Account) -> Html:
        if account.disabled:
            return badge("disabled")
        return badge("locked") if (account.locked_until or 0) > now else badge("active")

    rows = [
        (
            tag("b", each.name),
            str(each.role),
            state(each),
            "OpenID Connect" if each.openid else "password",
            clock(visit.office, each.last_log_in_at),
        )
        for each in accounts
    ]
    return table(("Name", "Role", "State", "Logs in by", "Last log-in"), rows, "None.", "Accounts")


async def _tokens(visit: Visit, first: list[Token]) -> None:
    actions, known = visit.office.actions, [first]

    @ui.refreshable
    def rows() -> None:
        cells = [
            (
                tag("b", each.name),
                str(each.role),
                each.created_by,
                clock(visit.office, each.expires_at),
                clock(visit.office, each.used_at),
            )
            for each in known[0]
        ]
        show(table(("Name", "Role", "Made by", "Valid until", "Last used"), cells, "None.", "Tokens"))

    async def renew() -> None:
        known[0] = await to_thread(visit.office.ledger.accounts.tokens)
        rows.refresh()

    async def add() -> None:
        secret = await visit.get(lambda person: actions.add_token(person, name.value, role.value, days.value))
        if secret:
            shown.content = tag("p", "Copy it now, it cannot be shown again: ", tag("code", secret), role="status")
            await renew()

    async def drop() -> None:
        who = name.value
        if await confirmed(f"Take the token {who} back? Programs that use it are refused.", "Take back"):
            await visit.do(lambda person: actions.drop_token(person, who), f"{who} is taken back")
            await renew()

    with ui.element("section").classes("card wide"):
        show(tag("h2", "Tokens of programs"))
        rows()
        with ui.element("div").classes("filters"):
            name = ui.input("Name").props("outlined dense")
            role = ui.select(_ROLES, value=AccountRole.VIEWER, label="Role").props("outlined dense")
            days = ui.number("Days, blank: no end", value=_TOKEN_DAYS, min=1, max=36_500).props("outlined dense")
        with ui.row().classes("actions"):
            ui.button("Make token", on_click=add).props("no-caps")
            ui.button("Take back", on_click=drop).props("outline no-caps color=negative")
        shown = show(Html(""))


async def _trail(visit: Visit) -> None:
    ledger, asked = visit.office.ledger, _Asked()

    async def renew() -> None:
        start = (asked.page - 1) * _LINES
        total, acts = await to_thread(ledger.trail.page, start, _LINES, who=asked.who)
        rows = [
            (
                clock(visit.office, act.at),
                tag("b", act.who),
                act.address or "-",
                act.action,
                _on(visit, act),
                _change(act.before, act.after),
            )
            for act in acts
        ]
        heads = ("When", "Who", "From", "What", "On", "Before, after")
        lines.content = table(heads, rows, "Nothing yet.", "Audit trail")
        pages.props["max"] = max(1, -(-total // _LINES))
        pages.update()

    async def turn(page: int) -> None:
        asked.page = page
        if await visit.is_here():
            await renew()

    async def of(who: str) -> None:
        asked.who, asked.page = who or "", 1
        if await visit.is_here():
            await renew()

    with ui.element("section").classes("card wide"):
        show(tag("h2", "Audit trail"))
        who = ui.input("Only of", placeholder="Name", on_change=lambda event: of(event.value))
        who.props("outlined dense debounce=300 clearable").classes("narrow")
        lines = show(Html(""))
        pages = ui.pagination(1, 1, direction_links=True, on_change=lambda event: turn(event.value))
        pages.props(":max-pages=8")
    await renew()


def _on(visit: Visit, act: Act) -> Html:
    """Return what an act was on; a study by the end of its UID, which in full leaves no room for the rest."""
    uid = act.study_instance_uid
    if uid is None or act.subject != uid:
        return tag("span", act.subject)
    return tag("a", f"study ...{uid[-_UID_END:]}", href=f"{visit.root}/study/{uid}", title=uid)


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Return what changed: "role: viewer, now role: operator"; "now ..." alone where nothing was before."""
    was, is_now = _values(before), _values(after)
    if before is None:
        return is_now or "-"
    return ", ".join(each for each in (was, f"now {is_now}" if is_now else "") if each) or "-"


def _values(of: Mapping[str, Any] | None) -> str:
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in (of or {}).items()
    )
