"""What the gateway ahead answers, where calls are handed to one.

Its refusals pass as they are: they are shaped for the call already. Here they are told from
AWS's own answers, for the audit; and credentials that it does not take any more are
forgotten, so that the next call asks for new ones, or hears that the login has ended.

AWS says nothing in headers of ours, so an answer of AWS's that does is not believed.
"""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache
from mitmproxy import http

from awsgate.addon.chained import proxy_authorization
from awsgate.addon.record import Trace
from awsgate.addon.tunnels import Route
from awsgate.aws.endpoint import looks_like_aws
from awsgate.credentials import AwsCredentials
from awsgate.errors import Code, Refusal
from awsgate.nextgateway import NextGateway
from awsgate.session import session_name_for
from awsgate.wiring import Gateway

CODE = "x-awsgate-code"
# A lock ahead lasts, and each request that it refuses would ask for credentials again.
_FORGET_EVERY_S = 10.0
_WORTHLESS = frozenset({Code.SESSION_EXPIRED, Code.UNKNOWN_KEY, Code.LOCKED})
_KNOWN = {code.value: code for code in Code}


def _trust_nothing_new(_: str) -> None:
    """Stand in where there is no proxy server."""


class Ahead:
    """Sees that it is the gateway of the login, and looks at what it answers."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.trust: Callable[[str], None] = _trust_nothing_new
        """Makes a file of roots the one that servers are proved by. Set by the entry."""
        self._last: AwsCredentials | None = None
        self._forgot: TTLCache[tuple[str, str], bool] = TTLCache(1024, _FORGET_EVERY_S)

    def prove(self) -> None:
        """Have it proved by the root of the login, as that is now."""
        if self.gateway.ahead is not None:
            self.trust(self.gateway.ahead.root())

    def used(self, held: AwsCredentials) -> None:
        """Remember whose credentials served a call: tunnels are theirs."""
        if held.proxy_password:
            self._last = held

    def through(self, route: Route | None) -> NextGateway | None:
        """Give the gateway ahead, if a tunnel goes by it: those to AWS do. None: straight."""
        aws = route is not None and looks_like_aws(route.host)
        return self.gateway.ahead if aws else None

    def authorization(self, now: float) -> bytes:
        """Give Proxy-Authorization for a tunnel there. Empty: nobody has called yet."""
        return proxy_authorization(self._last, now)

    def note(self, flow: http.HTTPFlow, trace: Trace) -> None:
        """Read from the head of an answer whether the gateway ahead refused the call."""
        response, plan = flow.response, trace.plan
        if response is None or plan is None or plan.order is not None:
            return
        if plan.hop is None:
            if CODE in response.headers:
                del response.headers[CODE]
            return
        code = _KNOWN.get(response.headers.get(CODE, ""))
        if code is None or response.status_code < 400:
            return
        trace.refused_ahead = code
        if code in _WORTHLESS and plan.issued is None:
            self._forget(plan.role_arn, session_name_for(plan.user))

    def _forget(self, role_arn: str, session_name: str) -> None:
        about = role_arn, session_name
        if about not in self._forgot:
            self._forgot[about] = True
            self.gateway.credentials.forget(role_arn=role_arn, session_name=session_name)


def failed(gateway: Gateway, host: str, cause: str) -> Refusal:
    """Give the refusal for a server that could not be reached, or broke off."""
    ahead = gateway.ahead
    if ahead is None:
        return Refusal(
            Code.UPSTREAM_FAILED,
            f"{host} could not be reached or broke off: {cause}",
            hint="the request may be retried",
        )
    if "certificate" in cause.lower():
        return Refusal(
            Code.UPSTREAM_FAILED,
            f"the gateway {ahead.name} does not prove to be the one of the login: {cause}",
            hint="if it has a new certificate (awsgate ca show there tells its pin), log in "
            f"again: {ahead.login_hint}",
        )
    return Refusal(
        Code.UPSTREAM_FAILED,
        f"the gateway {ahead.name} could not be reached or broke off: {cause}",
        hint="the request may be retried",
    )
