"""schemathesis against the running server: whatever it thinks of by the OpenAPI document, the answer is documented.

It runs in a process of its own for a bounded time, as somebody with every role, with an app's bearer token.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from control import people, web_sessions
from control.accounts import OPERATOR
from control.config import Settings
from control.models.people import Role
from tests.helpers.practice import Site

HOOKS = Path(__file__).parents[1] / "helpers/schemathesis_hooks.py"
SECONDS = 25
SEED = 20261121
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method"),
    "allow_header_conformance",
)
#: A socket; what would sign the tester out; what others sign; what is asked without a token.
LEFT_OUT = (
    *(
        "/api/live",
        "/api/sign-out",
        "/api/webhooks/mail",
        "/api/webhooks/stripe",
        "/api/webhooks/razorpay",
        "/api/webhooks/zendesk",
        "/api/payments/razorpay-return",
    ),
    *("/healthz", "/readyz", "/metrics", "/calendar/{token}.ics"),
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    freely = {"writes_per_person": 10**6, "sign_in_tries_per_account": 10**6, "sign_in_tries_per_address": 10**6}
    return settings.model_copy(update={"security": settings.security.model_copy(update=freely)})


async def _token(site: Site) -> str:
    world = site.world
    await people.set_roles(world.db, OPERATOR, world.dana.person_id, set(Role), now=world.clock())
    made = await web_sessions.make_token(
        world.db, world.dana.person_id, "schemathesis", factor_given=True, now=world.clock()
    )
    return made.token


async def _run(server: TestServer, token: str, folder: Path) -> tuple[int, str, list[Any]]:
    program = (sys.executable, "-m", "schemathesis.cli", "run", str(server.make_url("/api/openapi.json")))
    options = (
        *("--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)),
        *("--max-examples", "8", "--max-time", str(SECONDS), "--seed", str(SEED), "--workers", "1"),
        *("--header", f"Authorization: Bearer {token}", "--suppress-health-check", "all", "--no-shrink"),
        *("--continue-on-failure", "--no-color", "--report", "ndjson", "--report-dir", str(folder)),
        *(part for path in LEFT_OUT for part in ("--exclude-path", path)),
    )
    hooks = {"PYTHONPATH": str(HOOKS.parent), "SCHEMATHESIS_HOOKS": HOOKS.stem}
    ran = await asyncio.create_subprocess_exec(
        *program,
        *options,
        cwd=folder,
        env=os.environ | hooks,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await ran.communicate()
    return ran.returncode or 0, said.decode(), [json.loads(line) for line in _lines(folder)]


def _lines(folder: Path) -> list[str]:
    return next(folder.glob("*.ndjson")).read_text(encoding="utf-8").splitlines()


async def test_schemathesis_finds_nothing(server: TestServer, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "schemathesis"
    folder.mkdir()
    code, said, events = await _run(server, await _token(site), folder)
    assert code == 0, said[-12_000:]
    assert len(events) > 100
