"""Bad settings refuse to start and say which."""

from typing import Any

import pytest

from media.config import MediaSettings


def test_the_defaults_are_fine() -> None:
    assert MediaSettings().thread_count >= 1


@pytest.mark.parametrize(
    "bad",
    [
        {"threads": -1},
        {"udp_port": 70_000},
        {"udp_port": 65_535, "threads": 2},
        {"bind": ()},
        {"bind": ("localhost",)},
        {"advertise": {"192.0.2.1": "example.org"}},
        {"cache_ms": 1},
        {"socket_buffer_bytes": 1},
        {"video_codecs": ()},
        {"video_codecs": ("vp8", "theora")},
        {"max_transports_per_room": 1},
        {"max_tracks_per_transport": 1},
        {"max_handshakes": 0},
    ],
)
def test_a_bad_value_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        MediaSettings(**bad)
