"""The composed application: who is let in, how refusals read, what every answer carries, what machines ask."""

import asyncio
import io
import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from control.config import Settings
from control.keys import DATABASE, OUTBOX
from control.limits import Limits, Rule, client_address, network_of
from control.measures import as_text, counter, gauge, media_measures
from control.models.people import Role
from control.security import content_security_policy, own_origins, session_cookie_name
from tests.helpers.clock import START, ManualClock
from tests.helpers.control import ORIGIN, AddSomeone, NewBrowser

WRITES = [("POST", "/api/sign-in"), ("POST", "/api/sign-up"), ("POST", "/api/sign-out"), ("DELETE", "/api/nothing")]


# -- our own pages only ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_change_from_another_origin_is_refused_before_anything_else(
    new_browser: NewBrowser, method: str, path: str
) -> None:
    browser = await new_browser()
    for origin in (
        "https://evil.example",
        "http://localhost:8081",
        "http://localhost",
        "null",
        "http://localhost:8080/",
    ):
        answer = await browser.send(method, path, {}, Origin=origin)
        assert (answer.status, answer.code) == (403, "origin_wrong"), origin
    answer = await browser.send(method, path, {}, Origin="")
    assert (answer.status, answer.code) == (403, "origin_missing")


@pytest.mark.parametrize("token", ["", "0" * 64, "ü", "x" * 1_000])
async def test_a_change_without_this_browsers_token_is_refused(new_browser: NewBrowser, token: str) -> None:
    browser = await new_browser()
    answer = await browser.post(
        "/api/sign-in/link", {"email": "a@example.com"}, X_CSRF_Token=token.encode().decode("latin-1")
    )
    assert (answer.status, answer.code) == (403, "csrf_token_wrong")


async def test_a_token_of_another_browser_or_of_before_signing_in_does_not_fit(
    new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    mina, theo = await add_someone("Mina", Role.CLIENT), await add_someone("Theo", Role.CLIENT)
    stranger, of_mina, of_theo = await new_browser(), await new_browser(mina), await new_browser(theo)
    before = (await stranger.get("/api/me")).body["csrf_token"]
    for token in (before, of_theo.csrf):
        answer = await of_mina.post("/api/sign-out", X_CSRF_Token=token)
        assert answer.code == "csrf_token_wrong"
    assert (await of_mina.post("/api/sign-out")).status == 200


async def test_page_of_somebody_signed_out_meanwhile_says_so(new_browser: NewBrowser, add_someone: AddSomeone) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser(mina)
    page = (await browser.get("/api/me")).body["csrf_token"]
    assert (await browser.post("/api/sign-out", X_CSRF_Token=page)).status == 200
    answer = await browser.send("PATCH", "/api/me", {"name": "Mina H"}, X_CSRF_Token=page)
    assert (answer.status, answer.code) == (401, "not_signed_in")
    assert answer.body["detail"].startswith("You were signed out meanwhile.")
    back = await new_browser(mina)
    answer = await back.send("PATCH", "/api/me", {"name": "Mina H"}, X_CSRF_Token=page)
    assert (answer.status, answer.code) == (403, "csrf_token_wrong"), "another sign-in is not this page's"


async def test_localhost_may_be_called_by_all_its_names_and_nothing_else() -> None:
    local = Settings.model_validate({}).server
    assert own_origins(local) == {"http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"}
    public = Settings.model_validate({"server": {"base_url": "https://sessions.example.org"}}).server
    assert own_origins(public) == {"https://sessions.example.org"}
    assert session_cookie_name(public) == "__Host-holdspace"


# -- how refusals read -------------------------------------------------------------------------------------------


async def test_a_refusal_of_the_api_is_a_problem_document(new_browser: NewBrowser) -> None:
    answer = await (await new_browser()).get("/api/outbox")
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["status"] == answer.status == 401
    assert answer.body["type"] == "urn:holdspace:problem:not_signed_in"
    assert {"title", "detail", "code", "request_id"} <= answer.body.keys()


async def test_an_unknown_page_is_a_page_and_an_unknown_api_path_a_problem(new_browser: NewBrowser) -> None:
    browser = await new_browser()
    page = await browser.get("/no/such/page", headers={"Accept": "text/html"})
    assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "<h1" in page.text
    assert (await browser.get("/api/no/such/path", headers={"Accept": "text/html"})).code == "not_found"


async def test_somebody_who_is_not_signed_in_is_sent_to_the_sign_in_page_and_back(new_browser: NewBrowser) -> None:
    browser = await new_browser()
    answer = await browser.get("/dashboard?tab=past", headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=%2Fdashboard%3Ftab%3Dpast")


async def test_a_wrong_method_is_refused(new_browser: NewBrowser) -> None:
    answer = await (await new_browser()).send("PUT", "/api/me", {})
    assert (answer.status, answer.code) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "json_malformed"),
        (b"\xff\xfe", "application/json", 400, "json_malformed"),
        (b"[" * 100_000, "application/json", 400, "json_malformed"),
        (b"[]", "application/json", 422, "body_invalid"),
        (b"email=a", "application/x-www-form-urlencoded", 415, "content_type_wrong"),
        (b'{"email": "a@example.com", "more": 1}', "application/json", 422, "body_invalid"),
        (b'{"email": 5}', "application/json", 422, "body_invalid"),
        (b'{"email": "not an address"}', "application/json", 422, "email_invalid"),
        (b'{"email": "' + b"a" * 300 + b'@example.com"}', "application/json", 422, "body_invalid"),
        (b" " * 1_100_000, "application/json", 413, "request_entity_too_large"),
    ],
)
async def test_a_malformed_body_gets_a_clear_answer(
    new_browser: NewBrowser, body: bytes, content_type: str, status: int, code: str
) -> None:
    browser = await new_browser()
    await browser.send("POST", "/api/sign-out", {})
    headers = {"Origin": ORIGIN, "X-CSRF-Token": browser.csrf, "Content-Type": content_type}
    async with browser.client.post("/api/sign-in/link", data=io.BytesIO(body), headers=headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (status, code)


async def test_invalid_fields_are_named_by_pointer_without_their_values(new_browser: NewBrowser) -> None:
    answer = await (await new_browser()).post("/api/sign-in", {"email": ["hush"], "x/y": 1})
    pointers = {error["pointer"] for error in answer.body["errors"]}
    assert pointers == {"/email", "/password", "/x~1y"}
    assert "hush" not in answer.text


async def test_our_own_mistake_is_logged_with_the_request_and_shown_without_its_reason(
    app: web.Application, new_browser: NewBrowser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(*_arguments: Any, **_options: Any) -> None:
        raise ZeroDivisionError("a secret reason")

    monkeypatch.setattr("control.accounts.send_sign_in_link", breaks)
    answer = await (await new_browser()).post("/api/sign-in/link", {"email": "a@example.com"})
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "secret" not in answer.text
    assert answer.body["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_one_time_token_never_reaches_the_log(
    new_browser: NewBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    browser = await new_browser()
    await browser.post("/api/sign-in/link/a-secret-token-of-a-link")
    await browser.post("/api/sign-in", {"email": "somebody@example.com", "password": "a secret password"})
    assert "link_used_or_expired" in caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("control"))
    for secret in ("a-secret-token-of-a-link", "somebody@example.com", "a secret password"):
        assert secret not in ours


# -- what every answer carries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/me", "/no/such/page", "/healthz", "/static/css/tokens.css", "/sign-in"])
async def test_every_answer_has_the_security_headers(new_browser: NewBrowser, path: str) -> None:
    headers = (await (await new_browser()).get(path, headers={"Accept": "text/html"})).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Permissions-Policy"].startswith("camera=(self), microphone=(self)")
    assert headers["Referrer-Policy"] == "same-origin"
    assert "aiohttp" not in headers["Server"]


def test_sockets_of_this_server_are_allowed_by_name() -> None:
    server = Settings.model_validate({"server": {"base_url": "https://sessions.example.org"}}).server
    assert "connect-src 'self' wss://sessions.example.org" in content_security_policy(server)


async def test_static_files_are_kept_for_long_only_with_their_version(new_browser: NewBrowser) -> None:
    browser = await new_browser()
    assert (await browser.get("/static/css/tokens.css")).headers["Cache-Control"] == "no-cache"
    versioned = await browser.get("/static/css/tokens.css?v=abc")
    assert versioned.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/static/../config.py", "/static/%2e%2e/models.py", "/static/", "/static/css"])
async def test_nothing_beside_the_static_files_is_served(new_browser: NewBrowser, path: str) -> None:
    assert (await (await new_browser()).get(path)).status in {403, 404}


# -- limits ------------------------------------------------------------------------------------------------------


def test_a_limit_counts_within_its_window_and_forgets(clock: ManualClock) -> None:
    from datetime import timedelta

    from control.errors import TooMany

    limits, rule = Limits(), Rule("tries", 2, timedelta(minutes=1))
    limits.count(rule, "a", clock())
    clock.forward(seconds=30)
    limits.count(rule, "a", clock())
    with pytest.raises(TooMany) as refused:
        limits.count(rule, "a", clock())
    assert refused.value.extra["retry_after_s"] == 30
    limits.count(rule, "b", clock())
    clock.forward(seconds=30)
    limits.count(rule, "a", clock())
    assert limits.refused == 1


def test_a_flood_of_keys_costs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr("control.limits.MOST_KEYS", 10)
    limits, rule = Limits(), Rule("tries", 2, timedelta(minutes=1))
    for number in range(1000):
        limits.count(rule, str(number), START)
    assert len(limits._seen) <= 11


@pytest.mark.parametrize(
    ("trusted", "forwarded", "wanted"),
    [
        ((), "1.2.3.4", "127.0.0.1"),
        (("127.0.0.1/32",), "1.2.3.4", "1.2.3.4"),
        (("127.0.0.1/32",), "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        (("127.0.0.1/32", "10.0.0.0/8"), "9.9.9.9, 1.2.3.4, 10.1.1.1", "1.2.3.4"),
        (("127.0.0.1/32",), "", "127.0.0.1"),
        (("127.0.0.1/32",), "nonsense", "nonsense"),
    ],
)
def test_an_address_is_believed_only_from_a_trusted_proxy(
    trusted: tuple[str, ...], forwarded: str, wanted: str
) -> None:
    class Request:
        remote = "127.0.0.1"
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}

    assert client_address(Request(), trusted) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_subscriber_s_whole_ipv6_network_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


class TestOneSubscribersAddresses:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        changed = {"server": {"trusted_proxies": ["127.0.0.1"]}, "security": {"sign_in_tries_per_address": 2}}
        kept = settings.model_dump(exclude_unset=True)
        return Settings.model_validate({**kept, **{part: {**kept[part], **changed[part]} for part in changed}})

    async def test_every_address_of_an_ipv6_64_is_counted_as_the_same_one(self, new_browser: NewBrowser) -> None:
        browser = await new_browser()

        async def tried_from(address: str) -> int:
            body = {"email": "nobody@example.com", "password": "not the password"}
            return (await browser.post("/api/sign-in", body, X_Forwarded_For=address)).status

        for used, status in enumerate((403, 403, 429, 429)):
            assert await tried_from(f"2001:db8:1:2::{used + 1}") == status
        assert await tried_from("2001:db8:1:2:ffff::1") == 429
        assert await tried_from("2001:db8:1:3::1") == 403
        assert await tried_from("192.0.2.7") == 403


# -- operators' machines -----------------------------------------------------------------------------------------


async def test_health_needs_nothing_and_readiness_needs_the_database(
    app: web.Application, new_browser: NewBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await new_browser()
    assert (await browser.get("/healthz")).status == 200
    ready = await browser.get("/readyz")
    assert (ready.status, ready.body["database"]) == (200, True)

    def gone() -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(app[DATABASE], "reading", gone)
    broken = await browser.get("/readyz")
    assert (broken.status, broken.body["database"]) == (503, False)
    assert (await browser.get("/healthz")).status == 200


async def test_metrics_are_read_from_this_host_but_not_through_a_proxy(new_browser: NewBrowser) -> None:
    browser = await new_browser()
    here = await browser.get("/metrics")
    assert here.status == 200
    assert "# TYPE holdspace_outbox_lag_seconds gauge" in here.text
    through = await browser.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    assert (through.status, through.code) == (403, "metrics_refused")


def test_measures_are_written_as_prometheus_reads_them() -> None:
    text = as_text([gauge("a", 1.5), counter("b", 2, reason='x"y\n'), counter("b", 3, reason="z")])
    assert text.splitlines() == [
        "# TYPE holdspace_a gauge",
        "holdspace_a 1.5",
        "# TYPE holdspace_b_total counter",
        'holdspace_b_total{reason="x\\"y\\n"} 2',
        'holdspace_b_total{reason="z"} 3',
    ]


def test_the_delay_histogram_counts_upwards() -> None:
    stats: dict[str, Any] = {
        **dict.fromkeys(("rooms", "transports", "tracks", "packets_in", "packets_out", "bytes_in"), 1),
        **dict.fromkeys(("bytes_out", "sends", "gso_refused", "socket_overflow", "repeat_refused"), 2),
        "dropped": {"late": 3},
        "delay_us_buckets": ((25, 5), (50, 7)),
        "thread_cpu_ns": (1_500_000_000,),
    }
    lines = as_text(media_measures(stats)).splitlines()
    assert 'holdspace_media_forwarding_delay_seconds_bucket{le="0.000025"} 5' in lines
    assert 'holdspace_media_forwarding_delay_seconds_bucket{le="0.000050"} 12' in lines
    assert 'holdspace_media_forwarding_delay_seconds_bucket{le="+Inf"} 12' in lines
    assert 'holdspace_media_thread_cpu_seconds_total{thread="0"} 1.5' in lines
    assert 'holdspace_media_dropped_total{reason="late"} 3' in lines


async def test_three_hundred_requests_at_once_are_answered_while_the_loop_stays_free(
    new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    browser = await new_browser(await add_someone("Mina", Role.CLIENT))
    answers = await asyncio.gather(*(browser.get("/api/me") for _ in range(300)))
    assert {answer.status for answer in answers} == {200}


async def test_closing_the_server_closes_live_sockets_instead_of_waiting_for_them(
    server: TestServer, new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    browser = await new_browser(await add_someone("Mina", Role.CLIENT))
    socket = await browser.live()
    assert json.loads((await socket.receive()).data) == {"type": "ready"}
    async with asyncio.timeout(10):
        closing = asyncio.create_task(server.close())
        while not socket.closed:
            await socket.receive()
        await closing


async def test_the_outbox_worker_runs_in_the_application(
    app: web.Application, new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    admin = await new_browser(await add_someone("Clara", Role.ADMIN))
    await admin.post("/api/sign-in/link", {"email": mina.email})
    while not await app[OUTBOX].work_once():
        letters = (await admin.get("/api/outbox")).body["letters"]
        if letters and letters[0]["state"] == "kept":
            break
    (letter,) = (await admin.get("/api/outbox")).body["letters"]
    assert (letter["kind"], letter["to"]) == ("sign_in_link", mina.email)
