"""Control's tests stand on the shared fixtures of tests/helpers/control.py."""

from tests.control.recording_studio import studio  # noqa: F401  fixtures are taken by name
from tests.helpers.control import *  # noqa: F403  fixtures are taken by name
from tests.helpers.databases import *  # noqa: F403
from tests.helpers.practice import *  # noqa: F403
