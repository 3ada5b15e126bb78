"""The settings of every client of Druid: user, password and CA, and what is said when Druid refuses them."""

import socket
from collections.abc import Iterator
from pathlib import Path

import druid_router
import pytest
from druid_router import PASSWORD, READER, USER, make_ca, make_certificate, proxy
from repository import assert_one_sentence
from service.druid import Denied, NoAnswer, NotReachable, Router
from service.settings import BadSetting, checked


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with proxy() as url:
        yield url


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return str(path)


def refused(*settings: str) -> str:
    with pytest.raises(Denied) as error:
        Router(druid_router.settings(*settings)).request("POST", "/path", 5)
    assert PASSWORD not in str(error.value)
    assert_one_sentence(str(error.value))
    return str(error.value)


def not_allowed(*settings: str) -> str:
    with pytest.raises(BadSetting) as error:
        Router(druid_router.settings(*settings))
    assert_one_sentence(str(error.value))
    return str(error.value)


def test_the_user_with_the_password_of_the_file_is_let_in(url: str, password_file: str) -> None:
    assert Router(druid_router.settings(url, USER, password_file)).request("GET", "/path", 5).json() == []


def test_a_druid_that_asks_for_a_user_is_named_with_the_settings(url: str) -> None:
    assert refused(url) == (f"Druid at {url} asks for a user and a password: set DRUID_USER and DRUID_PASSWORD_FILE.")


def test_a_wrong_password_is_named_with_its_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong"
    file.write_text("not the one")
    said = refused(url, USER, str(file))
    assert said == (
        f"Druid at {url} does not accept the user {USER} with the password in {file}: check DRUID_USER and"
        " DRUID_PASSWORD_FILE."
    )
    assert "not the one" not in said


def test_a_missing_right_is_named_with_the_request(url: str, password_file: str) -> None:
    assert refused(url, READER, password_file) == (
        f"Druid at {url} does not let the user {READER} use POST /path: check DRUID_USER, and give it the rights in"
        " docs/operations.md."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it can't be read (No such file or directory)."),
        (b"\n", "the file must hold the password, and it is empty."),
        (b"\xff\xfe", "it must be a text in UTF-8."),
    ],
)
def test_a_password_that_can_not_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    assert not_allowed("http://druid", USER, str(file)) == f"DRUID_PASSWORD_FILE is {str(file)!r}: {said}"


def test_a_user_without_a_password_and_a_password_without_a_user(password_file: str) -> None:
    remedy = "set both, or none for a Druid without a login."
    assert not_allowed("http://druid", USER).endswith(f"DRUID_USER is 'fleet' and DRUID_PASSWORD_FILE is '': {remedy}")
    assert not_allowed("http://druid", "", password_file).endswith(remedy)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "router:8888", "http://[x", "ftp://router", "http://", "http://a b", "http://a:x", "http://a?b"],
)
def test_what_is_no_url_is_not_allowed(text: str) -> None:
    with pytest.raises(BadSetting, match=r"DRUID_URL \(or druid_url\) is .*: it must be the URL of a server, as in"):
        checked(druid_router.settings("http://druid"), {"DRUID_URL": text})


def test_a_slash_at_the_end_of_the_url_is_left_out() -> None:
    given = {"DRUID_URL": "https://druid.test/behind/a/path/"}
    assert checked(druid_router.settings("http://druid"), given).druid_url == "https://druid.test/behind/a/path"


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(BadSetting) as error:
        checked(druid_router.settings("http://druid"), {"DRUID_URL": "https://fleet:se@cret@druid.test"})
    assert "'https://...@druid.test'" in str(error.value)
    assert "cret" not in str(error.value)


def test_a_druid_that_is_not_reachable() -> None:
    for url, said in (("http://127.0.0.1:1", "accepts no connection"), ("http://no.invalid", "name can't be resolved")):
        with pytest.raises(NotReachable, match=said):
            Router(druid_router.settings(url)).request("GET", "/path", 5)


def test_a_druid_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(NoAnswer, match=r"no answer within 0.2 s"):
        Router(druid_router.settings(f"http://127.0.0.1:{server.getsockname()[1]}")).request("GET", "/path", 0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ca(folder: Path) -> Path:
    return make_ca(folder)


@pytest.fixture(scope="module")
def secure(ca: Path) -> Iterator[str]:
    with proxy(certificate=make_certificate(ca)) as url:
        yield url


def test_a_certificate_of_the_ca_is_accepted(secure: str, ca: Path, password_file: str) -> None:
    router = Router(druid_router.settings(secure, USER, password_file, str(ca)))
    assert router.request("GET", "/path", 5).json() == []


def test_a_ca_that_is_not_known_is_named_with_the_setting(secure: str, folder: Path) -> None:
    remedy = "check DRUID_URL and DRUID_CA_FILE, which must hold the CA that has signed the certificate."
    said = refused(secure)
    assert said.startswith(f"Druid's certificate at {secure} is not valid for the public CAs (")
    assert said.endswith(remedy)
    other = make_ca(folder, "other")
    assert f"is not valid for {other} (" in refused(secure, "", "", str(other))


def test_a_certificate_of_another_server(folder: Path) -> None:
    ca = make_ca(folder, "names")
    with proxy(certificate=make_certificate(ca, "DNS:router.test")) as url:
        assert "IP address mismatch" in refused(url, "", "", str(ca))


def test_a_certificate_that_has_expired(folder: Path) -> None:
    ca = make_ca(folder, "old")
    with proxy(certificate=make_certificate(ca, days=-1)) as url:
        assert "certificate has expired" in refused(url, "", "", str(ca))


def test_a_server_without_tls_at_an_https_address(url: str) -> None:
    said = refused(url.replace("http:", "https:"))
    assert "does not speak TLS" in said
    assert said.endswith("check DRUID_URL.")


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    assert not_allowed("https://druid", "", "", str(file)) == (
        f"DRUID_CA_FILE is {str(file)!r}: it can't be read (No such file or directory)."
    )
    file.write_text("no certificate")
    assert not_allowed("https://druid", "", "", str(file)).startswith(
        f"DRUID_CA_FILE is {str(file)!r}: it must be a file of certificates in PEM form ("
    )
