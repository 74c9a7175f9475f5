"""A session that was paid and took place."""

import pytest_asyncio

from control.appointment_queries import SessionView
from tests.helpers.books import take_place
from tests.helpers.practice import World


@pytest_asyncio.fixture
async def done(world: World) -> SessionView:
    """€50 from Bob's wallet, held in full: Alice has earned 4,500."""
    return await take_place(world, await world.scheduled())
