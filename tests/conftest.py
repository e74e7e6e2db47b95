"""Settings of all tests."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import HealthCheck, settings

# no test asserts a time, and a busy machine is no fault; the same examples in every run, so that a failure can be met again
settings.register_profile("hydragraph", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hydragraph")

_HERE = ("localhost", "127.0.0.1", "::1", "")


def _stay_here(event: str, found: tuple[Any, ...]) -> None:
    """Tests talk to browsers and servers on this machine and to nobody else."""
    if event == "socket.connect":
        host = found[1][0] if isinstance(found[1], tuple) else ""  # a path otherwise
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = found[0] or ""
    else:
        return
    if str(host) not in _HERE:
        raise PermissionError("no test talks to other machines")


sys.addaudithook(_stay_here)
