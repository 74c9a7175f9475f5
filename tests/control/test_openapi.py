"""The OpenAPI document: every route is in it, made from the models that read the requests, and its references hold."""

import re
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from control.api import openapi
from control.api.bodies import EmptyBody
from control.api.idempotency import HEADER
from tests.helpers.control import NewBrowser

ID = "{id}"
#: PRODUCT.md §10: the paths as they are written there, and the members of their bodies.
PROMISED = {
    "POST /professional/sessions/availability": {"date", "startTime", "endTime", "price", "serviceId"},
    "GET /professional/sessions/availability": None,
    f"DELETE /professional/sessions/availability/{ID}": None,
    f"GET /professional/{ID}/availability": None,
    "POST /sessions/book": {"serviceId", "start", "timeZone"},
    "GET /professional/sessions": None,
    "GET /sessions/my-bookings": None,
    f"POST /sessions/{ID}/generate-call-link": set(),
    f"POST /api/appointments/{ID}/start": set(),
    f"POST /api/appointments/{ID}/complete-session": {"isNoShow", "noShowReason"},
    f"POST /api/appointments/{ID}/rate-session": {"rating", "feedback", "isPublic", "wouldRecommend", "tags"},
    f"POST /api/appointments/{ID}/reschedule-session": {"proposedDate", "proposedDurationMinutes", "reason"},
    f"POST /api/appointments/{ID}/cancel-session": {"reason"},
    f"POST /api/appointments/{ID}/payment": {"paymentMethod", "paymentMethodToken"},
    "POST /api/tokens": {"email", "password", "link", "code", "name"},
}
KEY_REQUIRED = {
    "POST /sessions/book",
    f"POST /api/appointments/{ID}/payment",
    f"POST /api/people/{ID}/wallet",
    "POST /api/wallet/top-up",
    f"POST /api/purchases/{ID}/payment",
    f"POST /api/payments/{ID}/refund",
    f"POST /api/credits/offers/{ID}/buy",
}
#: A POST whose answer is not kept under a key, and why.
NOT_KEPT = {
    "sign-in": "nobody is signed in yet whose key it could be",
    "sign-up": "the same",
    "/api/enquiries": "the same",
    "network-test": "a repeat measures anew",
    "sign-out": "the session ends with it",
    "account/erase": "the same",
    "tokens": "nobody is signed in yet",
    "webhooks": "the gateway's event id is the key",
    "account/totp": "the answer is a secret",
    "account/recovery-codes": "the answer is a secret",
    "account/passkeys": "the answer is a secret, and a challenge is used once",
    "account/password": "the password would be kept",
    "account/sign-out-everywhere": "a repeat ends none",
    "/api/language": "a repeat chooses the same",
    "calendar-feed": "the answer is a secret address",
    "generate-call-link": "each token opens one socket",
    "imported-calendar": "a repeat asks for a reading now",
    "/recording": "a press says which state is wanted",
    "chat/marks": "a mark says how far was read",
    "conversations/{id}/read": "the same",
    "conversations/{id}/typing": "nothing is stored",
    "razorpay-return": "the payer's browser comes back with a signature",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(openapi.operations())


def _all_in(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, found in document["paths"].items()
        for method, operation in found.items()
    }


async def test_the_document_is_served_to_anybody(new_browser: NewBrowser) -> None:
    answer = await (await new_browser()).get("/api/openapi.json")
    assert (answer.status, answer.body["openapi"]) == (200, "3.1.0")
    assert answer.headers["Content-Type"].startswith("application/json")


def test_every_route_of_the_api_that_is_served_is_in_it_and_no_other(
    app: web.Application, document: dict[str, Any]
) -> None:
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.handler.__module__.startswith("control.api.") and route.method != "HEAD"
    }
    assert set(_all_in(document)) == served


@pytest.mark.parametrize("route", PROMISED)
def test_every_promised_route_has_its_body(document: dict[str, Any], route: str) -> None:
    operation = _all_in(document)[route]
    names = PROMISED[route]
    if names is None:
        assert "requestBody" not in operation
        return
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    assert set(body.get("properties", {})) >= names
    assert body["additionalProperties"] is False


def test_every_write_reads_a_model_that_refuses_unknown_members(document: dict[str, Any]) -> None:
    for one in openapi.operations():
        if one.method in {"POST", "PUT", "PATCH"} and one.path not in openapi._RAW_BODIES:
            model = one.reading.body or EmptyBody
            assert issubclass(model, BaseModel)
            assert one.reading.body is not None, f"{one.method} {one.path}"
            assert (model.model_config.get("extra"), model.model_config.get("strict")) == ("forbid", True), one.path


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = openapi.document_json().decode()
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        place: Any = document
        for part in reference.split("/"):
            place = place[part]
        assert place


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in _all_in(document).values()]
    assert len(names) == len(set(names))


def test_a_key_is_accepted_on_every_post_and_required_where_money_or_time_is_taken(document: dict[str, Any]) -> None:
    required, unkept = set(), []
    for route, operation in _all_in(document).items():
        key = next((one for one in operation["parameters"] if one["name"] == HEADER), None)
        if key is not None and key["required"]:
            required.add(route)
        if key is None and route.startswith("POST") and not any(part in route for part in NOT_KEPT):
            unkept.append(route)
    assert required >= KEY_REQUIRED
    assert not unkept, "\n".join(unkept)
