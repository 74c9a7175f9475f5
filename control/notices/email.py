"""One e-mail: how it is put together and handed to the SMTP server. Knows no outbox and no database."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr

import aiosmtplib

from control.config import MailSettings


class NotDelivered(Exception):
    """The server did not take it. `permanent`: trying again would be refused again."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Letter:
    message_id: str
    """The same for every try of one outbox row: a mailbox can drop a second copy."""
    to_address: str
    to_name: str
    from_name: str
    subject: str
    text: str
    html: str
    written_at: datetime
    calendar: str | None = None
    calendar_method: str = "REQUEST"
    pdf: tuple[str, bytes] | None = None
    """A file's name and content."""


def put_together(letter: Letter, sender: str) -> EmailMessage:
    """text/plain and text/html as alternatives; an invite is a third one (iMIP, RFC 6047), and attached as a file."""
    message = EmailMessage()
    message["From"] = formataddr((letter.from_name, sender))
    message["To"] = formataddr((letter.to_name, letter.to_address))
    message["Subject"] = " ".join(letter.subject.split())  # a line break here would start a new header
    message["Date"] = format_datetime(letter.written_at)
    message["Message-ID"] = f"<{letter.message_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    if letter.calendar is not None:
        raw = letter.calendar.encode("utf-8")
        params = {"method": letter.calendar_method, "charset": "utf-8"}
        message.add_alternative(raw, maintype="text", subtype="calendar", params=params, cte="base64")
        message.add_attachment(raw, maintype="application", subtype="ics", filename="session.ics")
    if letter.pdf is not None:
        name, content = letter.pdf
        message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return message


async def deliver(message: EmailMessage, settings: MailSettings) -> None:
    """Raises NotDelivered, and nothing else that the network or the server causes."""
    password = settings.password.get_secret_value() if settings.password else None
    try:
        await aiosmtplib.send(
            message,
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=password,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            timeout=settings.timeout_s,
            tls_context=None if settings.security == "none" else ssl.create_default_context(),
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        codes = [recipient.code for recipient in error.recipients]
        raise NotDelivered(f"recipient refused ({codes})", permanent=all(code >= 500 for code in codes)) from error
    except aiosmtplib.SMTPAuthenticationError as error:
        raise NotDelivered(f"sign-in to the mail server refused ({error.code})", permanent=False) from error
    except aiosmtplib.SMTPResponseException as error:
        raise NotDelivered(f"mail server answered {error.code}", permanent=500 <= error.code < 600) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise NotDelivered(f"mail server not reached ({type(error).__name__})", permanent=False) from error
