"""`holdspace check`: would this machine and these settings carry sessions? Looks, changes nothing, says what to do."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import aiosmtplib

from control.config import Settings
from control.config_sample import sample as sample_file
from control.config_sample import table as settings_table

LEAST_SOCKET_BUFFER = 4 * 1024 * 1024  # below it, bursts of a busy server are dropped by the kernel
CONNECT_TIMEOUT_S = 5.0


class Level(StrEnum):
    FINE = "ok"
    NOTE = "note"  # works, but somebody should know
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    level: Level
    subject: str
    words: str


def run(settings: Settings, *, sample: bool = False, table: bool = False) -> int:
    if sample:
        print(sample_file(), end="")
        return 0
    if table:
        print(settings_table(), end="")
        return 0
    findings = tuple(look(settings))
    for finding in findings:
        print(f"{finding.level:<8} {finding.subject:<14} {finding.words}")
    return 1 if any(finding.level is Level.PROBLEM for finding in findings) else 0


def look(settings: Settings) -> Iterable[Finding]:
    for examine in _EXAMINATIONS:
        yield examine(settings)


def _data_dir(settings: Settings) -> Finding:
    folder = settings.server.data_dir
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Finding(Level.PROBLEM, "data folder", f"{folder} can't be written to")
    return Finding(Level.FINE, "data folder", str(folder.absolute()))


def _tcp_port(settings: Settings) -> Finding:
    server = settings.server
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        return Finding(
            Level.PROBLEM, "web port", f"{server.host}:{server.port} can't be used ({error.strerror}): set server.port"
        )
    return Finding(Level.FINE, "web port", f"{server.host}:{server.port} is free")


def _media_ports(settings: Settings) -> Finding:
    media = settings.media
    last = media.udp_port + media.thread_count - 1
    wanted = [(socket.SOCK_DGRAM, port) for port in range(media.udp_port, last + 1)]
    words = f"UDP {media.udp_port} to {last}"
    if media.tcp:
        wanted.append((socket.SOCK_STREAM, media.tcp_port or media.udp_port))
        words += f" and TCP {media.tcp_port or media.udp_port}"
    for kind, port in wanted:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104  looking whether it is free everywhere
            except OSError as error:
                name, key = ("TCP", "tcp_port") if kind == socket.SOCK_STREAM else ("UDP", "udp_port")
                return Finding(
                    Level.PROBLEM, "media ports", f"{name} {port} can't be used ({error.strerror}): set media.{key}"
                )
    return Finding(Level.FINE, "media ports", f"{words} are free; open them in the firewall")


def _socket_buffers(settings: Settings) -> Finding:
    wanted = settings.media.socket_buffer_bytes
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        got = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel reports twice what it grants
    if got < min(wanted, LEAST_SOCKET_BUFFER):
        return Finding(
            Level.PROBLEM,
            "UDP buffers",
            f"the kernel grants {got} bytes: sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}",
        )
    return Finding(Level.FINE, "UDP buffers", f"{got} bytes")


def _tls(settings: Settings) -> Finding:
    server = settings.server
    if server.tls_cert is not None and server.tls_key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(server.tls_cert, server.tls_key)
        except (OSError, ssl.SSLError) as error:
            return Finding(Level.PROBLEM, "TLS", f"tls_cert and tls_key can't be used ({error})")
        return Finding(Level.FINE, "TLS", "certificate and key fit together")
    if server.is_https:
        if not server.trusted_proxies:
            return Finding(Level.NOTE, "TLS", "a proxy must do it; name its address in server.trusted_proxies")
        return Finding(Level.FINE, "TLS", "by the proxy in front")
    if server.is_loopback:
        return Finding(Level.NOTE, "TLS", "not needed on localhost; anywhere else cameras need HTTPS")
    return Finding(
        Level.PROBLEM, "TLS", "browsers give cameras to HTTPS pages only: set tls_cert and tls_key, or a proxy"
    )


def _master_key(settings: Settings) -> Finding:
    where = settings.server.data_dir / "master.key"
    given = settings.recording.master_key is not None
    if not given and where.exists() and where.stat().st_mode & 0o077:
        return Finding(Level.PROBLEM, "master key", f"others on this machine can read it: chmod 600 {where}")
    if not settings.recording.master_key_backed_up:
        return Finding(
            Level.PROBLEM if (given or where.exists()) else Level.NOTE,
            "master key",
            f"keep a copy of {'it' if given else where} elsewhere, then set recording.master_key_backed_up = true; "
            "without the key no recording can be played",
        )
    return Finding(Level.FINE, "master key", "backed up, as the settings say")


def _mail(settings: Settings) -> Finding:
    mail = settings.mail
    if mail.host is None:
        return Finding(Level.NOTE, "mail", "no server set: e-mails are kept on the outbox page")
    try:
        asyncio.run(_greet(settings))
    except (aiosmtplib.SMTPException, OSError) as error:
        return Finding(Level.PROBLEM, "mail", f"{mail.host}:{mail.port} did not answer well ({type(error).__name__})")
    return Finding(Level.FINE, "mail", f"{mail.host}:{mail.port} answers")


async def _greet(settings: Settings) -> None:
    mail = settings.mail
    client = aiosmtplib.SMTP(
        hostname=mail.host,
        port=mail.port,
        use_tls=mail.security == "tls",
        start_tls=mail.security == "starttls",
        timeout=CONNECT_TIMEOUT_S,
    )
    async with client:
        if mail.username is not None:
            await client.login(mail.username, mail.password.get_secret_value() if mail.password else "")


def _database(settings: Settings) -> Finding:
    from control.commands import with_database

    async def nothing(_db: object) -> None:
        return None

    where = "SQLite" if settings.database_url.startswith("sqlite") else "PostgreSQL"
    if where == "SQLite" and not Path(settings.database_url.removeprefix("sqlite:///")).exists():
        return Finding(Level.FINE, "database", "SQLite, made at the first start")
    try:
        with_database(settings, nothing)
    except Exception as error:
        return Finding(Level.PROBLEM, "database", f"{where} can't be used ({type(error).__name__})")
    return Finding(Level.FINE, "database", f"{where} answers")


def _opencv(settings: Settings) -> Finding:
    found = sorted({one.name for one in metadata.distributions() if one.name.lower().startswith("opencv")})
    if len(found) > 1:
        words = (
            f"{' and '.join(found)} overwrite each other: pip uninstall all, then pip install opencv-python-headless"
        )
        return Finding(Level.PROBLEM, "OpenCV", words)
    return Finding(Level.FINE, "OpenCV", f"{', '.join(found) or 'none'}; blur by {settings.media.blur_path}")


_EXAMINATIONS: tuple[Callable[[Settings], Finding], ...] = (
    _data_dir,
    _database,
    _tcp_port,
    _media_ports,
    _socket_buffers,
    _tls,
    _master_key,
    _mail,
    _opencv,
)
