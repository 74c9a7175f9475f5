"""The blur worker's loop: several cameras in one process and one thread, each picture's turn by how long it waits.

The control socket (SOCK_SEQPACKET, JSON) goes to workers.py; each camera has a port socket of its own (port.py):

    ◀─  {"open": track, "effect"} with the port's descriptor, {"track", "effect"}, {"close": track}
    {"ready": true}, {"track", "flows": bool}, {"alive": true} every few seconds  ─▶

Ends when the control socket does, that is with the server.
"""

import contextlib
import json
import logging
import selectors
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import cv2
import numpy as np

from media.blur.codec import Picture
from media.blur.port import MAX_MESSAGE_BYTES, BadMessage, Frame, Message, pack, parse
from media.blur.segment import Segmenter
from media.blur.stream import Stream
from media.types import Background

log = logging.getLogger(__name__)

CONTROL_BYTES: Final = 4096
ALIVE_EVERY_S: Final = 2.0
MOST_AT_ONCE: Final = 32
"""Messages of one camera before the others have their turn."""


@dataclass
class Port:
    track: int
    line: socket.socket
    stream: Stream
    told_flows: bool = False


class Worker:
    def __init__(self, control: socket.socket, model: Path) -> None:
        cv2.setNumThreads(1)
        self._control = control
        self._segmenter = Segmenter(model)
        self._ports: dict[int, Port] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        grey = np.full((144, 256), 128, np.uint8)
        self._segmenter.segment(Picture(grey, grey, grey))  # the first one costs ten times as much
        self._tell({"ready": True})

    def run(self) -> None:
        said = 0.0
        while True:
            if monotonic() - said >= ALIVE_EVERY_S:
                said = monotonic()
                self._tell({"alive": True})
            for key, _ in self._selector.select(0 if self._waiting() else ALIVE_EVERY_S):
                if key.data is not None:
                    self._receive(key.data)
                elif not self._obey():
                    return
            if waiting := self._waiting():
                _, port = min(waiting, key=lambda one: one[0])
                self._answer(port, port.stream.work(monotonic(), hurried=len(waiting) > 1))

    def _waiting(self) -> list[tuple[float, Port]]:
        ports = self._ports.values()
        return [(port.stream.waiting_since, port) for port in ports if port.stream.waiting_since is not None]

    def _obey(self) -> bool:
        """One command. False at the end of the control socket."""
        try:
            text, descriptors, _, _ = socket.recv_fds(self._control, CONTROL_BYTES, 1)
        except ConnectionError:
            text = b""  # the server is gone, and had not read all we said
        if not text:
            return False
        match json.loads(text):
            case {"open": int(track), "effect": str(effect)} if descriptors:
                self._open(track, socket.socket(fileno=descriptors[0]), Background(effect))
            case {"track": int(track), "effect": str(effect)}:
                if port := self._ports.get(track):
                    port.stream.effect = Background(effect)
            case {"close": int(track)}:
                self._close(track)
            case other:
                log.warning("unknown command words=%s", sorted(other))
        return True

    def _open(self, track: int, line: socket.socket, effect: Background) -> None:
        self._close(track)
        line.setblocking(False)
        self._ports[track] = Port(track, line, Stream(self._segmenter, effect))
        self._selector.register(line, selectors.EVENT_READ, self._ports[track])

    def _receive(self, port: Port) -> None:
        """What waits, in order: a picture that is passed over is still the next one's reference."""
        for _ in range(MOST_AT_ONCE):
            try:
                data = port.line.recv(MAX_MESSAGE_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close(port.track)
                return
            try:
                message = parse(data)
            except BadMessage as error:
                log.warning("bad port message track=%d what=%s", port.track, error)
                continue
            self._answer(port, port.stream.take(message, monotonic()))

    def _answer(self, port: Port, replies: Iterable[Message]) -> None:
        for reply in replies:
            try:
                port.line.send(pack(reply))
            except OSError:
                # Full; or gone, which the next reading notices.
                if isinstance(reply, Frame):
                    port.stream.unsent()
        if port.stream.flows != port.told_flows:
            port.told_flows = port.stream.flows
            self._tell({"track": port.track, "flows": port.stream.flows})

    def _close(self, track: int) -> None:
        if port := self._ports.pop(track, None):
            self._selector.unregister(port.line)
            port.line.close()

    def _tell(self, news: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(news).encode())
