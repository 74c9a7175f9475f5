"""A practitioner's own profile, policy, services and consent text. Thin: control/practice_editing.py decides."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from control import consents, practice_editing
from control.accounts import require_actor
from control.api.bodies import Body, read
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, Text
from control.consents import Purpose
from control.database import new_id
from control.errors import Invalid
from control.keys import CLOCK, DATABASE
from control.language import t
from control.models.people import Role
from control.money.policy import minor_from_price
from control.practice_editing import MyPolicy, MyProfile, MyService
from control.practitioners import NewService

routes = web.RouteTableDef()

Word = Annotated[Text, Field(min_length=1, max_length=40)]
Words = Annotated[tuple[Word, ...], Field(max_length=12)]
Minutes = Annotated[int, Field(ge=0, le=100_000, strict=True)]
Percent = Annotated[int, Field(ge=0, le=100, strict=True)]


class ProfileBody(Body):
    headline: Annotated[Text, Field(max_length=160)] = ""
    about: Annotated[Text, Field(max_length=10_000)] = ""
    modalities: Words = ()
    languages: Words = ()
    aftercare: Annotated[Text, Field(max_length=10_000)] = ""
    published: bool = True


class PolicyBody(Body):
    lateWindowHours: Annotated[int, Field(ge=0, le=336, strict=True)]
    lateFeePercent: Percent
    noShowFeePercent: Percent


class ServiceBody(Body):
    name: Annotated[Text, Field(min_length=1, max_length=120)]
    description: Annotated[Text, Field(max_length=500)] = ""
    mode: Literal["video", "audio", "chat"] = "video"
    lengthMinutes: Annotated[int, Field(ge=5, le=480, strict=True)]
    otherLengths: Annotated[tuple[Annotated[int, Field(ge=5, le=480, strict=True)], ...], Field(max_length=8)] = ()
    price: Annotated[Decimal, Field(ge=0, max_digits=12)]
    currency: Literal["EUR", "USD", "GBP", "INR", "JPY"]
    bufferBeforeMinutes: Annotated[int, Field(ge=0, le=240, strict=True)] = 0
    bufferAfterMinutes: Annotated[int, Field(ge=0, le=240, strict=True)] = 0
    minimumNoticeMinutes: Minutes = 120
    bookingWindowDays: Annotated[int, Field(ge=1, le=365, strict=True)] = 60
    recordingOffered: bool = False
    isDiscovery: bool = False

    def wanted(self, service_id: str) -> NewService:
        """Raises Invalid("price_invalid")."""
        price_minor = minor_from_price(f"{self.price:f}", self.currency)
        if price_minor is None:
            raise Invalid(
                "price_invalid", t("This is no amount in %(currency)s.", currency=self.currency), pointer="/price"
            )
        return NewService(
            name=self.name,
            price_minor=price_minor,
            currency=self.currency,
            description=self.description,
            mode=self.mode,
            length_minutes=self.lengthMinutes,
            buffer_before_minutes=self.bufferBeforeMinutes,
            buffer_after_minutes=self.bufferAfterMinutes,
            minimum_notice_minutes=self.minimumNoticeMinutes,
            booking_window_days=self.bookingWindowDays,
            recording_offered=self.recordingOffered,
            is_discovery=self.isDiscovery,
            other_lengths=self.otherLengths,
            id=service_id,
        )


class ChangedServiceBody(ServiceBody):
    active: bool = True


class ConsentTextBody(Body):
    title: Annotated[Text, Field(min_length=1, max_length=160)]
    body: Annotated[Text, Field(min_length=1, max_length=20_000)]


def service_json(one: MyService) -> dict[str, Any]:
    wanted = one.wanted
    return {
        "id": wanted.id,
        "name": wanted.name,
        "description": wanted.description,
        "mode": wanted.mode,
        "lengthMinutes": wanted.length_minutes,
        "otherLengths": list(wanted.other_lengths),
        "price_minor": wanted.price_minor,
        "currency": wanted.currency,
        "bufferBeforeMinutes": wanted.buffer_before_minutes,
        "bufferAfterMinutes": wanted.buffer_after_minutes,
        "minimumNoticeMinutes": wanted.minimum_notice_minutes,
        "bookingWindowDays": wanted.booking_window_days,
        "recordingOffered": wanted.recording_offered,
        "isDiscovery": wanted.is_discovery,
        "active": one.active,
    }


@routes.get("/api/my-practice")
async def my_practice(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    mine = await practice_editing.my_practice(request.app[DATABASE], actor)
    profile = {name: getattr(mine.profile, name) for name in MyProfile.__dataclass_fields__}
    policy = {name: getattr(mine.policy, name) for name in MyPolicy.__dataclass_fields__}
    return web.json_response(
        {"profile": profile, "policy": policy, "services": [service_json(one) for one in mine.services]}
    )


@routes.put("/api/my-profile")
async def save_profile(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ProfileBody)
    wanted = MyProfile(body.headline, body.about, body.modalities, body.languages, body.aftercare, body.published)
    await practice_editing.save_profile(request.app[DATABASE], actor, wanted, now=request.app[CLOCK]())
    return web.Response(status=204)


@routes.put("/api/my-policy")
async def save_policy(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, PolicyBody)
    wanted = MyPolicy(body.lateWindowHours * 60, body.lateFeePercent * 100, body.noShowFeePercent * 100)
    await practice_editing.save_policy(request.app[DATABASE], actor, wanted, now=request.app[CLOCK]())
    return web.Response(status=204)


@routes.post("/api/my-services")
@idempotent()
async def add_service(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ServiceBody)
    service_id = await practice_editing.save_new_service(
        request.app[DATABASE], actor, body.wanted(new_id()), now=request.app[CLOCK]()
    )
    return web.json_response({"id": service_id}, status=201)


@routes.put(f"/api/my-services/{{id:{ID_PATTERN}}}")
async def change_service(request: web.Request) -> web.Response:
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ChangedServiceBody)
    await practice_editing.change_service(
        request.app[DATABASE],
        actor,
        body.wanted(request.match_info["id"]),
        active=body.active,
        now=request.app[CLOCK](),
    )
    return web.Response(status=204)


@routes.post("/api/my-consent-text")
@idempotent()
async def publish_consent_text(request: web.Request) -> web.Response:
    """A new version of the text clients agree to before a session: everybody is asked again."""
    actor = require_actor(request, Role.PRACTITIONER)
    body = await read(request, ConsentTextBody)
    text = await consents.publish_text(
        request.app[DATABASE],
        actor,
        Purpose.CARE,
        actor.person_id,
        title=body.title,
        body=body.body,
        now=request.app[CLOCK](),
    )
    return web.json_response({"id": text.id, "version": text.version}, status=201)
