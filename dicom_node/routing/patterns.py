"""Regular expressions that a rule may use: those whose search always ends soon.

Python's `re` searches by trying; a repeat of what itself repeats can take longer than the age of the hospital on a
text that a sender chose. Such patterns are refused when the rules are read.
"""

import re
from typing import Final

#: A pattern is searched in this many first characters of a value; VR LO holds at most 64.
SEARCHED_CHARACTERS: Final = 128
_LONGEST_PATTERN: Final = 200
#: The most ways of matching that a search may have to try from one character: three open repeats and no choices.
_MOST_WAYS: Final = SEARCHED_CHARACTERS**3
_TOKEN: Final = re.compile(
    r"""\\.                        # an escaped character
      | \[\^?\]?(?:\\.|[^\]\\])*\]   # a set of characters
      | \((?:\?(?:P?<[A-Za-z_]\w*>|[:=!]|<[=!]|[aiLmsux-]+:?))?   # a group opens
      | \)
      | (?:\{\d*,?\d*\}|[*+?])[?+]?   # a repeat, greedy or not
      | \|
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
    """Walk through a valid pattern, counting the ways in which it can match; groups know if theirs are several."""
    groups = [False]
    closed = False  # the group that ended just before this part can match in several ways
    ways = 1
    for part in _TOKEN.findall(pattern):
        choices = _choices(part)
        if closed and part[0] in "*+{" and part != "{":
            return "repeats a group that can itself match in several ways; its search might never end"
        closed = part == ")" and groups[-1]
        if part == ")":
            inner = groups.pop()
            groups[-1] = groups[-1] or inner
        elif part.startswith("("):
            groups.append(False)
        elif part == "|" and len(groups) == 1:
            ways = 1  # another pattern begins, tried after this one
        elif choices > 1:
            groups[-1] = True
            ways *= choices
        if ways > _MOST_WAYS:
            return "has too many repeats and choices; its search might take too long"
    return ""


def _choices(part: str) -> int:
    """Return how many ways one part of a pattern adds: a repeat as many as there are characters to search."""
    if part[0] in "*+" or (part[0] == "{" and "," in part):
        return SEARCHED_CHARACTERS
    return 2 if part[0] in "?|" else 1
