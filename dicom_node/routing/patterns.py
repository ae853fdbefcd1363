"""Regular expressions that a rule may use: those whose search always ends soon.

Python's `re` searches by trying; a repeat of what itself repeats can take longer than the age of the hospital on a
text that a sender chose. Such patterns are refused when the rules are read.
"""

import re
from typing import Final

_LONGEST_PATTERN: Final = 200
_MOST_OPEN_REPEATS: Final = 4
_TOKEN: Final = re.compile(
    r"""\\.                        # an escaped character
      | \[\^?\]?(?:\\.|[^\]\\])*\]   # a set of characters
      | \((?:\?(?:P?<[A-Za-z_]\w*>|[:=!]|<[=!]|[aiLmsux-]+:?))?   # a group opens
      | \)
      | \{\d*,?\d*\} | [*+?|]
      | .""",
    re.VERBOSE | re.DOTALL,
)


def pattern_fault(pattern: str) -> str:
    """Return what is wrong with a pattern, to be read after its name, or nothing."""
    if len(pattern) > _LONGEST_PATTERN:
        return f"is longer than {_LONGEST_PATTERN} characters"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    return _runaway(pattern)


def _runaway(pattern: str) -> str:
    """Walk through a valid pattern, remembering for each open group whether it can match in several ways."""
    groups = [False]
    closed = False  # the group that ended just before this part can match in several ways
    repeats = 0
    for part in _TOKEN.findall(pattern):
        open_repeat = part in ("*", "+") or (part.startswith("{") and part.endswith(",}"))
        varies = open_repeat or part in ("?", "|") or (part.startswith("{") and "," in part)
        repeats += open_repeat
        if closed and (open_repeat or part.startswith("{")) and part != "{":
            return "repeats a group that can itself match in several ways; its search might never end"
        closed = part == ")" and groups[-1]
        if part == ")":
            inner = groups.pop()
            groups[-1] = groups[-1] or inner
        elif part.startswith("("):
            groups.append(False)
        elif varies:
            groups[-1] = True
    return f"has more than {_MOST_OPEN_REPEATS} of * and +" if repeats > _MOST_OPEN_REPEATS else ""
