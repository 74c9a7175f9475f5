"""What the room makes of what it hears, in Chromium: its state and words, and what it sends of a camera."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.modules import empty_page


@pytest_asyncio.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with empty_page(browser) as page:
        yield page


@pytest.mark.parametrize(
    ("rids", "pixels", "sent"),
    [
        (["f"], 640 * 480, {"f": 1}),
        (["q"], 640 * 480, {"q": 4}),
        (["q", "f"], 1280 * 720, {"q": 4, "f": 1}),
        (["q", "h", "f"], 1280 * 720, {"q": 4, "h": 2, "f": 1}),
        (["q", "h"], 640 * 480, {"q": 4, "h": 2}),
        (["q", "f"], 640 * 480, {"q": 4, "h": 1}),
        (["q", "h", "f"], 640 * 480, {"q": 4, "h": 1}),
        (["q", "f"], 320 * 180, {"f": 1}),
        ([], 1280 * 720, {}),
    ],
)
async def test_encodings_fit_what_the_browser_makes_of_a_camera(
    page: Page, rids: list[str], pixels: int, sent: dict[str, int]
) -> None:
    active, again = await page.evaluate(
        """async ([rids, pixels]) => {
            const { cameraEncodings, encodingsFor } = await import('/static/js/room/encodings.js');
            const wanted = encodingsFor(cameraEncodings(), rids, pixels) || cameraEncodings();
            const active = wanted.filter((one) => one.active).map((one) => [one.rid, one.scaleResolutionDownBy]);
            return [Object.fromEntries(active), encodingsFor(wanted, rids, pixels)];
        }""",
        [rids, pixels],
    )
    assert active == sent
    assert again is None


@pytest.mark.parametrize(
    ("rates", "scales"),
    [
        pytest.param([900] * 3, [1, 1, 1], id="wide"),
        pytest.param([900, 150, 900, 150, 150, 150], [1, 1, 1, 1, 2, 2], id="narrow for more than a moment"),
        pytest.param([30, 30], [1, 4], id="two sizes at once"),
        pytest.param([150, 150, *[250] * 8], [1, *[2] * 9], id="not clearly more"),
        pytest.param([150, 150, *[400] * 6], [1, *[2] * 6, 1], id="clearly more"),
    ],
)
async def test_camera_becomes_smaller_on_a_narrow_line_and_larger_on_one_that_is_clearly_wider(
    page: Page, rates: list[int], scales: list[int]
) -> None:
    found = await page.evaluate(
        """async (rates) => {
            const { Narrowness } = await import('/static/js/room/narrow.js');
            const narrowness = new Narrowness();
            return rates.map((kbps) => { narrowness.look(640 * 480, 1000 * kbps); return narrowness.scale; });
        }""",
        rates,
    )
    assert found == scales


# -- the reducer

SNAPSHOT = {
    "state": "in_progress",
    "server_now": "2026-03-03T16:24:18Z",
    "starts_at": "2026-03-03T16:00:00Z",
    "ends_at": "2026-03-03T16:50:00Z",
    "started_at": "2026-03-03T16:00:00Z",
    "practitioner": {"id": "p", "name": "Dr. Amara Okafor"},
    "people": [],
    "recording": {"offered": True, "state": "off", "reason": None, "cause": None, "my_answer": "yes"},
    "can": {"start": False, "end": True, "record": True, "share_screen": True},
}
WELCOME = {
    "type": "welcome",
    "person": "me",
    "role": "practitioner",
    "place": "admitted",
    "resumed": False,
    "resume": "r",
    "ice_servers": [],
    "server_now": "2026-03-03T16:24:18Z",
}


def person(name: str, **change: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name.capitalize(),
        "role": "client",
        "place": "admitted",
        "connected": True,
        "media": "connected",
        "since": "2026-03-03T16:00:00Z",
    } | change


def messages(*heard: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "heard", "message": message} for message in heard]


async def status_after(page: Page, news: list[dict[str, Any]]) -> str:
    words: str = await page.evaluate(
        """async (news) => {
            const { freshState, reduce, statusWords } = await import('/static/js/room/state.js');
            return statusWords(news.reduce(reduce, freshState()));
        }""",
        news,
    )
    return words


def open_room(*people: dict[str, Any], state: str = "in_progress") -> list[dict[str, Any]]:
    return [
        {"type": "line", "line": "open"},
        *messages(
            WELCOME,
            {"type": "snapshot", "n": 1, "snapshot": SNAPSHOT | {"state": state}},
            {"type": "people", "n": 2, "people": [person("me"), *people]},
        ),
        {"type": "media", "media": "connected"},
    ]


async def test_status_is_said_in_plain_words(page: Page) -> None:
    cases = [
        ([], "Connecting"),
        (open_room(), "Waiting"),
        (open_room(person("mina")), "Active"),
        (open_room(person("mina"), state="confirmed"), "Waiting"),
        (open_room(person("mina", place="waiting")), "Waiting"),
        (open_room(person("mina", connected=False)), "Reconnecting"),
        (open_room(person("mina", media="disconnected")), "Reconnecting"),
        ([*open_room(person("mina")), {"type": "line", "line": "lost"}], "Reconnecting"),
        ([*open_room(person("mina")), {"type": "media", "media": "disconnected"}], "Reconnecting"),
        ([*open_room(person("mina")), *messages({"type": "peer_lost", "n": 3})], "Connecting"),
        ([*open_room(person("mina")), *messages({"type": "ended", "n": 3, "reason": "completed"})], "Ended"),
        ([*open_room(person("mina")), *messages({"type": "replaced", "n": 3})], "Not connected"),
    ]
    for news, words in cases:
        assert await status_after(page, news) == words


@pytest.mark.parametrize(
    ("state", "cause", "words"),
    [
        ("off", None, ""),
        ("recording", None, "Recording"),
        ("paused", "paused", "Recording paused"),
        ("paused", "refused", "Recording paused: somebody said no"),
        ("paused", "unanswered", "Recording paused: an answer is missing"),
        ("off", "disk_full", "Recording stopped: the disk is full"),
    ],
)
async def test_the_recording_sign_says_the_same_to_everybody(
    page: Page, state: str, cause: str | None, words: str
) -> None:
    for role, answer in (("practitioner", "yes"), ("client", "yes"), ("client", "no"), ("guest", None)):
        recording = {"offered": True, "state": state, "reason": None, "cause": cause, "my_answer": answer}
        said = await page.evaluate(
            """async ([role, recording]) => {
                const { freshState, recordingWords } = await import('/static/js/room/state.js');
                return recordingWords({ ...freshState(), role, snapshot: { recording } });
            }""",
            [role, recording],
        )
        assert said == words


@pytest.mark.parametrize(
    ("line", "media", "words"),
    [
        *(("lost", "disconnected", "Recording interrupted"), ("lost", "none", "Recording interrupted")),
        *(("lost", "connected", "Recording"), ("open", "disconnected", "Recording")),
    ],
)
async def test_the_recording_sign_says_recording_as_long_as_the_server_may_do_it(
    page: Page, line: str, media: str, words: str
) -> None:
    said = await page.evaluate(
        """async ([line, media]) => {
            const { freshState, recordingWords } = await import('/static/js/room/state.js');
            return recordingWords({ ...freshState(), line, media, snapshot: { recording: { state: 'recording' } } });
        }""",
        [line, media],
    )
    assert said == words


async def test_new_session_forgets_people_and_slots_and_a_resumed_one_keeps_them(page: Page) -> None:
    left = await page.evaluate(
        """async (news) => {
            const { freshState, reduce } = await import('/static/js/room/state.js');
            return news.reduce(reduce, freshState());
        }""",
        [*open_room(person("mina")), *messages(WELCOME | {"resumed": True})],
    )
    assert len(left["people"]) == 2
    left = await page.evaluate(
        """async (news) => {
            const { freshState, reduce } = await import('/static/js/room/state.js');
            return news.reduce(reduce, freshState());
        }""",
        [*open_room(person("mina")), *messages(WELCOME)],
    )
    assert left["people"] == []


@pytest.mark.parametrize(
    ("own", "other", "told"),
    [
        ("good", "good", "me"),
        ("good", "fair", "mina"),
        ("fair", "fair", "me"),
        ("poor", "fair", "me"),
        (None, "poor", None),
    ],
)
async def test_bar_tells_of_one_s_own_connection_unless_the_other_s_is_worse(
    page: Page, own: str | None, other: str, told: str | None
) -> None:
    mina = {"id": "mina", "place": "admitted", "connected": True}
    news: list[dict[str, Any]] = [
        {"type": "heard", "message": {"type": "welcome", "person": "me", "role": "client", "place": "admitted"}},
        {"type": "media", "media": "connected"},
        {
            "type": "heard",
            "message": {"type": "people", "people": [mina]},
        },
        {"type": "heard", "message": {"type": "quality", "person": "mina", "word": other}},
    ]
    if own is not None:
        news.append({"type": "heard", "message": {"type": "quality", "person": "me", "word": own}})
    ask = """async (news) => {
        const { freshState, reduce, tellingQuality } = await import('/static/js/room/state.js');
        return tellingQuality(news.reduce(reduce, freshState()))?.person ?? null;
    }"""
    assert await page.evaluate(ask, news) == told
    assert await page.evaluate(ask, [*news, {"type": "media", "media": "disconnected"}]) is None


async def test_timers_follow_the_server_s_clock(page: Page) -> None:
    cases = [
        ("2026-03-03T16:24:18.000Z", "24:18", "25:42", False, ""),
        ("2026-03-03T16:24:18.400Z", "24:18", "25:42", False, ""),
        ("2026-03-03T16:45:00.000Z", "45:00", "05:00", False, "5 minutes left"),
        ("2026-03-03T16:49:00.000Z", "49:00", "01:00", False, "1 minute left"),
        ("2026-03-03T16:51:05.000Z", "51:05", "1:05", True, "The booked time is over"),
        ("2026-03-03T17:04:07.000Z", "1:04:07", "14:07", True, "The booked time is over"),
    ]
    for now, elapsed, left, over, warning in cases:
        clock = await page.evaluate(
            """async ([snapshot, now]) => {
                const { timers } = await import('/static/js/room/state.js');
                return timers(snapshot, Date.parse(now));
            }""",
            [SNAPSHOT, now],
        )
        assert (clock["elapsed"], clock["left"], clock["isOver"], clock["warning"]) == (elapsed, left, over, warning)


async def test_session_not_started_shows_no_timer(page: Page) -> None:
    running = await page.evaluate(
        """async (snapshot) => {
            const { timers } = await import('/static/js/room/state.js');
            return timers(snapshot, Date.now()).running;
        }""",
        SNAPSHOT | {"started_at": None},
    )
    assert running is False


async def test_a_line_too_slow_for_pictures_is_told_and_taken_back(page: Page) -> None:
    def slots(n: int, *, paused: bool) -> dict[str, Any]:
        camera = {"mid": "3", "person": "mina", "source": "camera", "muted": False, "paused": paused}
        return {"type": "slots", "n": n, "slots": [camera]}

    notices = await page.evaluate(
        """async (steps) => {
            const { freshState, reduce } = await import('/static/js/room/state.js');
            const { noticeWords } = await import('/static/js/room/view.js');
            return steps.map((news) => noticeWords(news.reduce(reduce, freshState())));
        }""",
        [
            [*open_room(person("mina")), *messages(slots(3, paused=True))],
            [*open_room(person("mina")), *messages(slots(3, paused=True), slots(4, paused=False))],
        ],
    )
    (words, _), back = notices
    assert "slow" in words
    assert "Sound goes on" in words
    assert back == ["", False]


@pytest.mark.parametrize(
    ("others", "group"),
    [
        ([person("me"), person("amara")], False),
        ([person("me"), person("amara"), person("guest", place="waiting")], False),
        ([person("me"), person("amara"), person("guest")], True),
        ([person("me", place="waiting"), person("amara"), person("guest")], True),
        ([person("me", place="waiting"), person("amara"), person("guest", place="waiting")], False),
    ],
)
async def test_three_admitted_people_are_a_group(page: Page, others: list[dict[str, Any]], group: bool) -> None:
    found = await page.evaluate(
        """async (news) => {
            const { freshState, isGroup, reduce } = await import('/static/js/room/state.js');
            return isGroup(news.reduce(reduce, freshState()));
        }""",
        [*open_room(), *messages({"type": "people", "n": 3, "people": others})],
    )
    assert found is group


async def test_people_are_called_by_first_name_with_their_title(page: Page) -> None:
    names = ["Mina Halvorsen", "Dr. Amara Okafor", "Cher", "Prof. Ngũgĩ wa Thiong'o"]
    called = await page.evaluate(
        """async (names) => {
            const { callName } = await import('/static/js/room/view.js');
            return names.map(callName);
        }""",
        names,
    )
    assert called == ["Mina", "Dr. Amara", "Cher", "Prof. Ngũgĩ"]


LAYOUTS = ("auto", "speaker", "side", "grid", "own")
ROOM = f"""
<div id="room"><main id="main"><div id="stage"></div><div id="self" tabindex="0" aria-label="Enter"></div>
<div id="bar"></div></main></div>
<dialog id="layout-dialog">{"".join(f'<input type="radio" id="layout-{one}">' for one in LAYOUTS)}</dialog>
<button id="menu-layout"></button><button id="layout-next"></button><p id="said"></p>
<button id="menu-pip"><b id="pip-words"></b></button>
"""


async def test_own_picture_is_swapped_only_with_the_one_other(page: Page) -> None:
    """With more people, or a screen, nothing could be swapped: it is neither offered nor said."""
    told = await page.evaluate(
        """async (room) => {
            document.body.innerHTML = room;
            const { Layouts } = await import('/static/js/room/layouts.js');
            const { freshState } = await import('/static/js/room/state.js');
            const layouts = new Layouts();
            const at = (id) => document.getElementById(id);
            const draw = () => layouts.apply(freshState(), 0);
            layouts.onChange = draw;
            const press = () => at('self').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
            const next = () => at('layout-next').click();
            const after = (kinds, act) => {
                for (const tile of document.querySelectorAll('.picture')) tile.remove();
                for (const kind of kinds) {
                    const tile = document.createElement('div');
                    tile.className = `picture ${kind}`;
                    at('stage').append(tile);
                }
                draw();
                at('said').textContent = '';
                act();
                return [at('room').className, at('said').textContent, at('layout-own').disabled,
                    at('self').getAttribute('aria-label').includes('Enter')];
            };
            return [after([''], press), after(['', ''], press), after(['', 'picture--screen'], press), after([], press),
                after([''], () => {}), after(['', ''], next), after([''], () => { next(); next(); next(); })];
        }""",
        ROOM,
    )
    swapped, nothing = "room--swapped", ["", "", True, False]
    assert told[:4] == [[swapped, "Layout: Swapped: my own, large", False, True], nothing, nothing, nothing]
    assert told[4:] == [
        [swapped, "", False, True],
        ["", "Layout: Who speaks, large", True, False],
        [swapped, "Layout: Swapped: my own, large", False, True],
    ]
