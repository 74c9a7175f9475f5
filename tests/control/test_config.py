"""Settings: where they come from, and that nothing wrong is ever guessed around."""

import re
import stat
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from control import keyfiles
from control.config import Settings
from control.config_reading import SettingsError, keys, read
from control.config_sample import sample, table


def _mistakes(environment: dict[str, str] | None = None, file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        read(environment or {}, file)
    return str(refused.value)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "holdspace.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_any_source_everything_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read({})
    assert settings.server.public_url == "http://localhost:8080"
    assert settings.database_url.endswith("/var/holdspace.db")
    assert settings.media.udp_port == 46000


@pytest.mark.parametrize("section", [name for name in Settings.model_fields if name not in ("media", "demo")])
def test_every_setting_is_read_by_something(section: str) -> None:
    """One that is accepted and does nothing is a promise that is not kept; media hands its own on as a whole."""
    root = Path(__file__).parents[2]
    places = [
        path for package in ("control", "web") for kind in ("*.py", "*.html") for path in (root / package).rglob(kind)
    ]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in places)
    names = type(getattr(Settings(), section)).model_fields
    assert [name for name in names if not re.search(rf"\b(settings|booking|self|{section})\.{name}\b", sources)] == []


def test_the_environment_wins_over_the_file_and_a_named_file_over_both(tmp_path: Path) -> None:
    file = _file(tmp_path, '[server]\nport = 9000\n[mail]\nhost = "smtp.example.org"\npassword = "from the file"\n')
    secret = tmp_path / "secret"
    secret.write_text("from the named file\n", encoding="utf-8")
    settings = read(
        {
            "HOLDSPACE_SERVER__PORT": "9001",
            "HOLDSPACE_MAIL__PASSWORD": "from the environment",
            "HOLDSPACE_MAIL__PASSWORD_FILE": str(secret),
        },
        file,
    )
    assert settings.server.port == 9001
    assert settings.mail.host == "smtp.example.org"
    assert settings.mail.password is not None
    assert settings.mail.password.get_secret_value() == "from the named file"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = _file(tmp_path, "[server]\nport = 9000\n")
    assert read({"HOLDSPACE_CONFIG": str(file)}).server.port == 9000


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        (
            {"HOLDSPACE_SERVER__PORT": "abc"},
            ["server.port", "'abc'", "wanted a whole number", "HOLDSPACE_SERVER__PORT"],
        ),
        ({"HOLDSPACE_SERVER__PORT": "70000"}, ["server.port", "65535"]),
        ({"HOLDSPACE_SERVER__PROT": "1"}, ["server.prot", "no such setting", "did you mean server.port"]),
        ({"HOLDSPACE_NONSENSE": "1"}, ["nonsense", "no such setting"]),
        ({"HOLDSPACE_MEDIA__UDP_PORT": "99999"}, ["media.udp_port", "99999", "0 to 65535"]),
        ({"HOLDSPACE_SERVER__TRUSTED_PROXIES": "10.0.0.0/8,nowhere"}, ["trusted_proxies", "'nowhere'"]),
        ({"HOLDSPACE_SERVER__BASE_URL": "example.org"}, ["server.base_url", "https://"]),
        ({"HOLDSPACE_SERVER__BASE_URL": "https://example.org/path"}, ["server.base_url", "without a path"]),
        ({"HOLDSPACE_SERVER__TLS_CERT": "/x.pem"}, ["tls_cert and tls_key come together"]),
        ({"HOLDSPACE_DEMO": "true", "HOLDSPACE_SERVER__BASE_URL": "https://example.org"}, ["localhost"]),
        ({"HOLDSPACE_MAIL__SECURITY": "maybe"}, ["mail.security", "'maybe'", "starttls"]),
        ({"HOLDSPACE_MAIL__PASSWORD_FILE": "/nowhere/at/all"}, ["mail.password", "/nowhere/at/all"]),
        ({"HOLDSPACE_CONFIG": "/nowhere/at/all.toml"}, ["/nowhere/at/all.toml", "can't be read"]),
    ],
)
def test_a_mistake_is_refused_naming_key_value_and_what_was_wanted(
    environment: dict[str, str], wanted: list[str]
) -> None:
    said = _mistakes(environment)
    assert [part for part in wanted if part not in said] == [], said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[server]\nprot = 1\n", "did you mean server.port"),
        ("[servers]\nport = 1\n", "no such setting"),
        ("server = 5\n", "wanted a section [server]"),
        ("port = 80\n", "no such setting"),
        ("[server\n", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_refused(tmp_path: Path, text: str, wanted: str) -> None:
    assert wanted in _mistakes(file=_file(tmp_path, text))


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    said = _mistakes({"HOLDSPACE_A": "1", "HOLDSPACE_B": "2"}, _file(tmp_path, "[server]\nc = 3\n"))
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize(
    "key", ["MAIL__PASSWORD", "RECORDING__MASTER_KEY", "DATABASE__URL", "SECURITY__SESSION_SECRET"]
)
def test_a_secret_is_shown_neither_in_mistakes_nor_in_the_settings_text(key: str, tmp_path: Path) -> None:
    environment = {f"HOLDSPACE_{key}": "hush-hush", "HOLDSPACE_SERVER__PORT": "-1", "HOLDSPACE_PASSWORD": "hush-hush"}
    assert "hush" not in _mistakes(environment)
    if key != "DATABASE__URL":
        assert "hush" not in repr(read({f"HOLDSPACE_{key}": "hush-hush"}))


def test_settings_can_not_be_changed_after_reading() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read({}).server.port = 1  # type: ignore[misc]


def test_media_advertises_loopback_on_localhost_unless_told_otherwise() -> None:
    assert read({}).media.development is True
    assert read({"HOLDSPACE_SERVER__BASE_URL": "https://sessions.example.org"}).media.development is False
    assert read({"HOLDSPACE_MEDIA__DEVELOPMENT": "false"}).media.development is False


def test_the_sample_is_a_settings_file_that_changes_nothing(tmp_path: Path) -> None:
    text = sample()
    assert read({}, _file(tmp_path, text)) == read({})
    awake = "\n".join(
        line.removeprefix("# ") if " = " in line and line.startswith("# ") and line.split()[1].isidentifier() else line
        for line in text.splitlines()
    )
    assert tomllib.loads(awake)["server"]["port"] == 8080
    assert read({}, _file(tmp_path, awake)).server == read({}).server


def test_every_setting_stands_in_the_sample_and_in_the_table_with_a_sentence() -> None:
    text, rows = sample(), table()
    for key in keys():
        assert f"# {key.name} = " in text, key.path
        assert f"| `{key.path}` |" in rows, key.path
        assert key.sentence, key.path


def _settings(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"server": {"data_dir": folder}, **sections})


def test_keys_are_made_once_and_only_we_can_read_them(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "var")
    first = keyfiles.load(settings)
    assert keyfiles.load(settings) == first
    assert first.master_key != first.session_secret
    for name in ("master.key", "session.key"):
        path = tmp_path / "var" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "var").iterdir()) == ["master.key", "session.key"]
    assert first.master_key.hex() not in repr(first)


def test_a_damaged_key_file_stops_the_start_instead_of_being_replaced(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text("too short", encoding="ascii")
    with pytest.raises(SettingsError, match=r"master\.key"):
        keyfiles.load(_settings(tmp_path))
    assert (tmp_path / "master.key").read_text(encoding="ascii") == "too short"


def test_a_key_of_the_settings_is_used_and_never_written(tmp_path: Path) -> None:
    given = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    made = keyfiles.load(_settings(tmp_path, recording={"master_key": given}))
    assert made.master_key == b"0123456789abcdef0123456789abcdef"
    assert not (tmp_path / "master.key").exists()


@pytest.mark.parametrize(
    "section", [{"recording": {"master_key": "not base64!"}}, {"security": {"session_secret": "short"}}]
)
def test_a_key_of_the_wrong_length_is_refused_without_being_shown(tmp_path: Path, section: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as refused:
        keyfiles.load(_settings(tmp_path, **section))
    assert "32" in str(refused.value)
    assert "short" not in str(refused.value)
    assert "not base64!" not in str(refused.value)
