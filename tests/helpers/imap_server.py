"""A Dovecot of Debian's package: one mailbox behind TLS on loopback, own folder, gone afterwards.

Everything here blocks: call it from a thread when a loop is running.
"""

import imaplib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.practice import free_ports

HOST, USERNAME, PASSWORD = "127.0.0.1", "desk", "a-mailbox-password"

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = {host}
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail
default_internal_user = {internal}
default_login_user = {login}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail
}}
first_valid_uid = 1
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""


class ImapServer:
    def __init__(self) -> None:
        self.port = free_ports(1)
        self._folder = Path(tempfile.mkdtemp(prefix="holdspace-imap-"))
        _write_certificate(self._folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tls(self) -> ssl.SSLContext:
        """Trusts this server and nothing else."""
        return ssl.create_default_context(cafile=str(self._folder / "cert.pem"))

    def start(self) -> None:
        mail = self._folder / "mail"
        mail.mkdir(exist_ok=True)
        root = os.geteuid() == 0
        owner = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())  # Dovecot gives nobody's mail to root
        self._folder.chmod(0o755)
        os.chown(mail, owner.pw_uid, owner.pw_gid)
        values = {
            "folder": self._folder,
            "host": HOST,
            "port": self.port,
            "password": PASSWORD,
            "uid": owner.pw_uid,
            "gid": owner.pw_gid,
            "internal": "dovecot" if root else owner.pw_name,
            "login": "dovenull" if root else owner.pw_name,
        }
        (self._folder / "dovecot.conf").write_text(CONFIG.format(**values))
        command = ["/usr/sbin/dovecot", "-F", "-c", str(self._folder / "dovecot.conf")]
        with (self._folder / "out").open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)  # noqa: S603  our own arguments
        self._wait()

    def _wait(self) -> None:
        """Until it answers, or has given up."""
        assert self._process is not None
        for _ in range(300):
            try:
                with socket.create_connection((HOST, self.port), timeout=5):
                    return
            except OSError:
                try:
                    self._process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
                break
        told = [(self._folder / name).read_text() for name in ("out", "log") if (self._folder / name).exists()]
        raise RuntimeError(f"dovecot does not answer: {told}")

    def stop(self) -> None:
        """Repeating it does nothing."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def mailbox(self) -> Iterator[imaplib.IMAP4_SSL]:
        client = imaplib.IMAP4_SSL(HOST, self.port, ssl_context=self.tls, timeout=20)
        client.login(USERNAME, PASSWORD)
        client.select("INBOX")
        yield client
        client.logout()

    def deliver(self, raw: bytes) -> None:
        with self.mailbox() as client:
            client.append("INBOX", "", "", raw)

    def unread(self) -> int:
        with self.mailbox() as client:
            return len(client.uid("SEARCH", "UNSEEN")[1][0].split())

    def forget_reading(self) -> None:
        """As if the server had crashed before it marked anything."""
        with self.mailbox() as client:
            client.uid("STORE", "1:*", "-FLAGS", r"(\Seen)")


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
