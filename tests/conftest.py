"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# no test asserts a time, and a busy machine is no fault; the same examples in every run, so that a failure can be met again
settings.register_profile("hydragraph", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hydragraph")
