"""`[[archive]]`: two protocols, secrets in files, and every fault with its line."""

from pathlib import Path

import pytest

from dicom_node.errors import SettingsInvalid
from dicom_node.settings import (
    BasicAuth,
    BearerToken,
    DicomWebDestination,
    OAuth2,
    Retrieve,
    load_settings,
    parse_settings,
)

_DICOM = '[[archive]]\nname = "pacs"\nae_title = "PACS"\nhost = "h"\nport = 104\n'
_WEB = '[[archive]]\nname = "web"\nurl = "https://h/dicom-web/"\n'


def test_an_archive_speaks_dicom_or_dicomweb() -> None:
    """Both forms load; the end of a url counts for nothing."""
    dicom, web = parse_settings(_DICOM + _WEB, "node.toml").archives
    assert (dicom.ae_title, dicom.host, dicom.port, dicom.retrieve) == ("PACS", "h", 104, Retrieve.AUTO)
    assert web.url == "https://h/dicom-web"


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ('user = "u"\npassword_file = "p"', BasicAuth),
        ('token_url = "https://h/t"\nclient_id = "i"\nclient_secret_file = "s"', OAuth2),
        ('token_file = "t"', BearerToken),
    ],
)
def test_every_kind_of_authentication_is_known_by_its_keys(table: str, kind: type) -> None:
    """Archives and destinations take the same three."""
    (archive,) = parse_settings(f"{_WEB}[archive.auth]\n{table}\n", "n").archives
    assert type(archive.auth) is kind
    destination = '[[destination]]\nname = "web"\nprotocol = "dicomweb"\nurl = "https://h/studies"\n'
    (web,) = parse_settings(f"{destination}[destination.auth]\n{table}\n", "n").destinations
    assert isinstance(web, DicomWebDestination)
    assert web.auth == archive.auth


def test_secrets_lie_beside_the_settings(tmp_path: Path) -> None:
    """Relative paths start at the folder of node.toml."""
    path = tmp_path / "node.toml"
    tables = '[archive.auth]\nuser = "u"\npassword_file = "p"\n[archive.tls]\nca = "ca.pem"\n'
    path.write_text(_WEB + tables)
    (archive,) = load_settings(path).archives
    assert isinstance(archive.auth, BasicAuth)
    assert archive.tls is not None
    assert (archive.auth.password_file, archive.tls.ca) == (tmp_path / "p", tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[[archive]]\nname = "a"\n', "node.toml:1: [[archive]] 'a': needs ae_title, host and port (DICOM), or url"),
        (_DICOM + 'url = "https://h"\n', "has a url and DICOM keys"),
        (_DICOM + "[archive.auth]\ntoken_file = 't'\n", "has [archive.auth], which only a DICOMweb service takes"),
        (_DICOM + 'retrieve = "C-STORE"\n', "node.toml:6: [[archive]] 'pacs': retrieve is 'C-STORE'; it must be"),
        (
            _DICOM + 'retrieve = "C-MOVE"\n',
            "[[archive]] 'pacs': no [[source]] has the AE title 'PACS', so what it sends",
        ),
        (_DICOM + _DICOM, "the name 'pacs' is used 2 times"),
        ('[[archive]]\nname = "a"\nurl = "https://u:geheim@h"\n', "holds a user or password"),
        ('[[archive]]\nname = "a"\nurl = "ftp://h"\n', "'ftp://h' is not an address"),
        ('[[archive]]\nname = "a"\nurl = "https://h?x=1"\n', "url has a part after '?', which no service has"),
        ('[[archive]]\nname = "a"\nurl = "http://h"\n[archive.tls]\nca = "x"\n', "but its url is not https://"),
        ('[[archive]]\nname = "a"\nurl = "http://h"\n[archive.auth]\ntoken_file = "x"\n', "sends a token"),
        (_WEB + '[archive.auth]\nuser = "u"\n', "auth.password_file is missing"),
        (_WEB + '[archive.auth]\nuser = "u:v"\npassword_file = "p"\n', "auth.user 'u' is followed by a ':'"),
        (_DICOM + 'proxy = "http://p:1"\n', "has proxy, which only a DICOMweb service takes"),
        (_WEB + '[archive.auth]\ntoken_file = "t"\nuser = "u"\n', "auth.user belongs to authentication basic"),
        (_WEB + '[archive.auth]\nscope = "t"\n', "node.toml:4: [[archive]] 'web': auth.token_url is missing"),
        (_WEB + '[archive.auth]\ntokenfile = "t"\n', "unknown key 'auth.tokenfile'; did you mean 'token_file'?"),
        (_WEB + 'proxy = "p:1?geheim"\n', "proxy 'p:1' is not an address"),
        (_WEB + '[archive.tls]\ncertificate = "c"\n', "certificate and private_key belong together"),
        (_WEB + '[archive.tls]\nkey = "c"\n', "node.toml:5: [[archive]] 'web': unknown key 'tls.key'; known: ca"),
        (_WEB + "tim = 1\n", "unknown key 'tim'"),
        ('[completion]\narchive = "pcas"\n' + _DICOM, "node.toml:2: [completion]: no [[archive]] is named 'pcas'"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, fault: str) -> None:
    """What is wrong, where, and what would be right; a password is not repeated."""
    with pytest.raises(SettingsInvalid) as told:
        parse_settings(text, "node.toml")
    assert fault in str(told.value)
    assert "geheim" not in str(told.value)


def test_who_sends_by_c_move_is_a_source() -> None:
    """By the AE title that it calls itself then; any title is known where "*" is."""
    moving = _DICOM + 'retrieve = "C-MOVE"\nsends_as = "STORE"\n'
    source = '[[source]]\nname = "s"\nae_titles = ["STORE"]\naddresses = ["*"]\n'
    for text in (source, source.replace("STORE", "*")):
        (archive,) = parse_settings(moving + text, "node.toml").archives
        assert archive.retrieve is Retrieve.MOVE
