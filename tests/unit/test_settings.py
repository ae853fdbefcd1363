"""`node.toml`: defaults, and every fault at once with file and line."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dicom_node.errors import SettingsInvalid
from dicom_node.settings import READY, NodeSettings, Settings, load_settings, parse_settings


def _faults(text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        parse_settings(text, "node.toml")
    return str(caught.value).splitlines()


def test_an_empty_file_means_the_defaults() -> None:
    """Every setting has a default."""
    assert parse_settings("", "node.toml") == Settings()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[reception]\nport = 99999", "node.toml:2: [reception]: port 99999 is not 1..65535"),
        ("[reception]\nport = '104'", "node.toml:2: [reception]: port is '104'; it must be a whole number"),
        ("[reception]\nport = true", "node.toml:2: [reception]: port is True; it must be a whole number"),
        ("[reception]\naddress = 'mri'", "node.toml:2: [reception]: address 'mri' is not an IP address (127.0.0.1: "),
        ("[reception]\nsame_uid_other_bytes = 'x'", "it must be 'keep_first', 'keep_last' or 'refuse'"),
        (
            "[completion]\nquiet_secs = 3",
            "node.toml:2: [completion]: unknown key 'quiet_secs'; did you mean 'quiet_s",
        ),
        ("[completion]\nquiet_seconds = nan", "node.toml:2: [completion]: quiet_seconds nan is not 0..86400"),
        ("\n[complection]", "node.toml:2: unknown key 'complection'; did you mean 'completion'?"),
        ("[node]\nae_title = 'A\\B'", "node.toml:2: [node]: ae_title 'A\\\\B' is not an AE title"),
        ("[node]\nae_title = 'SEVENTEEN_LETTERS'", "is not an AE title (1 to 16 ASCII characters, no backslash)"),
        ("[node]\nname = ' '", "node.toml:2: [node]: name must not be blank"),
        ("[source]\nname = 'x'", "node.toml:1: [source]: write [[source]], with two brackets: there may be several"),
        ("[[sources]]\nname = 'x'", "node.toml:1: unknown key 'sources'; did you mean 'source'?"),
        (
            "[[source]]\nname = 'x'\nae_titles = []\naddresses = ['*']",
            "node.toml:3: [[source]] 'x': ae_titles is empty",
        ),
        (
            "[[source]]\nname = 'x'\nae_titles = ['*']\naddresses = ['h']",
            "[[source]] 'x': addresses, entry 1 'h' is not",
        ),
        ("[[source]]\nname='x'\nae_titles=['*']\naddresses=['10.1.2.3/16']", "did you mean '10.1.0.0/16'?"),
        ("[[source]]\nname='x'\nae_titles=['*']\naddresses=['*']\ncertificates=['mr1']", 'neither "sha256:"'),
        (
            "[reception.tls]\ncertificate='c'\nprivate_key='k'\nrequire_client_certificate=true",
            "require_client_certificate needs client_ca",
        ),
        ("[reception.tls]\ncertificate='c'\nprivate_key='k'\nclint_ca='x'", "did you mean 'client_ca'?"),
        ("[[profile]]\nname = 'ohif'", "node.toml:2: [[profile]] 'ohif': name is that of a ready profile"),
        (
            "[[profile]]\nname = 'x'\nextends = 'y'",
            "[[profile]] 'x': extends 'y', which is neither ready",
        ),
        ("[[profile]]\nname = 'x'\nkinds = ['SEQ']", "[[profile]] 'x': kinds, entry 1 is 'SEQ'; it must be 'SEG', "),
        ("[[profile]]\nname = 'x'\nkinds = []", "[[profile]] 'x': kinds is empty"),
        ("[[profile]]\nname = 'x'\nwarning = \"a\\u000ab\"", "must be one line of at most 60 characters"),
        (f"[results]\nwarning = '{'w' * 61}'", "must be one line of at most 60 characters"),
        ("[[profile]]\nname = 'x'\nseries_description = '{titel}'", "'{titel}' holds {titel}; known: kind, label, "),
        ("[[profile]]\nname = 'x'\nseries_description = '{'", "'{' has a brace without its pair"),
        (
            "[[destination]]\nname='p'\nae_title='A'\nhost='h'\nport=104\nprofile='ohfi'",
            "node.toml:6: [[destination]] 'p': profile 'ohfi' is unknown; did you mean 'ohif'?",
        ),
        (
            "[[destination]]\nname = 'p'\nae_title = 'A'\nport = 104",
            "node.toml:1: [[destination]] 'p': host is missing",
        ),
        (
            "[delivery]\nfirst_wait_seconds = 9000",
            "node.toml:1: [delivery]: longest_wait_seconds must not be shorter",
        ),
        ("[compute]\ndevice = 'gpu'", "node.toml:2: [compute]: device is 'gpu'; it must be 'auto', 'cpu' or 'cuda'"),
        ("compute = 1", "node.toml:1: [compute]: must be a table"),
        ("[pipelines.p]\na = 1\nb = [1]", "node.toml:3: [pipelines]: p.b must be text, a number, true or false"),
        ("[node]\nname = ", "node.toml:2: not TOML: "),
    ],
)
def test_a_fault_says_where_it_is_and_what_would_be_right(text: str, fault: str) -> None:
    """Each fault names file, line, table and key, and what to write instead."""
    (told,) = _faults(text)
    assert fault in told


def test_every_fault_is_listed_at_once_in_the_order_of_lines() -> None:
    """An administrator corrects a file in one round, not in as many as it has faults."""
    text = "[node]\nnam = 'x'\n[reception]\nport = 0\n[[destination]]\nname = 'p'\n[log]\nlevel = 'loud'\n"
    lines = [int(re.match(r"node\.toml:(\d+): ", fault)[1]) for fault in _faults(text)]
    assert lines == [2, 4, 5, 5, 5, 8]


def test_a_name_that_is_used_twice_is_told_at_both_places() -> None:
    """Rules choose destinations by name, so a name must mean one."""
    one = "[[destination]]\nname = 'pacs'\nae_title = 'A'\nhost = 'h'\nport = 104\n"
    assert [fault.split(": ", 1)[0] for fault in _faults(one + one)] == ["node.toml:2", "node.toml:7"]


def test_a_fault_beside_a_repeated_name_is_told_too() -> None:
    """Checks across tables do not wait for the others to pass."""
    one = "[[destination]]\nname = 'pacs'\nae_title = 'A'\nhost = 'h'\nport = 0\n"
    assert len(_faults(one + one)) == 4


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node may be started from any folder."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "node.toml").write_text("[node]\ndata = '/srv/node'\n")
    monkeypatch.chdir(config)
    settings = load_settings(Path("node.toml"))
    assert settings.node.data == Path("/srv/node")
    assert settings.node.rules == config.resolve() / "rules.toml"


def test_a_file_that_is_not_there_is_a_fault_and_not_a_default(tmp_path: Path) -> None:
    """A node never starts with settings that nobody wrote."""
    with pytest.raises(SettingsInvalid, match=r"nowhere\.toml: cannot be read"):
        load_settings(tmp_path / "nowhere.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match="not UTF-8"):
        load_settings(tmp_path / "bytes.toml")


def test_settings_cannot_be_changed() -> None:
    """What was loaded is what runs."""
    with pytest.raises(ValidationError, match="frozen"):
        NodeSettings().name = "other"  # type: ignore[misc]


def test_pipeline_settings_keep_their_types() -> None:
    """True stays true and 1 stays a whole number: a pipeline's default decides which is right."""
    values = parse_settings("[pipelines.p]\na = true\nb = 1\nc = 1.5\nd = 'x'", "n").pipelines["p"]
    assert [(value, type(value)) for value in values.values()] == [(True, bool), (1, int), (1.5, float), ("x", str)]


def test_paths_of_tls_start_at_the_file(tmp_path: Path) -> None:
    """Relative paths of [reception.tls] are those beside node.toml."""
    (tmp_path / "node.toml").write_text("[reception.tls]\ncertificate = 'a/c.pem'\nprivate_key = '/k.pem'\n")
    tls = load_settings(tmp_path / "node.toml").reception.tls
    assert tls is not None
    assert (tls.certificate, tls.private_key, tls.client_ca) == (tmp_path / "a" / "c.pem", Path("/k.pem"), None)


def test_a_fingerprint_in_any_tools_form() -> None:
    """OpenSSL's colons and capitals, with or without the name of the digest, are one fingerprint."""
    digits = "ab" * 32
    colons = ":".join(["AB"] * 32)
    text = "[[source]]\nname='x'\nae_titles=['*']\naddresses=['*']\ncertificates=['{}', 'SHA256:{}', 'CN=a b']"
    (source,) = parse_settings(text.format(colons, digits), "node.toml").sources
    assert source.certificates == (f"sha256:{digits}", f"sha256:{digits}", "CN=a b")
    assert source.is_proved_by(frozenset({"CN=a b"}))
    assert not source.is_proved_by(frozenset({"CN=a"}))


def test_a_profile_has_the_values_of_those_that_it_extends() -> None:
    """What a profile does not give comes from the one it extends, at last from `[results]`."""
    settings = parse_settings(
        """
        [results]
        notice = "Ours."
        series_number_base = 500
        [[profile]]
        name = "first"
        extends = "no-seg-pacs"
        empty_frames = true
        [[profile]]
        name = "second"
        extends = "first"
        language = "de"
        notice = ""
        """,
        "node.toml",
    )
    second = settings.profile("second")
    assert (second.name, second.report, second.kinds) == ("second", "text", READY["no-seg-pacs"].kinds)
    assert (second.empty_frames, second.language, second.notice, second.series_number_base) == (True, "de", "", 500)
    assert settings.profile("first").notice == "Ours."


@pytest.mark.parametrize("name", READY)
def test_ready_profiles_have_every_value(name: str) -> None:
    """Each has a value for everything, and says the same to everybody."""
    profile = Settings().profile(name)
    assert profile.name == name
    assert None not in profile.model_dump().values()
