"""POST /v1/console: a way into AWS's console, for a login. The page launches by it, too.

The policy is that of the login, and the console session ends with the login at the latest.
Every attempt leaves an audit line, before the URL is given out.
"""

from __future__ import annotations

from awsgate.consoledesk import SignedIn, Wanted, record_of
from awsgate.errors import Code, Refusal
from awsgate.web.calls import Call
from awsgate.web.problems import Problem, problem_of
from awsgate.web.receiving import check_refusals
from awsgate.web.shapes import Answer, ConsoleOpened


async def console(call: Call) -> Answer:
    """Give the way in."""
    wanted, found = await signed_in(call)
    return ConsoleOpened(
        url=found.url,
        switching_url=found.switching_url,
        destination=found.page,
        expires_in=found.seconds,
        limited_by=found.because,
        user=wanted.user,
        app=wanted.app,
        role_arn=wanted.role_arn,
        account=found.account,
        session_name=found.session_name,
    )


async def signed_in(call: Call) -> tuple[Wanted, SignedIn]:
    """Sign the caller in. Raises ``Problem``, ``Refusal`` and ``SetupError``."""
    api, asked, who = call.api, call.asked, call.who
    way = api.console
    if way is None:
        raise Problem(
            400,
            Code.UNSUPPORTED.value,
            "this gateway hands its calls on, and has no console of its own",
            hint="ask the gateway ahead: awsgate console there",
        )
    who = api.desk.lasting(who.login)
    app, role_arn = await api.lists.run(
        who.login.user, lambda: api.desk.meant(who, asked.app, asked.role)
    )
    wanted = Wanted(
        user=who.login.user,
        app=app,
        role_arn=role_arn,
        service=asked.service,
        region=asked.region,
        destination=asked.destination,
        duration_s=asked.duration_s,
        login_ends_in_s=max(0, who.login.expires_at - int(api.clock())),
        client=call.address,
        issuer=f"{api.info.url}/",
    )
    try:
        found = await api.aws.run(wanted.user, lambda: way.sign_in(who.policy, wanted))
    except Refusal as exc:
        problem = problem_of(exc)
        check_refusals(api, call.address, who.login)
        record = record_of(wanted, exc)
        record.status = problem.status
        await api.records.console(who.login, record, call.client)
        problem.recorded = True
        raise problem from None
    record = record_of(wanted, found)
    record.status = 200
    await api.records.console(who.login, record, call.client)
    return wanted, found
