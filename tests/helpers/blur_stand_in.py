"""A blur worker without libraries: every port message comes back as it is, and `die` ends the process.

Run as `python tests/helpers/blur_stand_in.py FD MODEL`; it speaks the control socket's words (media/blur/worker.py).
"""

import json
import os
import selectors
import socket
import sys


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ, None)
    lines: dict[int, socket.socket] = {}
    control.send(b'{"ready": true}')

    def close(track: int) -> None:
        selector.unregister(lines[track])
        lines.pop(track).close()

    while True:
        for key, _ in selector.select():
            if key.data is None:
                text, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
                if not text:
                    return
                words = json.loads(text)
                if "open" in words:
                    lines[words["open"]] = socket.socket(fileno=descriptors[0])
                    selector.register(lines[words["open"]], selectors.EVENT_READ, words["open"])
                elif "effect" in words:
                    lines[words["track"]].send(words["effect"].encode())
                elif words["close"] in lines:
                    close(words["close"])
            elif key.data in lines:
                data = lines[key.data].recv(1 << 20)
                if data == b"die":
                    os._exit(1)
                if not data:
                    close(key.data)
                    continue
                control.send(json.dumps({"track": key.data, "flows": data != b"gap"}).encode())
                lines[key.data].send(data)


if __name__ == "__main__":
    main()
