"""Settings of the unit tests: properties have no deadline, since a busy machine is no fault of ours."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("default-here", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("CORRAL_PROPERTIES", "default-here"))
