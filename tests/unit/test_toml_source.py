"""The scanner that finds the line of each key."""

import pytest

from dicom_node.toml_source import TomlSyntaxError, read_toml

_TEXT = '''# a comment
top = 1

[node]   # [not.a.table]
name = "a # b ] = \\" c"
"quoted key" = 'x'
a . b.c = 2

[[destination]]
name = """
several = "lines"
[[destination]]
"""
addresses = [
  # nothing = here
  "one",
  { x = 1, y = 2 }, [3,
  4],
]

[destination.sub]
k = 1

[[ destination ]]
name = \'\'\'x
''y\'\'\'
when = 1979-05-27T07:32:00Z
[[destination.inner]]
v = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("node",), 4),
        (("node", "name"), 5),
        (("node", "quoted key"), 6),
        (("node", "a", "b", "c"), 7),
        (("destination",), 9),
        (("destination", 0), 9),
        (("destination", 0, "name"), 10),
        (("destination", 0, "addresses"), 14),
        (("destination", 0, "addresses", 0), 16),
        (("destination", 0, "addresses", 1, "y"), 17),
        (("destination", 0, "addresses", 2, 1), 18),
        (("destination", 0, "sub", "k"), 22),
        (("destination", 1), 24),
        (("destination", 1, "when"), 27),
        (("destination", 1, "inner", 0, "v"), 29),
    ],
)
def test_every_key_has_the_line_on_which_it_stands(path: tuple[str | int, ...], line: int) -> None:
    """Tables, arrays of tables, dotted and quoted keys, multi-line strings and arrays do not mislead the scanner."""
    assert read_toml(_TEXT).places[path][0] == line


def test_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    """What is missing is told at the table that should hold it."""
    source = read_toml(_TEXT)
    assert source.line(("destination", 1, "port")) == 24
    assert source.line(("nothing",)) == 1


def test_windows_line_ends_count_as_one() -> None:
    """A file that was edited on Windows has the same lines."""
    assert read_toml("a = 1\r\n\r\nb = 2\r\n").line(("b",)) == 3


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ('a = 1\n\nb = """', 3)])
def test_what_is_not_toml_is_told_with_its_line(text: str, line: int) -> None:
    """A slip of syntax names the line on which reading stopped."""
    with pytest.raises(TomlSyntaxError, match="not TOML") as caught:
        read_toml(text)
    assert caught.value.line == line


def test_every_key_has_its_column() -> None:
    """An editor puts its mark where the key begins, also inside of an inline table."""
    source = read_toml("[a]\n  b = { c = 1, dd = [2, 3] }\n")
    assert source.place(("a", "b")) == (2, 3)
    assert source.place(("a", "b", "dd")) == (2, 16)
    assert source.place(("a", "b", "dd", 1)) == (2, 25)
    assert source.place(("a", "b", "gone")) == (2, 3)


def test_strings_and_comments_nest_nothing() -> None:
    """However many brackets and dots they hold, ended by whatever number of quotes."""
    marks = "[{." * 100
    texts = [
        f'"{marks}"',
        f"'{marks}'",
        f'"""{marks}\n"" {marks}"""""',
        f"'''{marks}'' {marks}''''",
        f'"\\"{marks}"',
        '""',
    ]
    text = "".join(f"k{number} = {one} # {marks}\n" for number, one in enumerate(texts))
    assert len(read_toml(text).values) == len(texts)


def test_columns_of_a_long_line_are_counted_from_its_start() -> None:
    """Also after strings of several lines."""
    source = read_toml('a = 1\nb = ["x", """\ny""", 3]\n')
    assert [source.place(("b", index)) for index in range(3)] == [(2, 6), (2, 11), (3, 7)]
