"""A session that was paid and took place, and a server in which nothing happens by itself."""

import pytest
import pytest_asyncio

from control.appointment_queries import SessionView
from control.notices.worker import OutboxWorker
from control.scheduler import Scheduler
from tests.helpers.books import take_place
from tests.helpers.practice import World


@pytest_asyncio.fixture
async def done(world: World) -> SessionView:
    """€50 from Bob's wallet, held in full: Alice has earned 4,500."""
    return await take_place(world, await world.scheduled())


@pytest.fixture
def nothing_happens_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look twice at all that is written of money and owed to people: nothing else may come between."""

    async def never(_of_the_application: OutboxWorker | Scheduler) -> None: ...

    monkeypatch.setattr(OutboxWorker, "start", never)
    monkeypatch.setattr(Scheduler, "start", never)
