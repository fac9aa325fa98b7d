"""What a login is good for: who am I, which roles, credentials; and its end."""

from __future__ import annotations

import asyncio

from awsgate.session import Bounds
from awsgate.web.calls import Call
from awsgate.web.choosing import Asked as Wanted
from awsgate.web.shapes import Answer, Credentials, LoggedOut, RoleInfo, Roles, WhoAmI


async def whoami(call: Call) -> WhoAmI:
    """Say who the login is."""
    who = call.who
    return WhoAmI(
        id=who.login.id,
        user=who.login.user,
        connector=who.login.facts.connector,
        roles=list(who.roles),
        issued_at=who.login.issued_at,
        expires_at=who.login.expires_at,
        gateway_admin=call.api.desk.is_admin(who),
    )


async def roles(call: Call) -> Answer:
    """List the roles that the caller may have."""
    who = call.who
    found = await call.api.lists.run(who.login.user, lambda: call.api.desk.roles(who))
    return Roles(roles=[RoleInfo(**one) for one in found])


async def credentials(call: Call) -> Answer:
    """Issue credentials."""
    api, asked, who = call.api, call.asked, call.who
    wanted = Wanted(
        app=asked.app,
        role=asked.role,
        ttl_s=asked.ttl_s,
        bounds=Bounds(read_only=asked.read_only, max_requests=asked.max_requests),
    )
    issued = await api.lists.run(who.login.user, lambda: api.desk.issue(who, wanted))
    await api.records.issued(who.login, issued, call.client)
    keys, session = issued.keys, issued.session
    return Credentials(
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
        expires_at=keys.expires_at,
        user=session.user,
        app=session.app,
        role_arn=session.role_arn,
        proxy_password=issued.proxy_password,
    )


async def logout(call: Call) -> Answer:
    """End the login, and all sessions of it."""
    api = call.api
    login = api.desk.opened_ended(call.token)
    await asyncio.to_thread(api.desk.end, login)
    await api.records.logged_out(login, call.client)
    return LoggedOut(id=login.id)
