"""What all tests share: Hypothesis without a deadline, for the machine is shared; silence about others' code."""

import pytest
from hypothesis import settings

settings.register_profile("faces2", deadline=None, max_examples=100)
settings.load_profile("faces2")


def pytest_configure(config: pytest.Config) -> None:
    # Beam's TestPipeline is no test, though it is called so.
    for warning in ("DeprecationWarning:httplib2.*", "pytest.PytestCollectionWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{warning}")
