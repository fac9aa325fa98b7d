"""What holds for every test."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

import secretsnet

# A run in the background (nohup, `&` without job control) inherits an ignored SIGINT, and so
# would each program a test starts and means to interrupt: it would wait for its end for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nobody who runs the tests is logged in, and no test asks their keyring. One that stores a
# login without a folder of its own fails: nobody can make one there.
os.environ["AWSGATE_LOGINS"] = "/proc/no-logins"
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
for name in ("AWSGATE_GATEWAY", "AWSGATE_CA_PIN", "AWSGATE_ID_TOKEN", "AWSGATE_BOUNDS"):
    os.environ.pop(name, None)

# How long one example takes says how busy this machine is, and nothing of what is tested.
# What decides whether a commit lands tries the same examples each time: a property that fails
# there fails for everybody. New ones are tried with AWSGATE_TEST_RANDOM=1.
settings.register_profile(
    "awsgate", deadline=None, derandomize=not os.environ.get("AWSGATE_TEST_RANDOM")
)
settings.load_profile("awsgate")


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end, look through what all gateways of this session wrote."""
    yield
    found = list(secretsnet.leaks_under(tmp_path_factory.getbasetemp()))
    assert found == [], "a gateway wrote a secret into its log or its audit"
