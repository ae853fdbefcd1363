"""What a person may do here: each action asks for its role, acts, and leaves its line in the audit trail.

Pages and API call nothing else that changes something, so neither can do what the other may not.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from dicom_node import catalogue
from dicom_node.admin.people import AccountRefused, Person, digest_of, hashed_password, new_token
from dicom_node.admin.testing import Tested, tested
from dicom_node.errors import Failure
from dicom_node.ledger import AccountRole, Act, Ledger, NewJob
from dicom_node.ledger.deliveries import Deliveries
from dicom_node.ledger.jobs import Jobs
from dicom_node.lifecycle import ARRIVED
from dicom_node.senders import Senders
from dicom_node.settings import Destination, Settings

_SECONDS_A_DAY: Final = 86400.0
_LONGEST_DAYS: Final = 36_500
#: A study's slices are looked at one after the other, and that is one look.
LOOK: Final = "view images"
_ONE_LOOK_SECONDS: Final = 600.0
_MOST_LOOKS: Final = 10_000
#: Position of the priority "routine".
_ROUTINE: Final = 2


class NotPossible(Failure):
    """What is asked for cannot be done with the thing as it is; the text says how it is."""


class NotFound(Failure):
    """There is no such thing."""


class Actions:
    """The actions.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, ledger: Ledger, settings: Settings, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._senders = Senders(settings.node.ae_title, clock)
        self._looks: dict[tuple[str, str, str], float] = {}

    def take(self, settings: Settings) -> None:
        """Act by these settings from now on."""
        self._settings = settings

    # -- looking, where a look is recorded ---------------------------------------------------------------------

    def viewed(self, person: Person, study: str, what: str = "view study") -> None:
        """A person looks at a patient's study."""
        person.need(AccountRole.VIEWER)
        if what == LOOK:
            self._looks.pop(look := (person.name, person.address, study), None)
            self._looks[look] = self._clock()
            while len(self._looks) > _MOST_LOOKS:
                self._looks.pop(next(iter(self._looks)), None)
        self._note(person, what, study, study=study)

    def looks_on(self, person: Person, study: str) -> None:
        """A person looks at one more slice of a study: recorded where it is the first in a while."""
        person.need(AccountRole.VIEWER)
        now, look = self._clock(), (person.name, person.address, study)
        if now - self._looks.get(look, -math.inf) > _ONE_LOOK_SECONDS:
            self.viewed(person, study, LOOK)

    def exported(self, person: Person, count: int, asked: Mapping[str, Any]) -> None:
        """A person takes the list of studies along: those that are as was asked."""
        person.need(AccountRole.VIEWER)
        self._note(person, "export list", f"{count} studies", None, _told(asked))

    def searched(self, person: Person, asked: Mapping[str, Any]) -> None:
        """A person looks for studies by a text, which may be a patient's name; the whole list is not looked for."""
        person.need(AccountRole.VIEWER)
        if asked.get("search"):
            self._note(person, "search studies", "the list of studies", None, _told(asked))

    # -- studies, jobs, deliveries -----------------------------------------------------------------------------

    def retry_job(self, person: Person, number: int) -> None:
        """Queue a held or cancelled job again."""
        self._move(person, "retry job", "job", number, self._ledger.jobs, self._ledger.jobs.retry)

    def cancel_job(self, person: Person, number: int) -> None:
        """Cancel a job that is not done."""
        self._move(person, "cancel job", "job", number, self._ledger.jobs, self._ledger.jobs.cancel)

    def retry_delivery(self, person: Person, number: int) -> None:
        """Send what is held, cancelled or waiting now; send once more what has arrived."""
        rows = self._ledger.deliveries
        row = rows.get(number)
        arrived = row is not None and row.state in ARRIVED
        give_up_at = self._clock() + self._settings.delivery.give_up_days * _SECONDS_A_DAY
        move = partial(rows.resend if arrived else rows.retry, give_up_at=give_up_at)
        self._move(person, "send again" if arrived else "retry delivery", "delivery", number, rows, move)

    def cancel_delivery(self, person: Person, number: int) -> None:
        """Give up a delivery that is not under way."""
        rows = self._ledger.deliveries
        self._move(person, "cancel delivery", "delivery", number, rows, rows.cancel)

    def _move(
        self,
        person: Person,
        action: str,
        kind: str,
        number: int,
        rows: Jobs | Deliveries,
        move: Callable[[int, float], bool],
    ) -> None:
        """Move a job or a delivery: J7, D7."""
        person.need(AccountRole.OPERATOR)
        name, before = f"{kind[0].upper()}{number}", rows.get(number)
        if before is None:
            raise NotFound(f"there is no {kind} {name}")
        if not move(number, self._clock()):
            raise NotPossible(f"{name} is {before.state}: nothing was changed")
        after = rows.get(number)
        states = {"state": str(before.state)}, {"state": str(after.state) if after else "?"}
        self._note(person, action, name, *states, study=before.study_instance_uid)

    def route_again(self, person: Person, study: str) -> None:
        """Ask the rules in force about a study once more."""
        person.need(AccountRole.OPERATOR)
        revisions = self._ledger.studies.revisions(study)
        if not revisions:
            raise NotFound("there is no such study")
        if not self._ledger.studies.route_again(study, person.name, self._clock()):
            raise NotPossible(f"the study is {revisions[-1].state}: the rules will be asked without you")
        self._note(person, "route again", study, study=study)

    def run(self, person: Person, study: str, pipeline: str, inputs: Mapping[str, str]) -> int:
        """Run a pipeline on series of a study that a person chose; its results are stored, and sent nowhere.

        Parameters
        ----------
        inputs : mapping
            Role to Series Instance UID.

        Returns
        -------
        int
            The new job's number.
        """
        person.need(AccountRole.OPERATOR)
        roles = catalogue.roles().get(pipeline)
        if roles is None:
            raise NotFound("there is no such pipeline")
        if set(inputs) != set(roles):
            raise NotPossible(f"{pipeline} needs a series for each of: {', '.join(roles)}")
        paths = {role: self._ledger.studies.series_paths(study, series) for role, series in inputs.items()}
        missing = [role for role, found in paths.items() if not found]
        if missing:
            raise NotFound(f"the study has no such series for {', '.join(missing)}")
        settings = dict(self._settings.pipelines.get(pipeline, {}))
        job = NewJob("without sending", pipeline, paths, (), _ROUTINE, settings)
        number = self._ledger.studies.add_job(study, job, person.name, self._clock())
        self._note(person, "run pipeline", f"J{number}", None, {"pipeline": pipeline, **inputs}, study=study)
        return number

    # -- destinations ------------------------------------------------------------------------------------------

    def pause(self, person: Person, name: str) -> None:
        """Let deliveries to a destination wait."""
        person.need(AccountRole.OPERATOR)
        self._destination(name)
        if not self._ledger.trail.pause(name, person.name, self._clock()):
            raise NotPossible(f"deliveries to {name} wait already")
        self._note(person, "pause destination", name, {"paused": False}, {"paused": True})

    def resume(self, person: Person, name: str) -> None:
        """Let deliveries to a destination go."""
        person.need(AccountRole.OPERATOR)
        self._destination(name)
        if not self._ledger.trail.resume(name, person.name, self._clock()):
            raise NotPossible(f"deliveries to {name} are not paused")
        self._note(person, "resume destination", name, {"paused": True}, {"paused": False})

    def test(self, person: Person, name: str) -> Tested:
        """Test a destination step by step, and ask what of its profile it accepts."""
        person.need(AccountRole.OPERATOR)
        destination = self._destination(name)
        self._note(person, "test destination", name)
        sender, profile = self._senders.of(destination), self._settings.profile(destination.profile)
        return tested(destination, sender, profile)

    def _destination(self, name: str) -> Destination:
        for destination in self._settings.destinations:
            if destination.name == name:
                return destination
        raise NotFound("there is no such destination in node.toml")

    # -- accounts and tokens -----------------------------------------------------------------------------------

    def add_account(self, person: Person, name: str, role: AccountRole, password: str) -> None:
        """Make an account."""
        person.need(AccountRole.ADMINISTRATOR)
        if not self._ledger.accounts.add(name, role, hashed_password(name, password), self._clock()):
            raise AccountRefused(f"there is an account {name} already")
        self._note(person, "add account", name, None, {"role": str(role)})

    def change_account(
        self,
        person: Person,
        name: str,
        *,
        role: AccountRole | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> None:
        """Change an account; its sessions and its lock end with that. The last administrator stays one."""
        person.need(AccountRole.ADMINISTRATOR)
        before = self._ledger.accounts.get(name)
        if before is None:
            raise NotFound("there is no such account")
        loses = disabled is True or (role is not None and role is not AccountRole.ADMINISTRATOR)
        if loses and self._is_last_administrator(name):
            raise NotPossible(f"{name} is the only administrator: make another one first")
        if before.openid is not None and (password is not None or role not in (None, before.role)):
            raise NotPossible(f"{name} logs in by OpenID Connect: the password is there, and the role is by groups")
        hashed = None if password is None else hashed_password(name, password)
        self._ledger.accounts.change(name, role=role, password=hashed, disabled=disabled)
        given: dict[str, Any] = {"role": role and str(role), "disabled": disabled}
        changed = {key: value for key, value in given.items() if value is not None}
        known = {key: value for key, value in asdict(before).items() if key in changed}
        after = changed | ({"password": "changed"} if password is not None else {})
        self._note(person, "change account", name, known, after)

    def _is_last_administrator(self, name: str) -> bool:
        able = [
            account.name
            for account in self._ledger.accounts.every()
            if account.role is AccountRole.ADMINISTRATOR and not account.disabled and account.openid is None
        ]
        return able == [name]

    def add_token(self, person: Person, name: str, role: AccountRole, days: float | None = None) -> str:
        """Make a token for a program; return its secret, which nobody can read again."""
        person.need(AccountRole.ADMINISTRATOR)
        if days is not None and not 0 < days <= _LONGEST_DAYS:
            raise AccountRefused(f"a token is valid for more than 0 and at most {_LONGEST_DAYS} days")
        secret, now = new_token(), self._clock()
        expires_at = None if days is None else now + days * _SECONDS_A_DAY
        if not self._ledger.accounts.add_token(name, digest_of(secret), role, now, person.name, expires_at):
            raise AccountRefused(f"there is a token {name} already")
        self._note(person, "add token", name, None, {"role": str(role), "days": days})
        return secret

    def drop_token(self, person: Person, name: str) -> None:
        """Take a token back."""
        person.need(AccountRole.ADMINISTRATOR)
        if not self._ledger.accounts.drop_token(name):
            raise NotFound("there is no such token")
        self._note(person, "drop token", name)

    def _note(
        self,
        person: Person,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        study: str | None = None,
    ) -> None:
        act = Act(self._clock(), person.name, person.address, action, subject, before, after, study)
        self._ledger.trail.note(act)


def _told(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for of the list of studies, as the trail keeps it."""
    return {name: value for name, value in asked.items() if value not in (None, "")}
