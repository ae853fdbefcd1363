"""Logging in by OpenID Connect, against a provider with real keys over real HTTP: who gets in, and who does not."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwk
from starlette.testclient import TestClient

from dicom_node.admin.people import csrf_of
from dicom_node.ledger import AccountRole
from dicom_node.settings import ClientTlsSettings, OpenIdSettings
from tests.admin_cases import ADMINISTRATOR, OPENED, Bench, bench, log_in
from tests.ledger_cases import Clock
from tests.openid_provider import CLIENT_ID, SECRET, Lies, OpenIdProvider, at_the_provider, openid_provider
from tests.tls_papers import Papers, make_papers

VIEWER, OPERATOR, ROOT = AccountRole
_RSA: Final = jwk.RSAKey.generate_key(2048)
_OTHER: Final = jwk.RSAKey.generate_key(2048)
_ROLES: Final = {"radiologists": "viewer", "pacs team": "operator", "/it/admins": "administrator"}


@contextmanager
def _desk(folder: Path, provider: OpenIdProvider, root_path: str = "", **given: Any) -> Iterator[Bench]:
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    settings = {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret_file": secret,
        "redirect_url": f"http://localhost{root_path}/login/openid/back",
        "roles": _ROLES,
        "label": "Clinic <b>account</b>",
    }
    openid = OpenIdSettings(**(settings | given))
    with bench(folder, openid=openid, root_path=root_path, lock_after=3) as desk:
        yield desk


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider(Clock(OPENED), key=_RSA) as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, provider: OpenIdProvider) -> Iterator[Bench]:
    with _desk(tmp_path, provider) as made:
        yield made


def _browser(desk: Bench) -> TestClient:
    """Return a browser; by the provider's redirect it comes back to localhost."""
    client = desk.client()
    client.base_url = "http://localhost"  # type: ignore[assignment]  # httpx takes a text
    return client


def _come_back(client: TestClient, change: Callable[[str], str] = str) -> Any:
    """Go to the provider and come back, by an address that may be changed on the way."""
    return client.get(change(at_the_provider(client.get("/login/openid").headers["location"])))


def test_a_person_of_a_group_gets_in(desk: Bench, provider: OpenIdProvider) -> None:
    """Off to the provider with PKCE, state and nonce; back into a session like that of any account."""
    client = _browser(desk)
    assert "Log in with Clinic &lt;b&gt;account&lt;/b&gt;" in client.get("/login").text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(_begin(client)).query).items()}
    assert (asked["response_type"], asked["scope"], asked["code_challenge_method"]) == (
        "code",
        "openid profile",
        "S256",
    )
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    answer = _come_back(client)
    assert answer.status_code == 200
    assert 'content="0;url=/"' in answer.text
    session, memory = answer.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in session.split(";")}
    assert "Max-Age=0" in memory
    assert client.get("/api/me").json() == {"name": "ada", "role": "viewer"}
    act = desk.ledger.trail.page()[1][0]
    assert (act.action, act.who, act.after) == ("log in", "ada", {"role": "viewer", "by": "OpenID Connect"})
    new = {"name": "eve", "role": "viewer"}
    assert client.post("/api/tokens", json=new).status_code == 403  # no CSRF token
    token = {"x-csrf-token": csrf_of(client.cookies["dicom_node_session"])}
    assert client.post("/api/tokens", json=new, headers=token).json()["detail"].startswith("this needs the role")
    desk.clock.now += 31 * 60
    assert client.get("/api/me").status_code == 401


def _begin(client: TestClient) -> str:
    return str(client.get("/login/openid").headers["location"])


def test_the_highest_role_of_the_groups_counts_at_each_log_in(desk: Bench, provider: OpenIdProvider) -> None:
    """Who left a group loses its role at the next log-in, in older windows too; the change is recorded."""
    provider.person["groups"] = ["radiologists", "nobody's", "/it/admins"]
    first, second = _browser(desk), _browser(desk)
    _come_back(first)
    assert first.get("/api/me").json()["role"] == "administrator"
    provider.person |= {"groups": ["pacs team"], "preferred_username": "ada.new-name"}
    _come_back(second)
    assert second.get("/api/me").json() == {"name": "ada", "role": "operator"}
    assert first.get("/api/me").status_code == 401
    change = desk.ledger.trail.page(action="change account")[1][0]
    assert (change.before, change.after and change.after["role"]) == ({"role": "administrator"}, "operator")


@pytest.mark.parametrize("groups", [["strangers"], [], "strangers", {"radiologists": True}, None])
def test_without_a_group_nobody_gets_in(desk: Bench, provider: OpenIdProvider, groups: Any) -> None:
    """It is said in words, and recorded."""
    provider.lies.claims["groups"] = groups
    client = _browser(desk)
    answer = _come_back(client)
    assert answer.status_code == 403
    assert "none of your groups has a role here" in answer.text
    assert client.get("/api/me").status_code == 401
    act = desk.ledger.trail.page()[1][0]
    assert (act.action, act.who) == ("log-in refused", "ada")
    assert act.after == {"reason": "ada: none of your groups has a role here"}
    assert desk.ledger.accounts.get("ada") is None


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"nonce": "another"}, "nonce is wrong"),
        ({"nonce": None}, "nonce is wrong"),
        ({"aud": "another client"}, "aud is wrong"),
        ({"aud": [CLIENT_ID, "another"]}, "azp is wrong"),
        ({"azp": "another"}, "azp is wrong"),
        ({"iss": "https://evil.example"}, "iss is wrong"),
        ({"exp": 1}, "token is over"),
        ({"exp": None}, "exp is wrong"),
        ({"iat": 10**11}, "iat is wrong"),
        ({"sub": None}, "sub is wrong"),
        ({"sub": 7}, "sub is wrong"),
        ({"preferred_username": None}, "does not say your name"),
        ({"preferred_username": "token admin"}, "a name that is none here"),
        ({"preferred_username": "x" * 65}, "a name that is none here"),
        ({"preferred_username": "<img src=x onerror=alert(1)>"}, "a name that is none here"),
    ],
)
def test_a_token_that_is_wrong_lets_nobody_in(
    desk: Bench, provider: OpenIdProvider, claims: dict[str, Any], said: str
) -> None:
    """Each claim that OpenID Connect Core 3.1.3.7 has checked is checked, and the name is one."""
    provider.lies.claims = claims
    client = _browser(desk)
    answer = _come_back(client)
    assert answer.status_code == 403
    assert said in answer.text
    assert "onerror" not in answer.text
    assert client.get("/api/me").status_code == 401
    assert desk.ledger.trail.page()[1][0].action == "log-in refused"


def test_only_the_provider_s_key_signs(desk: Bench, provider: OpenIdProvider) -> None:
    """Another key, no signature, and the public key used as a shared secret: none of them is one."""
    for lies in (Lies(key=_OTHER), Lies(unsigned=True), Lies(public_as_secret=True)):
        provider.lies = lies
        client = _browser(desk)
        answer = _come_back(client)
        assert (answer.status_code, "not signed with a key of the provider" in answer.text) == (403, True)
        assert client.get("/api/me").status_code == 401


def test_keys_of_elliptic_curves_sign_too(tmp_path: Path) -> None:
    """ES256 as well as RS256."""
    with (
        openid_provider(Clock(OPENED), key=jwk.ECKey.generate_key("P-256"), algorithm="ES256") as provider,
        _desk(tmp_path, provider) as desk,
    ):
        client = _browser(desk)
        _come_back(client)
        assert client.get("/api/me").json()["name"] == "ada"


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("state=", "state=x"),
        lambda url: url.split("&state")[0],
        lambda url: url.replace("state=", "state=%C3%A4"),
        lambda url: url.replace("realms%2Fclinic", "realms%2Fevil"),
    ],
)
def test_a_log_in_that_did_not_begin_here_is_none(
    desk: Bench, provider: OpenIdProvider, change: Callable[[str], str]
) -> None:
    """Neither with a wrong state nor with the answer of another provider is the code even asked about."""
    answer = _come_back(_browser(desk), change)
    assert answer.status_code == 403
    assert [request for request in provider.requests if request.method == "POST"] == []


def test_one_browser_s_answer_is_no_other_s(desk: Bench, provider: OpenIdProvider) -> None:
    """Nobody can log another browser in as themselves, come back twice, or come back an hour later."""
    mine, yours = _browser(desk), _browser(desk)
    back = at_the_provider(_begin(mine))
    _begin(yours)
    assert yours.get(back).status_code == 403
    assert mine.get(back).status_code == 200
    assert mine.get(back).status_code == 403
    late = at_the_provider(_begin(mine))
    desk.clock.now += 601
    assert "took too long" in mine.get(late).text


def test_a_provider_s_no_is_said_in_words(desk: Bench, provider: OpenIdProvider) -> None:
    """What comes by the address is not repeated; only errors of the standard are known."""
    client = _browser(desk)
    for error, said in (("access_denied", "it was refused there"), ("<b>evil", "the question was wrong")):
        state = parse_qs(urlsplit(_begin(client)).query)["state"][0]
        told = {"error": error, "error_description": "call +1 555 now", "state": state}
        answer = client.get("/login/openid/back", params=told)
        assert (answer.status_code, said in answer.text) == (403, True)
        assert "555" not in answer.text
        assert "<b>evil" not in answer.text


def test_a_provider_that_is_away_keeps_no_account_out(tmp_path: Path) -> None:
    """A plain sentence, and the accounts of the node work on."""
    with openid_provider(Clock(OPENED), key=_RSA) as provider:
        pass
    with _desk(tmp_path, provider) as desk:
        desk.person(VIEWER, "bob").close()
        client = _browser(desk)
        answer = client.get("/login/openid")
        assert answer.status_code == 503
        assert "does not answer" in answer.text
        assert "Accounts with a password work." in answer.text
        assert log_in(client, "bob").status_code == 303


def test_a_provider_that_goes_away_meanwhile(desk: Bench, provider: OpenIdProvider) -> None:
    """Errors of the token endpoint are said, each in its way."""
    for status, expected in ((500, 503), (400, 403), (302, 503)):
        provider.lies.token_status = status
        assert _come_back(_browser(desk)).status_code == expected


def test_a_provider_that_calls_itself_otherwise_is_not_believed(desk: Bench, provider: OpenIdProvider) -> None:
    """OpenID Connect Discovery 4.3: the issuer is the one that was asked."""
    provider.lies.issuer = "https://evil.example"
    answer = _browser(desk).get("/login/openid")
    assert (answer.status_code, "correct issuer of [admin.openid]" in answer.text) == (503, True)


def test_nobody_is_led_elsewhere(desk: Bench, provider: OpenIdProvider) -> None:
    """There is no address that a log-in leads on to but the pages', whoever asks for one."""
    client = _browser(desk)
    evil = {"next": "https://evil.example", "redirect_uri": "https://evil.example", "return_to": "//evil.example"}
    target = client.get("/login/openid", params=evil, headers={"x-forwarded-host": "evil.example"}).headers[
        "location"
    ]
    assert target.startswith(f"{provider.issuer}/authorize?")
    assert "evil" not in target
    answer = client.get(f"{at_the_provider(target)}&next=https://evil.example")
    assert answer.status_code == 200
    assert "evil" not in answer.text


def test_a_name_of_an_account_is_not_taken_over(desk: Bench, provider: OpenIdProvider) -> None:
    """Neither an account with a password nor that of another subject of the same name."""
    desk.person(ROOT, "ada").close()
    answer = _come_back(_browser(desk))
    assert (answer.status_code, "already that is not yours" in answer.text) == (403, True)
    provider.person |= {"preferred_username": "bob"}
    _come_back(_browser(desk))
    provider.person |= {"sub": "2"}
    assert _come_back(_browser(desk)).status_code == 403


def test_an_account_of_the_provider_has_no_password_here(desk: Bench, provider: OpenIdProvider) -> None:
    """Nobody logs in to it with one, gives it one, or changes the role that its groups give; it can be disabled."""
    client = _browser(desk)
    _come_back(client)
    for password in ("", "None", "correct horse battery"):
        assert log_in(_browser(desk), "ada", password).status_code in (401, 422)
    root = desk.program(ROOT)
    assert root.patch("/api/accounts/ada", json={"password": "a long password"}).status_code == 409
    assert root.patch("/api/accounts/ada", json={"role": "administrator"}).status_code == 409
    assert root.patch("/api/accounts/ada", json={"disabled": True}).status_code == 204
    assert client.get("/api/me").status_code == 401
    answer = _come_back(client)
    assert (answer.status_code, "is disabled" in answer.text) == (403, True)


def test_an_administrator_of_the_provider_is_not_the_last_one(desk: Bench, provider: OpenIdProvider) -> None:
    """An account with a password must stay to log in with when the provider is away."""
    provider.person["groups"] = ["/it/admins"]
    _come_back(_browser(desk))
    desk.office.actions.add_account(ADMINISTRATOR, "root", ROOT, "a long password")
    assert desk.program(ROOT).patch("/api/accounts/root", json={"disabled": True}).status_code == 409


def test_passwords_can_be_switched_off(tmp_path: Path, provider: OpenIdProvider) -> None:
    """Then no password gets anybody in, and sessions that one opened are over."""
    with _desk(tmp_path, provider) as desk:
        secret = desk.person(VIEWER, "bob").cookies["dicom_node_session"]
        settings = desk.office.settings.admin
    assert settings.openid is not None
    with _desk(tmp_path, provider, password_log_in=False) as desk:
        client = _browser(desk)
        client.cookies.set("dicom_node_session", secret)
        assert client.get("/api/me").status_code == 401
        assert log_in(client, "bob").status_code == 401
        assert '<form method="post" action="/login" hidden>' in client.get("/login").text
        _come_back(client)
        assert client.get("/api/me").status_code == 200


def test_without_the_table_nobody_comes_this_way(tmp_path: Path, provider: OpenIdProvider) -> None:
    """A session of the provider's is over when node.toml names none any more."""
    with _desk(tmp_path, provider) as desk:
        client = _browser(desk)
        _come_back(client)
        secret = client.cookies["dicom_node_session"]
    with bench(tmp_path) as desk:
        client = _browser(desk)
        client.cookies.set("dicom_node_session", secret)
        assert client.get("/api/me").status_code == 401
        for path in ("/login/openid", "/login/openid/back?code=1&state=2"):
            assert client.get(path).headers["location"] == "/login"


def test_behind_a_reverse_proxy_s_path(tmp_path: Path, provider: OpenIdProvider) -> None:
    """Everything is below the path that the proxy serves the pages at."""
    with _desk(tmp_path, provider, root_path="/dicom-node") as desk:
        client = _browser(desk)
        target = client.get("/dicom-node/login/openid").headers["location"]
        answer = client.get(at_the_provider(target))
        assert 'content="0;url=/dicom-node/"' in answer.text
        assert client.get("/dicom-node/api/me").json()["name"] == "ada"


def test_groups_in_an_object_or_at_userinfo(tmp_path: Path, provider: OpenIdProvider) -> None:
    """Keycloak's roles lie deeper, and some providers tell groups only where one asks; of the same person only."""
    with _desk(tmp_path, provider, groups_claim="realm_access.roles") as desk:
        provider.lies.claims = {"realm_access": {"roles": ["pacs team"]}}
        client = _browser(desk)
        _come_back(client)
        assert client.get("/api/me").json()["role"] == "operator"
        provider.lies.claims = {}
        provider.lies.userinfo = {"sub": "1", "realm_access": {"roles": ["/it/admins"]}, "preferred_username": "eve"}
        client = _browser(desk)
        _come_back(client)
        assert client.get("/api/me").json() == {"name": "ada", "role": "administrator"}
        provider.lies.userinfo["sub"] = "2"
        assert "somebody else" in _come_back(_browser(desk)).text


def test_logging_out_there_too(tmp_path: Path, provider: OpenIdProvider) -> None:
    """Who came by the provider is led to its log-out; who has a password is not."""
    with _desk(tmp_path, provider, log_out_there=True) as desk:
        client = _browser(desk)
        _come_back(client)
        csrf = {"csrf": csrf_of(client.cookies["dicom_node_session"])}
        answer = client.post("/logout", data=csrf)
        assert f"0;url={provider.issuer}/logout?client_id=dicom+node" in answer.text
        assert "post_logout_redirect_uri=http%3A%2F%2Flocalhost%2Flogin" in answer.text
        assert client.get("/api/me").status_code == 401
        local = desk.person(VIEWER, "bob")
        csrf = {"csrf": csrf_of(local.cookies["dicom_node_session"])}
        assert local.post("/logout", data=csrf).headers["location"] == "/login"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"), require_tool("openssl", "openssl"))


def test_a_provider_by_https(tmp_path: Path, papers: Papers) -> None:
    """By a CA of the hospital's own; without it, the provider counts as away, and nothing is told to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate("node"), papers.key("node"))
    with openid_provider(Clock(OPENED), key=_RSA, context=context) as provider:
        tls = ClientTlsSettings(ca=papers.certificate("ca"))
        with _desk(tmp_path, provider, tls=tls) as desk:
            client = _browser(desk)
            target = _begin(client)
            client.get(at_the_provider(target, ca_certs=str(papers.certificate("ca"))))
            assert client.get("/api/me").json()["name"] == "ada"
        asked = len(provider.requests)
        with _desk(tmp_path, provider, tls=ClientTlsSettings(ca=papers.certificate("other"))) as desk:
            assert _browser(desk).get("/login/openid").status_code == 503
        assert len(provider.requests) == asked
