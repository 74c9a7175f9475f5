"""The table of an appointment's life, every pair of state and event, against what PRODUCT.md §2 says."""

from itertools import product

import pytest

from control.appointment_states import ENDED, OPEN, SLOT_HOLDING, TRANSITIONS, Event, State, next_state

SAID = {
    "pending": {"secure": "scheduled", "expire": "expired", "cancel": "cancelled"},
    "scheduled": {"confirm": "confirmed", "cancel": "cancelled", "reschedule": "scheduled"},
    "confirmed": {
        "start": "in_progress",
        "cancel": "cancelled",
        "reschedule": "scheduled",
        "miss_by_practitioner": "no_show_practitioner",
        "miss_by_client": "no_show_client",
    },
    "in_progress": {
        "complete": "completed",
        "miss_by_practitioner": "no_show_practitioner",
        "miss_by_client": "no_show_client",
    },
    "completed": {},
    "expired": {},
    "cancelled": {},
    "no_show_client": {},
    "no_show_practitioner": {},
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_each_event_leads_where_the_product_says(state: State, event: Event) -> None:
    assert next_state(state, event) == SAID[state].get(event)


def test_ended_states_lead_nowhere_and_open_ones_hold_their_slot() -> None:
    assert {state for state, _ in TRANSITIONS} == set(OPEN) == set(SLOT_HOLDING)
    assert set(ENDED) == set(State) - set(OPEN)
