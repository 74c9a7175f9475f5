"""The one error tree of control: what a rule or handler raises when a request can't be done.

    Problem (status, code)
    ├── Malformed     400  the request can't be read
    ├── NotSignedIn   401  page paths are sent to the sign-in page instead
    ├── Forbidden     403  somebody is signed in, but not somebody who may
    ├── NotFound      404  also where a stranger must not learn that a thing exists
    ├── Conflict      409  the world moved on: slot taken, state changed, link used
    ├── Invalid       422  readable, but breaks a rule
    ├── TooMany       429  with retry_after_s
    └── Unavailable   503  temporary, ours, with retry_after_s

A code is stable and part of the API (RFC 9457 `code` member); title and detail are text for people. The one
place that turns a Problem into an answer is control/requests.py. Nothing here knows HTTP beyond the status.
"""

from typing import Any, ClassVar

from control.language import N_


class Problem(Exception):
    """A refusal with a stable code. `extra` becomes members of the problem document: keep secrets out of it."""

    default_status: ClassVar[int] = 500
    default_title: ClassVar[str] = N_("Something went wrong here")

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        title: str | None = None,
        status: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.status = status if status is not None else self.default_status
        self.code = code
        self.title = title if title is not None else self.default_title
        self.detail = detail
        self.extra = extra


class Malformed(Problem):
    default_status = 400
    default_title = N_("This request can't be read")


class NotSignedIn(Problem):
    default_status = 401
    default_title = N_("Please sign in")

    def __init__(self, code: str = "not_signed_in", detail: str = N_("Sign in to go on."), **extra: Any) -> None:
        super().__init__(code, detail, **extra)


class Forbidden(Problem):
    default_status = 403
    default_title = N_("This is not yours to do")


class NotFound(Problem):
    default_status = 404
    default_title = N_("Not found")

    def __init__(
        self, code: str = "not_found", detail: str = N_("There is nothing here, or it is not yours."), **extra: Any
    ) -> None:
        super().__init__(code, detail, **extra)


class Conflict(Problem):
    default_status = 409
    default_title = N_("Things have changed in between")


class Invalid(Problem):
    default_status = 422
    default_title = N_("Something in this request is not right")


class TooMany(Problem):
    default_status = 429
    default_title = N_("Too many tries")

    def __init__(self, code: str, detail: str, *, retry_after_s: int, **extra: Any) -> None:
        super().__init__(code, detail, retry_after_s=retry_after_s, **extra)


class Unavailable(Problem):
    default_status = 503
    default_title = N_("Not available at this moment")

    def __init__(self, code: str, detail: str, *, retry_after_s: int, **extra: Any) -> None:
        super().__init__(code, detail, retry_after_s=retry_after_s, **extra)
