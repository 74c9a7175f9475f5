"""The settings tree: every value an operator may set, with its default, bounds and one sentence on what it does.

Read once at start by control/config_reading.py and never changed after. The sample file and the README's table are
made from these definitions by control/config_sample.py: the sentence under a field is the documentation.
"""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from control.language import ENGLISH, LANGUAGES, N_
from control.notices.kinds import NEVER_OFF, NoticeKind
from media.config import MediaSettings

MONITORED = N_("Please note these messages are monitored for training purposes")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def _network(text: str) -> str:
    ipaddress.ip_network(text)
    return text


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise ValueError("wanted an address like https://sessions.example.org, without a path")
    return text.rstrip("/")


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(one in text for one in "; ,'\""):
        raise ValueError("wanted an address like https://js.example.org/v3/")
    return text


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class ServerSettings(Section):
    host: str = "localhost"
    """Address to listen on; `0.0.0.0` for every interface."""
    port: int = Field(8080, ge=1, le=65535)
    """TCP port of pages, API and signaling."""
    base_url: Annotated[str, AfterValidator(_origin)] | None = None
    """Address people type, for links and the Origin check; by default `http://localhost:<port>`."""
    tls_cert: Path | None = None
    """Certificate chain (PEM) to serve HTTPS without a proxy."""
    tls_key: Path | None = None
    """Private key (PEM) of `tls_cert`."""
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Networks whose X-Forwarded-For is believed, such as `127.0.0.1/32`."""
    data_dir: Path = Path("var")
    """Folder of the database, recordings and keys."""
    metrics_token: SecretStr | None = None
    """Bearer token for `/metrics` from other hosts; without one only this host may read it."""
    max_body_bytes: int = Field(1_048_576, ge=65_536, le=67_108_864)
    """Largest request body of the API."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of log lines."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "ServerSettings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key come together")
        return self

    @property
    def public_url(self) -> str:
        """Without a slash at its end."""
        if self.base_url is not None:
            return self.base_url
        return f"{'https' if self.tls_cert else 'http'}://localhost:{self.port}"

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https:")

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.public_url).hostname in LOOPBACK_NAMES


class DatabaseSettings(Section):
    url: str | None = None
    """`sqlite:///path` or `postgresql://user:password@host/name`; by default `holdspace.db` in the data folder."""
    upgrade_on_start: bool = True
    """Bring the schema up to date when the server starts; off: run `holdspace db upgrade`."""


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError(f"wanted languages there are texts in: {', '.join(LANGUAGES)}")
    return text


class PracticeSettings(Section):
    name: str = Field("Holdspace", min_length=1, max_length=80)
    """Name of the practice, on every page and e-mail."""
    address: str = Field("", max_length=200)
    """Postal address, in the footer."""
    time_zone: str = "UTC"
    """IANA zone for people who have not chosen one."""
    languages: tuple[Annotated[str, AfterValidator(_language)], ...] = Field((ENGLISH,), min_length=1)
    """Languages of pages and letters, the first for whoever asks for none of them: `en-GB`, `de`."""
    contact_email: str = Field("", max_length=254)
    """Where people can write to."""
    tax_number: str = Field("", max_length=40)
    """Tax number; with it, `address` and `vat_basis_points` set, receipts are invoices."""
    vat_basis_points: int | None = Field(None, ge=0, le=10_000)
    """Value-added tax contained in prices, in hundredths of a percent; 0 for exempt, nothing for receipts only."""


class ConsentSettings(Section):
    video: Path | None = None
    """The practice's own film about informed consent (MP4 or WebM), shown above the text."""
    captions: Path | None = None
    """Its captions, a WebVTT file."""
    captions_language: str = Field("en", pattern="^[a-z]{2}$")
    """In which language they are."""
    transcript: Path | None = None
    """All that is said in it, a text file; an empty line begins a paragraph."""

    @model_validator(mode="after")
    def _film_is_whole(self) -> "ConsentSettings":
        given = (self.video, self.captions, self.transcript)
        if any(given) and not all(given):
            raise ValueError("video, captions and transcript come together: not everybody hears or sees a film")
        for file, endings in zip(given, ((".mp4", ".webm"), (".vtt",), (".txt",)), strict=True):
            if file is not None and (file.suffix.lower() not in endings or not file.is_file()):
                raise ValueError(f"{file}: wanted a file with the ending {' or '.join(endings)}")
        return self


def _turn_url(text: str) -> str:
    if not re.fullmatch(r"turns?:[^\s?/@]+(\?transport=(udp|tcp))?", text):
        raise ValueError("wanted addresses like turn:relay.example.org:3478 or turns:relay.example.org?transport=tcp")
    return text


class TurnSettings(Section):
    urls: tuple[Annotated[str, AfterValidator(_turn_url)], ...] = ()
    """Relay for people whose network lets nothing else through, such as `turn:relay.example.org:3478`."""
    secret: SecretStr | None = None
    """What the relay has as `static-auth-secret` (coturn with `use-auth-secret`)."""
    lifetime_minutes: int = Field(720, ge=10, le=10_080)
    """How long one person's credentials are good; longer than any session."""

    @model_validator(mode="after")
    def _relay_is_whole(self) -> "TurnSettings":
        if bool(self.urls) != (self.secret is not None):
            raise ValueError("urls and secret come together")
        return self

    @property
    def lifetime(self) -> timedelta:
        return timedelta(minutes=self.lifetime_minutes)


class FileSettings(Section):
    most_mb: int = Field(25, ge=1, le=200)
    """Largest file that can be shared in a session, in megabytes."""


class MailSettings(Section):
    host: str | None = None
    """SMTP server; without one, e-mails are kept on the outbox page."""
    port: int = Field(587, ge=1, le=65535)
    """Port of the SMTP server."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; `none` only for a server on this machine."""
    username: str | None = None
    """Name to sign in to the SMTP server."""
    password: SecretStr | None = None
    """Password to sign in to the SMTP server."""
    sender: str = Field("holdspace@localhost", max_length=254)
    """From address of every e-mail."""
    timeout_s: float = Field(20, gt=0, le=120)
    """How long one delivery may take before it is tried again later."""


class SmsSettings(Section):
    gateway: Literal["none", "twilio", "http"] = "none"
    """Who sends SMS: `twilio`, any `http` gateway by template, or `none`, which keeps them on the outbox page."""
    sender: str = Field("", max_length=20)
    """Number or name that SMS come from."""
    twilio_account_sid: str | None = None
    """Account SID of the practice's Twilio account."""
    twilio_auth_token: SecretStr | None = None
    """Auth token of that account."""
    twilio_api_base: Annotated[str, AfterValidator(_origin)] | None = None
    """Another address of Twilio's API, for tests."""
    http_url: str | None = None
    """Address that a generic gateway is called at by POST; `{to}`, `{text}` and `{sender}` are filled in."""
    http_body: str = '{"to": "{to}", "from": "{sender}", "text": "{text}"}'
    """Body of that request, with the same places to fill in."""
    http_content_type: Literal["application/json", "application/x-www-form-urlencoded"] = "application/json"
    """How that body is written, and so how what is filled in is escaped."""
    http_authorization: SecretStr | None = None
    """Authorization header of that request, such as `Bearer …`."""
    timeout_s: float = Field(20, gt=0, le=100)
    """How long one delivery may take before it is tried again later."""

    @model_validator(mode="after")
    def _gateway_is_whole(self) -> "SmsSettings":
        if self.gateway == "twilio" and not (self.twilio_account_sid and self.twilio_auth_token and self.sender):
            raise ValueError("gateway twilio needs twilio_account_sid, twilio_auth_token and sender")
        if self.gateway == "http":
            parts = urlsplit(self.http_url or "")
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("gateway http needs http_url, an address like https://sms.example.org/send")
        return self


def _switched_off(kind: str) -> NoticeKind:
    known = {str(one): one for one in NoticeKind}
    if kind not in known:
        raise ValueError(f"wanted kinds of notices: {', '.join(known)}")
    if known[kind] in NEVER_OFF:
        raise ValueError(f"without {kind} nobody could sign up or prove a number, so it stays on")
    return known[kind]


class PushSettings(Section):
    enabled: bool = False
    """People may let their devices show "your client is waiting" and "starting soon", by web push; never with names."""
    private_key: SecretStr | None = None
    """VAPID key, 32 bytes in base64; by default made in the data folder. Another one ends every subscription."""
    contact: str = Field("", max_length=254)
    """E-mail address push services may write to; by default `practice.contact_email`, else `mail.sender`."""
    timeout_s: float = Field(10, gt=0, le=100)
    """How long one delivery may take before it is tried again later."""
    allow_private_addresses: bool = False
    """Let push services lie on this machine and its private network, for tests."""


class NoticeSettings(Section):
    off: tuple[Annotated[str, AfterValidator(_switched_off)], ...] = ()
    """Kinds of notices nobody gets, such as `client_waiting`; all others are on."""
    reminders_minutes: tuple[Annotated[int, Field(ge=1, le=43_200)], ...] = (1440, 15)
    """How long before its start people are reminded of a session; a time that had passed at booking is skipped."""
    testimonial_days: tuple[Annotated[int, Field(ge=1, le=60)], ...] = (3, 10)
    """How long after a first session its client is asked for a testimonial, until answered or declined."""

    @model_validator(mode="after")
    def _days_grow(self) -> "NoticeSettings":
        if list(self.testimonial_days) != sorted(set(self.testimonial_days)):
            raise ValueError("testimonial_days: wanted growing numbers, such as [3, 10]")
        return self

    @property
    def testimonials(self) -> tuple[timedelta, ...]:
        return tuple(timedelta(days=days) for days in self.testimonial_days)

    @property
    def reminders(self) -> tuple[timedelta, ...]:
        return tuple(timedelta(minutes=minutes) for minutes in self.reminders_minutes)


def _mail_address(text: str) -> str:
    if not re.fullmatch(r"[^@+\s]{1,20}@[^@\s]{3,180}", text):
        raise ValueError("wanted an address like reply@example.org, with at most 20 characters before the @")
    return text.lower()


class MessageSettings(Section):
    monitored: bool = True
    """Staff may read messages for training; every read is logged and shown to the people. They are told before."""
    notice: str = Field(MONITORED, min_length=10, max_length=400)
    """What people read above a message while messages are monitored; a changed text is shown to everybody anew."""
    reminder_hours: tuple[Annotated[int, Field(ge=1, le=720)], ...] = (24, 72)
    """How long after a client's unanswered message its practitioner is reminded of it."""

    reply_address: Annotated[str, AfterValidator(_mail_address)] | None = None
    """Address whose `reply+…@` variants come back by the webhook or mailbox below: replies to e-mailed answers."""
    mail_webhook_secret: SecretStr | None = None
    """Secret shared with what posts received e-mails to `/api/webhooks/mail`, signed (README)."""
    imap_host: str | None = None
    """Mailbox that replies are fetched from, by IMAP with TLS, where no webhook brings them."""
    imap_port: int = Field(993, ge=1, le=65535)
    """Its port."""
    imap_username: str = Field("", max_length=254)
    """Name to sign in to the mailbox."""
    imap_password: SecretStr | None = None
    """Password of the mailbox."""
    imap_seconds: int = Field(60, ge=10, le=3_600)
    """How often the mailbox is looked into."""

    @model_validator(mode="after")
    def _reminders_grow(self) -> "MessageSettings":
        if list(self.reminder_hours) != sorted(set(self.reminder_hours)):
            raise ValueError("reminder_hours: wanted growing numbers, such as [24, 72]")
        return self


class ZendeskSettings(Section):
    url: Annotated[str, AfterValidator(_origin)] | None = None
    """Address of the practice's Zendesk, such as `https://example.zendesk.com`: the help desk is then there too."""
    email: str = Field("", max_length=254)
    """Agent whose API token it is; answers from here stand under this agent."""
    token: SecretStr | None = None
    """API token of that agent."""
    webhook_secret: SecretStr | None = None
    """Signing secret of the webhook that tells `/api/webhooks/zendesk` of changed tickets."""

    @model_validator(mode="after")
    def _is_whole(self) -> "ZendeskSettings":
        if (self.url is None) != (self.token is None):
            raise ValueError("url and token come together")
        return self


class RecordingSettings(Section):
    dir: Path | None = None
    """Folder of recordings; by default `recordings` in the data folder."""
    master_key: SecretStr | None = None
    """32 bytes in base64 that unlock every recording; by default made in the data folder on the first start."""
    master_key_backed_up: bool = False
    """Say true once a copy of the master key is kept elsewhere: without the key no recording can be played."""
    retention_days: int = Field(90, ge=1, le=3650)
    """How long recordings are kept."""
    notice_days: int = Field(7, ge=0, le=365)
    """How long before a recording is deleted its practitioner is told; less than `retention_days`."""

    @model_validator(mode="after")
    def _told_while_it_is_kept(self) -> "RecordingSettings":
        if self.notice_days >= self.retention_days:
            raise ValueError(f"notice_days = {self.notice_days}: wanted less than retention_days")
        return self


class BookingSettings(Section):
    hold_minutes: int = Field(10, ge=1, le=120)
    """How long an unpaid booking keeps its slot."""
    opens_before_minutes: int = Field(5, ge=0, le=120)
    """How long before the start a session can be joined."""
    no_show_after_minutes: int = Field(15, ge=1, le=240)
    """How long after the start an absence counts as not coming."""
    grace_minutes: int = Field(10, ge=0, le=120)
    """How long after the booked end a session is ended by itself."""
    present_after_seconds: int = Field(30, ge=0, le=600)
    """Least connected time that counts as having been present."""
    left_minutes: int = Field(10, ge=0, le=120)
    """How long everybody must have left after the booked end for a session to end by itself."""
    require_admin_activation: bool = False
    """Keep each paid session from its practitioner until an admin activates it; not activated, it is cancelled."""
    most_people: int = Field(25, ge=2, le=25)
    """How many people may be in one session, guests included."""
    platform_fee_basis_points: int = Field(1000, ge=0, le=10_000)
    """The practice's part of each payment, in hundredths of a percent."""

    @property
    def hold(self) -> timedelta:
        return timedelta(minutes=self.hold_minutes)

    @property
    def opens_before(self) -> timedelta:
        return timedelta(minutes=self.opens_before_minutes)

    @property
    def no_show_after(self) -> timedelta:
        return timedelta(minutes=self.no_show_after_minutes)

    @property
    def grace(self) -> timedelta:
        return timedelta(minutes=self.grace_minutes)


class PaymentSettings(Section):
    stripe_secret_key: SecretStr | None = None
    """Secret key of the practice's Stripe account; without one nobody pays by Stripe."""
    stripe_publishable_key: str = Field("", max_length=255)
    """Publishable key of the same account, for the pay page."""
    stripe_webhook_secret: SecretStr | None = None
    """Signing secret of the webhook endpoint `/api/webhooks/stripe`."""
    stripe_api_base: Annotated[str, AfterValidator(_origin)] | None = None
    """Another address of Stripe's API, for tests."""
    stripe_script: Annotated[str, AfterValidator(_web_address)] = "https://js.stripe.com/v3/"
    """Stripe's script with the card field, loaded by pay pages when somebody chooses to pay by card."""
    razorpay_key_id: str = Field("", max_length=64)
    """Key id of the practice's Razorpay account; without Stripe's and Razorpay's keys there is a test gateway only."""
    razorpay_key_secret: SecretStr | None = None
    """Key secret of the same account."""
    razorpay_webhook_secret: SecretStr | None = None
    """Signing secret of the webhook endpoint `/api/webhooks/razorpay`."""
    razorpay_api_base: Annotated[str, AfterValidator(_origin)] | None = None
    """Another address of Razorpay's API, for tests."""
    refund_request_days: int = Field(7, ge=0, le=365)
    """How many days after a session, or a purchase, a client can ask for the money back."""

    @model_validator(mode="after")
    def _stripe_is_whole(self) -> "PaymentSettings":
        given = (self.stripe_secret_key, self.stripe_publishable_key, self.stripe_webhook_secret)
        if any(given) and not all(given):
            raise ValueError("stripe_secret_key, stripe_publishable_key and stripe_webhook_secret come together")
        return self

    @model_validator(mode="after")
    def _razorpay_is_whole(self) -> "PaymentSettings":
        given = (self.razorpay_key_id, self.razorpay_key_secret, self.razorpay_webhook_secret)
        if any(given) and not all(given):
            raise ValueError("razorpay_key_id, razorpay_key_secret and razorpay_webhook_secret come together")
        return self

    @property
    def takes_stripe(self) -> bool:
        return self.stripe_secret_key is not None

    @property
    def takes_razorpay(self) -> bool:
        return self.razorpay_key_secret is not None

    @property
    def refund_request_span(self) -> timedelta:
        return timedelta(days=self.refund_request_days)

    @property
    def is_test_only(self) -> bool:
        """No gateway of the real world: payments go to the test gateway."""
        return not (self.takes_stripe or self.takes_razorpay)


class CalendarSettings(Section):
    import_minutes: int = Field(30, ge=5, le=1440)
    """How often practitioners' imported calendars are read again."""
    allow_private_addresses: bool = False
    """Let imported calendars be read from this machine and its private network: only if you trust all practitioners."""

    @property
    def import_every(self) -> timedelta:
        return timedelta(minutes=self.import_minutes)


class SecuritySettings(Section):
    session_secret: SecretStr | None = None
    """At least 32 characters that sign join tokens and CSRF tokens; by default made in the data folder."""
    second_factor: bool = True
    """Practitioners, support and admins sign in with a second step: an authenticator app or a passkey."""
    sign_in_tries_per_account: int = Field(10, ge=1)
    """Sign-in tries for one e-mail address from one network, and links sent to it, in 15 minutes."""
    sign_in_tries_per_address: int = Field(100, ge=1)
    """Sign-in tries, links and sign-ups from one network address in 15 minutes."""
    writes_per_person: int = Field(240, ge=10)
    """Changes one signed-in person may make in a minute."""
    answer_floor_ms: int = Field(250, ge=0, le=5000)
    """Least time of a sign-in answer, so that its length tells nothing."""


class Settings(Section):
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    practice: PracticeSettings = PracticeSettings()
    media: MediaSettings = MediaSettings()
    consent: ConsentSettings = ConsentSettings()
    turn: TurnSettings = TurnSettings()
    files: FileSettings = FileSettings()
    mail: MailSettings = MailSettings()
    sms: SmsSettings = SmsSettings()
    push: PushSettings = PushSettings()
    notices: NoticeSettings = NoticeSettings()
    messages: MessageSettings = MessageSettings()
    zendesk: ZendeskSettings = ZendeskSettings()
    recording: RecordingSettings = RecordingSettings()
    booking: BookingSettings = BookingSettings()
    payments: PaymentSettings = PaymentSettings()
    calendars: CalendarSettings = CalendarSettings()
    security: SecuritySettings = SecuritySettings()
    demo: bool = False
    """Load the demo practice at the start and show its sign-ins. Never on a server with real people."""

    @model_validator(mode="after")
    def _demo_stays_at_home(self) -> "Settings":
        if self.demo and not self.server.is_loopback:
            raise ValueError("the demo practice has published passwords, so demo needs a base_url on localhost")
        return self

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{(self.server.data_dir / 'holdspace.db').absolute()}"

    @property
    def recordings_dir(self) -> Path:
        return self.recording.dir or self.server.data_dir / "recordings"
