"""Everything the recorder raises on purpose.

The tree (each class has one stable `code`):

    RecorderError           recorder_error
    ├── UnknownRecording    unknown_recording   no such recording, or no such file in it
    ├── WrongState          wrong_state         started twice, finished while it runs, erased
    ├── StillFinishing      still_finishing     temporary: its files are being made, it can't be erased just now
    ├── WrongKey            wrong_key           the master key does not open this recording's keys
    ├── Damaged             damaged             bytes on disk were changed: they do not authenticate
    ├── DiskFull            disk_full           temporary: the disk, or its owner's share of it, holds no more
    ├── MediaGone           media_gone          temporary: the media node could not open or feed the journal
    └── FinishFailed        finish_failed       ours: the worker process failed; the journal is kept
"""

import errno
from typing import ClassVar


class RecorderError(Exception):
    code: ClassVar[str] = "recorder_error"


class UnknownRecording(RecorderError):
    code = "unknown_recording"


class WrongState(RecorderError):
    code = "wrong_state"


class StillFinishing(RecorderError):
    code = "still_finishing"


class WrongKey(RecorderError):
    code = "wrong_key"


class Damaged(RecorderError):
    code = "damaged"


class DiskFull(RecorderError):
    code = "disk_full"


class MediaGone(RecorderError):
    code = "media_gone"


class FinishFailed(RecorderError):
    code = "finish_failed"


NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def journal_code(detail: str) -> str:
    """`disk_full` or `journal_failed`, from the core's words for the system's error (Rust adds its number)."""
    return DiskFull.code if any(f"(os error {number})" in detail for number in NO_SPACE) else "journal_failed"
