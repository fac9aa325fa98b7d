"""The host settings: set, verified, and refused if they would open a hole."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mitmproxy import exceptions
from mitmproxy.options import Options
from mitmproxy.tools.dump import DumpMaster

from awsgate.addon import host
from awsgate.addon.tripwire import NAME, Tripwire
from awsgate.errors import SetupError
from awsgate.policy import GatewaySpec

# What an operator might choose, for each row.
CHOSEN: dict[str, Any] = {
    "connection_strategy": "eager",
    "http2": True,
    "http3": True,
    "rawtcp": True,
    "websocket": True,
    "upstream_cert": True,
    "validate_inbound_headers": False,
    "ssl_insecure": True,
    "tcp_timeout": 60,
    "flow_detail": 3,
    "termlog_verbosity": "debug",
    "store_streamed_bodies": True,
    "stream_large_bodies": "1m",
    "body_size_limit": "1m",
    "ignore_hosts": ["example"],
    "allow_hosts": ["example"],
    "tcp_hosts": ["example"],
    "udp_hosts": ["example"],
}

# Here that is mitmproxy's own default, so nobody can be seen to have chosen it.
REPLACED = {"connection_strategy", "http2", "http3", "rawtcp", "upstream_cert", "websocket"}


@pytest.fixture
async def master() -> AsyncIterator[DumpMaster]:
    """mitmdump, with all its addons, as it is when the script is loaded."""
    root, own = logging.getLogger(), logging.getLogger("mitmproxy")
    levels = root.level, own.level
    made = DumpMaster(Options())
    yield made
    await made.done()
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def test_every_row_is_tested() -> None:
    assert CHOSEN.keys() == host.REQUIRED.keys()


async def test_every_option_is_set(master: DumpMaster) -> None:
    assert {name: getattr(master.options, name) for name in REPLACED} == {
        name: CHOSEN[name] for name in REPLACED
    }, "mitmproxy has other defaults: see REPLACED"

    host.apply(master.options)

    for name, (wanted, reason) in host.REQUIRED.items():
        assert getattr(master.options, name) == wanted, name
        assert reason, name
    host.verify(master.options)


async def test_an_operator_who_says_the_same_may(master: DumpMaster) -> None:
    master.options.update(http2=False, connection_strategy="lazy", mode=["regular@127.0.0.1:0"])

    host.apply(master.options)


@pytest.mark.parametrize("name", sorted(CHOSEN.keys() - REPLACED))
async def test_an_operator_who_chose_otherwise_is_told(master: DumpMaster, name: str) -> None:
    master.options.update(**{name: CHOSEN[name]})

    with pytest.raises(SetupError) as caught:
        host.apply(master.options)

    wanted, reason = host.REQUIRED[name]
    assert caught.value.faults == (f"{name}={CHOSEN[name]!r}: {reason}; needs {wanted!r}",)
    assert caught.value.hint


async def test_every_choice_is_told_at_once(master: DumpMaster) -> None:
    master.options.update(rawtcp=False, ssl_insecure=True, tcp_timeout=5, mode=["transparent"])

    with pytest.raises(SetupError, match="3 mitmproxy option") as caught:
        host.apply(master.options)

    assert {fault.partition("=")[0] for fault in caught.value.faults} == {
        "ssl_insecure",
        "tcp_timeout",
        "mode",
    }


class Verifying:
    """An addon that verifies on each change, as ``AwsGate`` does."""

    def configure(self, _: set[str]) -> None:
        from mitmproxy import ctx

        host.verify(ctx.options)


@pytest.mark.parametrize("name", CHOSEN)
async def test_a_later_change_is_rolled_back(master: DumpMaster, name: str) -> None:
    host.apply(master.options)
    master.addons.add(Verifying())

    with pytest.raises(exceptions.OptionsError, match=rf"awsgate needs {name}="):
        master.options.update(**{name: CHOSEN[name]})

    assert getattr(master.options, name) == host.REQUIRED[name][0]


BAD_MODES = (
    "transparent",
    "socks5",
    "dns",
    "local",
    "wireguard",
    "reverse:https://example.com",
    "upstream:http://example.com:3128",
    "socks5@127.0.0.1:1080",
)


@pytest.mark.parametrize("mode", BAD_MODES)
async def test_another_mode_is_refused(master: DumpMaster, mode: str) -> None:
    master.options.update(mode=[mode])
    with pytest.raises(SetupError) as caught:
        host.apply(master.options)
    master.options.update(mode=["regular"])
    host.apply(master.options)
    master.options.update(mode=[mode])

    assert caught.value.faults == (
        f"mode={mode!r}: only 'regular' (with an address) is reviewed by awsgate",
    )
    with pytest.raises(exceptions.OptionsError, match="only 'regular'"):
        host.verify(master.options)


LISTEN: dict[str, tuple[dict[str, Any], str | None]] = {
    "nothing said": ({}, "regular@127.0.0.1:8080"),
    "a port": ({"listen_port": 3128}, "regular@127.0.0.1:3128"),
    "a port in the mode": ({"mode": ["regular@3129"]}, "regular@127.0.0.1:3129"),
    "a host": ({"listen_host": "192.0.2.1"}, None),
    "a host in the mode": ({"mode": ["regular@192.0.2.1:3128"]}, None),
    "two modes": ({"mode": ["regular@1", "regular@2"]}, None),
}


@pytest.mark.parametrize(("said", "expected"), LISTEN.values(), ids=LISTEN)
async def test_the_policy_says_where_unless_the_command_line_does(
    master: DumpMaster, said: dict[str, Any], expected: str | None
) -> None:
    master.options.update(**said)

    assert host.listen_mode(master.options, "127.0.0.1:8080") == expected


PLACES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing said": ({}, {}, ""),
    "a port alone": ({"listen_port": 3128}, {}, ""),
    "this machine": ({"listen_host": "127.0.0.1"}, {}, ""),
    "a host": ({"listen_host": "0.0.0.0"}, {}, "0.0.0.0"),
    "a host in the mode": ({"mode": ["regular@0.0.0.0:1"]}, {}, "0.0.0.0"),
    "an empty host in the mode": ({"mode": ["regular@:1"]}, {}, "all addresses"),
    "one of two modes": ({"mode": ["regular@127.0.0.1:1", "regular@192.0.2.1:2"]}, {}, "192.0.2.1"),
    "two modes without a host": ({"mode": ["regular@1", "regular@2"]}, {}, "all addresses"),
    "the policy": ({}, {"listen": "0.0.0.0:1"}, "0.0.0.0"),
    "the policy, and another host": (
        {"listen_host": "127.0.0.1"}, {"listen": "0.0.0.0:1"}, "",
    ),
    "by choice": ({"listen_host": "0.0.0.0"}, {"plain_public": True}, ""),
    "with tls": ({}, {"tls": True}, "no TLS"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "spec", "words"), PLACES.values(), ids=PLACES)
async def test_other_machines_are_let_in_by_choice_alone(
    master: DumpMaster, said: dict[str, Any], spec: dict[str, Any], words: str
) -> None:
    """Mitmproxy's own default is every address; the policy's host stands before that."""
    master.options.update(**said)
    settings = GatewaySpec.model_validate({"non_aws": "refuse", **spec})

    if words:
        with pytest.raises(SetupError, match=re.escape(words)):
            host.check_listening(master.options, settings)
    else:
        host.check_listening(master.options, settings)


async def test_the_slim_chain_keeps_what_it_must_and_ends_with_the_tripwire(
    master: DumpMaster,
) -> None:
    """If a name in ``KEEP`` is missing here, mitmproxy has renamed an addon."""
    wire, last = Tripwire(), Verifying()
    master.addons.add(wire, last)

    host.slim(master)

    names = [getattr(addon, "name", type(addon).__name__.lower()) for addon in master.addons.chain]
    # Commands and scripts of the operator are not of the chain: scriptloader holds ours.
    assert set(names) == host.KEEP
    assert len(names) == len(set(names))
    assert master.addons.chain[-1] is wire
    assert master.addons.get(NAME) is wire


async def test_the_tripwire_is_last_wherever_it_stood(master: DumpMaster) -> None:
    wire = Tripwire()
    master.addons.add(wire)
    master.addons.chain.remove(wire)
    master.addons.chain.insert(0, wire)

    host.slim(master)

    assert master.addons.chain[-1] is wire


async def test_slimming_twice_changes_nothing(master: DumpMaster) -> None:
    master.addons.add(Tripwire())
    host.slim(master)
    once = list(master.addons.chain)

    host.slim(master)

    assert master.addons.chain == once


def test_what_is_there_at_the_start_is_collected_no_more() -> None:
    before = gc.get_threshold()
    try:
        host.settle()

        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] == host.GC_THRESHOLD
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
