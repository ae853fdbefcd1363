"""Growing pauses for studies over which a stage stumbles: what failed a moment ago will mostly fail again."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

#: A revision: Study Instance UID and number.
Key = tuple[str, int]

_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Pause:
    until: float
    seconds: float
    rules: str


class Pauses:
    """It holds nothing that matters: after a start every study is tried at once."""

    def __init__(self) -> None:
        self._pauses: dict[Key, _Pause] = {}

    def over(self, key: Key, rules: str, now: float) -> bool:
        """Return whether a revision may be tried (UTC seconds): at once, too, when the rules are others by now."""
        pause = self._pauses.get(key)
        return pause is None or now >= pause.until or rules != pause.rules

    def longer(self, key: Key, rules: str, now: float) -> None:
        """A try with some rules failed: the next pause is twice as long, up to five minutes."""
        before = self._pauses.get(key)
        again = before is not None and before.rules == rules
        seconds = min(2 * before.seconds, _LONGEST_SECONDS) if before is not None and again else _FIRST_SECONDS
        self._pauses[key] = _Pause(now + seconds, seconds, rules)

    def end(self) -> None:
        """Let everything be tried at once."""
        self._pauses.clear()

    def only(self, keys: Collection[Key]) -> None:
        """Forget all but some revisions: the others went on."""
        for key in self._pauses.keys() - set(keys):
            del self._pauses[key]
