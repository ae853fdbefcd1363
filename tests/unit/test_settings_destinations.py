"""`[[destination]]`: three protocols, each with its own keys; faults name its line, secrets stand in files."""

from pathlib import Path

import pytest

from dicom_node.errors import SettingsInvalid
from dicom_node.settings import (
    BasicAuth,
    DicomDestination,
    DicomWebDestination,
    FolderDestination,
    OAuth2,
    load_settings,
    parse_settings,
)

_DICOM = '[[destination]]\nname = "a"\nae_title = "A"\nhost = "h"\nport = 104\n'
_WEB = '[[destination]]\nname = "a"\nprotocol = "dicomweb"\nurl = "https://h/studies"\n'
_FOLDER = '[[destination]]\nname = "a"\nprotocol = "folder"\npath = "out"\n'
_BASIC = '[destination.auth]\nuser = "u"\npassword_file = "p"\n'
_OAUTH = '[destination.auth]\ntoken_url = "https://h/token"\nclient_id = "i"\nclient_secret_file = "s"\n'


def _faults(text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        parse_settings(text, "node.toml")
    return str(caught.value).splitlines()


def test_each_protocol_has_its_own_destination() -> None:
    """Without `protocol` a destination is a PACS, as it always was."""
    plain, web, folder = (parse_settings(text, "n").destinations[0] for text in (_DICOM, _WEB, _FOLDER))
    assert isinstance(plain, DicomDestination)
    assert (plain.protocol, plain.tls, plain.maximum_mib_per_second) == ("dicom", None, 0)
    assert isinstance(web, DicomWebDestination)
    assert isinstance(folder, FolderDestination)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (_WEB + 'host = "h"', "node.toml:5: [[destination]] 'a': host belongs to protocol dicom"),
        (_DICOM + 'url = "https://h"', "node.toml:6: [[destination]] 'a': url belongs to protocol dicomweb"),
        (_DICOM + 'path = "x"', "node.toml:6: [[destination]] 'a': path belongs to protocol folder"),
        (
            _FOLDER + "[destination.tls]\nca = 'x'",
            "node.toml:5: [[destination]] 'a': tls belongs to protocol dicom and dicomweb",
        ),
        (
            _DICOM + "[destination.auth]\nuser = 'x'",
            "node.toml:6: [[destination]] 'a': auth belongs to protocol dicomweb",
        ),
        (
            _WEB + _BASIC + 'scope = "x"',
            "node.toml:5: [[destination]] 'a': auth.token_url is missing",
        ),
        (_WEB + _OAUTH + 'user = "x"', "node.toml:9: [[destination]] 'a': auth.user belongs to authentication basic"),
        (_WEB + "[destination.auth]\nuser = 'x'", "[[destination]] 'a': auth.password_file is missing"),
        (_WEB + _BASIC + 'passwort_file = "x"', "did you mean 'password_file'?"),
        (
            _DICOM + "[destination.tls]\ncertificat = 'x'",
            "node.toml:7: [[destination]] 'a': unknown key 'tls.certificat'; did you mean",
        ),
        (_DICOM + "[destination.tls]\ncertificate = 'x'", "certificate and private_key belong together"),
        (_DICOM + "hots = 'x'", "node.toml:6: [[destination]] 'a': unknown key 'hots'; did you mean 'host'?"),
        (_WEB + "zzz = 'x'", "unknown key 'zzz'; known: name, profile, timeout_seconds"),
        (
            _WEB.replace("dicomweb", "ftp"),
            "node.toml:3: [[destination]] 'a': protocol is 'ftp'; it must be 'dicom', 'dicomweb', 'folder'",
        ),
        (_DICOM.replace("port = 104\n", ""), "node.toml:1: [[destination]] 'a': port is missing"),
        (_DICOM.replace("104", "0"), "node.toml:5: [[destination]] 'a': port 0 is not 1..65535"),
        (_DICOM + "maximum_mib_per_second = -1", "node.toml:6: [[destination]] 'a': maximum_mib_per_second -1"),
        (
            _WEB.replace("https://h/studies", "pacs:8042"),
            "node.toml:4: [[destination]] 'a': url 'pacs:8042' is not an",
        ),
        (_WEB.replace("https://h", "https://u:geheim@h"), "url holds a user or password: give them in"),
        (_WEB.replace("https", "http") + "[destination.tls]\nca = 'x'", "its url is not https://"),
        (_WEB.replace("https", "http") + _OAUTH, "[[destination]] 'a': sends a token, but its url is not https://"),
        (_WEB + 'confirm = "commitment"', "[[destination]] 'a': has confirm = \"commitment\", which DICOMweb"),
        (_FOLDER + 'confirm = "none"', "[[destination]] 'a': confirm belongs to protocol dicom and dicomweb"),
        (_FOLDER + "check_patient = 'off'", "check_patient belongs to protocol dicom and dicomweb"),
        (_WEB + "[destination.query]\nport = 1", "query belongs to protocol dicom"),
        (_DICOM + "[destination.query]\nprot = 1", "unknown key 'query.prot'; did you mean 'port'?"),
        (_WEB + _BASIC.replace('"u"', '"u:p"'), "auth.user 'u' is followed by a ':'"),
        (
            _WEB + _OAUTH.replace("https", "http"),
            "'http://h/token' is not https://: what is sent there must stay secret",
        ),
    ],
)
def test_a_fault_names_the_key_and_its_line(text: str, fault: str) -> None:
    """A key of another protocol is not simply unknown: the administrator learns whose it is."""
    (told,) = [line for line in _faults(text) if fault in line] or [str(_faults(text))]
    assert fault in told


def test_a_password_in_an_address_is_not_repeated() -> None:
    """What was given by mistake does not end up in a log."""
    assert "geheim" not in str(_faults(_WEB.replace("https://h", "https://u:geheim@h")))
    assert "geheim" not in str(_faults(_WEB.replace("https://h", "ftp://u:geheim@h")))
    assert "geheim" not in str(_faults(_WEB.replace("https://h", "ftp://u:x@geheim@h")))
    assert "geheim" not in str(_faults(_WEB + _BASIC.replace('"u"', '"u:geheim"')))


def test_a_token_may_come_from_this_computer_without_tls() -> None:
    """RFC 6749 3.2 asks for TLS where a secret crosses a network."""
    settings = parse_settings(_WEB + _OAUTH.replace("https://h/token", "http://127.0.0.1:8/token"), "n")
    (web,) = settings.destinations
    assert isinstance(web, DicomWebDestination)
    assert isinstance(web.auth, OAuth2)


def test_paths_of_destinations_start_at_the_file(tmp_path: Path) -> None:
    """Certificates, secrets and folders are found beside node.toml, wherever the node is started."""
    tls = "[destination.tls]\nca = 'ca.pem'\ncertificate = 'c.pem'\nprivate_key = '/k.pem'\n"
    second, third = _WEB.replace('"a"', '"b"') + _BASIC, _FOLDER.replace('"a"', '"c"')
    (tmp_path / "node.toml").write_text(_DICOM + tls + second + third)
    dicom, web, folder = load_settings(tmp_path / "node.toml").destinations
    assert isinstance(dicom, DicomDestination)
    assert dicom.tls is not None
    assert (dicom.tls.ca, dicom.tls.certificate) == (tmp_path / "ca.pem", tmp_path / "c.pem")
    assert dicom.tls.private_key == Path("/k.pem")
    assert isinstance(web, DicomWebDestination)
    assert isinstance(web.auth, BasicAuth)
    assert web.auth.password_file == tmp_path / "p"
    assert isinstance(folder, FolderDestination)
    assert folder.path == tmp_path / "out"
