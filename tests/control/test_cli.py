"""The `holdspace` command: its help, its answers, its refusals, and a real server from start to SIGTERM."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from control import check, demo
from control.__main__ import build_parser, main
from control.config import Settings
from control.config_reading import read

COMMANDS = [
    ["serve"],
    ["demo"],
    ["db"],
    ["db", "upgrade"],
    ["user"],
    ["user", "create"],
    ["sessions"],
    ["sessions", "activate"],
    ["sessions", "end"],
    ["sessions", "remind"],
    ["sessions", "explain"],
    ["recordings"],
    ["recordings", "list"],
    ["recordings", "verify"],
    ["recordings", "purge"],
    ["recordings", "rotate-key"],
    ["check"],
]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("user", "create", …)` in a folder of its own: exit code and everything it said."""
    for name in [name for name in os.environ if name.startswith("HOLDSPACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("control.__main__.set_up_logging", lambda _settings: None)

    def run_one(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run_one


# -- help --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([*command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: holdspace {' '.join(command)}")
    assert len(said.splitlines()) > 4


def test_the_general_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name in ("serve", "demo", "db", "user", "sessions", "bench", "check"):
        assert f"\n    {name} " in said


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["serve", "--nonsense"], ["sessions"], ["user", "create"]])
def test_wrong_usage_is_refused_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_wrong_settings_stop_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDSPACE_SERVER__PORT", "nowhere")
    code, said = run("db", "upgrade")
    assert code == 1
    assert "server.port = 'nowhere'" in said


# -- people and sessions -----------------------------------------------------------------------------------------


def test_a_user_is_created_once_with_a_link_for_the_first_sign_in(run: Run) -> None:
    code, said = run("user", "create", "jo@example.org", "--name", "Jo", "--role", "admin", "--role", "support")
    assert code == 0
    assert "http://localhost:8080/sign-in/link/" in said
    code, said = run("user", "create", "JO@example.org", "--name", "Jo", "--role", "admin")
    assert (code, "email_taken" in said) == (1, True)


def test_a_password_comes_from_a_pipe_and_is_checked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    code, said = run("user", "create", "jo@example.org", "--name", "Jo", "--role", "admin", "--password")
    assert (code, "password_length" in said) == (1, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough password\n"))
    code, said = run("user", "create", "jo@example.org", "--name", "Jo", "--role", "admin", "--password")
    assert code == 0
    assert "sign-in/link" not in said


def test_commands_on_an_unknown_session_say_so(run: Run) -> None:
    for action in ("explain", "end", "activate"):
        code, said = run("sessions", action, "0" * 32)
        assert (code, "not_found" in said) == (1, True), action


def test_commands_without_a_session_do_what_is_due(run: Run) -> None:
    assert run("sessions", "activate") == (0, "Moved on by their time: 0\n")
    assert run("sessions", "end") == (0, "Moved on by their time: 0\n")
    assert run("sessions", "remind") == (0, "Notices dealt with: 0\n")


def test_force_needs_one_session(run: Run) -> None:
    assert run("sessions", "activate", "--force")[0] == 2


# -- the demo practice -------------------------------------------------------------------------------------------


def test_the_demo_is_loaded_any_number_of_times_and_reset(run: Run) -> None:
    for arguments in (["demo"], ["demo"], ["demo", "--reset"]):
        code, said = run(*arguments)
        assert code == 0
        for who in demo.EVERYBODY:
            assert who.email in said
            assert who.password in said


def test_a_practice_with_real_people_is_never_reset(run: Run) -> None:
    run("demo")
    run("user", "create", "jo@example.org", "--name", "Jo", "--role", "client")
    code, said = run("demo", "--reset")
    assert (code, "Not reset: 1 people" in said) == (1, True)


def test_the_demo_is_refused_on_a_public_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDSPACE_SERVER__BASE_URL", "https://sessions.example.org")
    code, said = run("demo")
    assert (code, "published passwords" in said) == (1, True)


# -- check -------------------------------------------------------------------------------------------------------


def _finding(settings: Settings, subject: str) -> check.Finding:
    return next(finding for finding in check.look(settings) if finding.subject == subject)


def _settings(tmp_path: Path, **environment: str) -> Settings:
    return read({"HOLDSPACE_SERVER__DATA_DIR": str(tmp_path), **environment})


def test_check_prints_a_sample_and_a_table(run: Run) -> None:
    assert "[server]" in run("check", "--sample")[1]
    assert "| `server.port` | `8080` |" in run("check", "--table")[1]


def test_check_notices_ports_in_use(tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("0.0.0.0", 0))  # noqa: S104
        settings = _settings(
            tmp_path,
            HOLDSPACE_SERVER__HOST="127.0.0.1",
            HOLDSPACE_SERVER__PORT=str(tcp.getsockname()[1]),
            HOLDSPACE_MEDIA__UDP_PORT=str(udp.getsockname()[1]),
            HOLDSPACE_MEDIA__THREADS="1",
        )
        assert _finding(settings, "web port").level is check.Level.PROBLEM
        assert _finding(settings, "media ports").level is check.Level.PROBLEM


def test_check_asks_for_a_copy_of_the_master_key_until_there_is_one(tmp_path: Path) -> None:
    assert _finding(_settings(tmp_path), "master key").level is check.Level.NOTE
    key = tmp_path / "master.key"
    key.write_text("x", encoding="ascii")
    key.chmod(0o600)
    assert "elsewhere" in _finding(_settings(tmp_path), "master key").words
    backed_up = _settings(tmp_path, HOLDSPACE_RECORDING__MASTER_KEY_BACKED_UP="true")
    assert _finding(backed_up, "master key").level is check.Level.FINE
    key.chmod(0o644)
    assert "chmod 600" in _finding(backed_up, "master key").words


def test_check_says_that_cameras_need_https_off_localhost(tmp_path: Path) -> None:
    assert _finding(_settings(tmp_path), "TLS").level is check.Level.NOTE
    plain = _settings(tmp_path, HOLDSPACE_SERVER__BASE_URL="http://10.0.0.5:8080")
    assert _finding(plain, "TLS").level is check.Level.PROBLEM
    wrong = _settings(tmp_path, HOLDSPACE_SERVER__TLS_CERT=__file__, HOLDSPACE_SERVER__TLS_KEY=__file__)
    assert "can't be used" in _finding(wrong, "TLS").words


def test_check_notices_a_second_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _finding(_settings(tmp_path), "OpenCV").level is check.Level.FINE
    two = [SimpleNamespace(name="opencv-python-headless"), SimpleNamespace(name="opencv-python")]
    monkeypatch.setattr(check.metadata, "distributions", lambda: two)
    assert _finding(_settings(tmp_path), "OpenCV").level is check.Level.PROBLEM


def test_check_names_the_sysctl_for_larger_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SmallSocket(socket.socket):
        def getsockopt(self, *_arguments: Any) -> Any:
            return 2 * 212_992

    monkeypatch.setattr("control.check.socket.socket", SmallSocket)
    finding = check._socket_buffers(_settings(tmp_path))
    assert (finding.level, "net.core.rmem_max=8388608" in finding.words) == (check.Level.PROBLEM, True)


def test_check_notices_a_mail_server_that_does_not_answer(tmp_path: Path, unused_tcp_port: int) -> None:
    assert _finding(_settings(tmp_path), "mail").level is check.Level.NOTE
    away = _settings(tmp_path, HOLDSPACE_MAIL__HOST="127.0.0.1", HOLDSPACE_MAIL__PORT=str(unused_tcp_port))
    assert _finding(away, "mail").level is check.Level.PROBLEM


def test_check_ends_with_code_1_when_there_is_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDSPACE_SERVER__BASE_URL", "http://10.0.0.5:8080")
    code, said = run("check")
    assert (code, "problem  TLS" in said) == (1, True)


# -- a real server -----------------------------------------------------------------------------------------------


@pytest.mark.servers
async def test_the_server_starts_twice_tells_how_to_go_on_and_ends_cleanly_on_sigterm(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    environment = _environment(tmp_path, unused_tcp_port, 0)
    for _ in range(2):
        said = await _one_life(environment, f"http://localhost:{unused_tcp_port}")
        assert "Traceback" not in said
        for who in demo.EVERYBODY:
            assert who.password in said
        assert f"http://localhost:{unused_tcp_port}/admin/outbox" in said


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_a_port_in_use_ends_the_start_with_one_line_that_names_it(
    tmp_path: Path, unused_tcp_port: int, kind: str
) -> None:
    with socket.socket(type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1" if kind == "tcp" else "0.0.0.0", 0))  # noqa: S104
        if kind == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "control", "serve"),
            env=_environment(tmp_path, port if kind == "tcp" else unused_tcp_port, port if kind == "udp" else 0),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
    assert process.returncode == 1, said.decode()
    assert b"Traceback" not in said
    assert str(port) in said.decode().splitlines()[-1]


def _environment(data_dir: Path, port: int, media_port: int) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HOLDSPACE_")} | {
        "HOLDSPACE_SERVER__PORT": str(port),
        "HOLDSPACE_SERVER__HOST": "127.0.0.1",
        "HOLDSPACE_SERVER__DATA_DIR": str(data_dir),
        "HOLDSPACE_MEDIA__UDP_PORT": str(media_port),
    }


async def _one_life(environment: dict[str, str], url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "control", "serve", "--demo"),
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            assert process.stdout is not None
            said = b""
            while b"Ctrl+C ends it" not in said:
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
            async with aiohttp.ClientSession() as client, client.get(f"{url}/readyz") as answer:
                assert json.loads(await answer.text())["ready"] is True
            process.send_signal(signal.SIGTERM)
            rest = await process.stdout.read()
            assert await process.wait() == 0
            return (said + rest).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
