"""All calls of the API, in the order in which they are described."""

from __future__ import annotations

from awsgate.web import (
    access,
    accessshapes,
    account,
    console,
    logins,
    open_to_all,
    operators,
    shapes,
)
from awsgate.web.calls import Operation

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/v1/ping", "ping", "Say what the gateway is, and the ways in.",
        open_to_all.ping, shapes.Ping,
    ),
    Operation(
        "GET", "/v1/ca", "ca", "Give what clients trust.", open_to_all.ca, shapes.Ca,
    ),
    Operation(
        "POST", "/v1/login/browser", "loginBrowser", "Begin a login in a browser.",
        logins.browser, shapes.BrowserBegun, shapes.BrowserAsked, attempt=True,
    ),
    Operation(
        "POST", "/v1/login/code", "loginCode", "Fetch the login that a browser ended.",
        logins.code, shapes.LoggedIn, shapes.CodeAsked, attempt=True,
    ),
    Operation(
        "POST", "/v1/login/device", "loginDevice", "Begin a login on another device.",
        logins.device, shapes.DeviceBegun, shapes.DeviceAsked, attempt=True,
    ),
    Operation(
        "POST", "/v1/login/device/poll", "loginDevicePoll", "Fetch it, once it is confirmed.",
        logins.poll, shapes.LoggedIn, shapes.PollAsked, also={202: shapes.StillPending},
    ),
    Operation(
        "POST", "/v1/login/password", "loginPassword", "Log in a user of the gateway's own.",
        logins.password, shapes.LoggedIn, shapes.PasswordAsked, attempt=True,
    ),
    Operation(
        "POST", "/v1/login/invitation", "loginInvitation", "Set the first password.",
        logins.invitation, shapes.Invited, shapes.InvitationAsked, attempt=True,
    ),
    Operation(
        "POST", "/v1/login/id-token", "loginIdToken", "Log in a machine by its platform's token.",
        logins.id_token, shapes.LoggedIn, shapes.IdTokenAsked, attempt=True,
    ),
    Operation(
        "POST", "/v1/login/certificate", "loginCertificate",
        "Log in by the client certificate of the connection.",
        logins.certificate, shapes.LoggedIn, shapes.Nothing, attempt=True,
    ),
    Operation(
        "GET", "/v1/whoami", "whoami", "Say who the login is.",
        account.whoami, shapes.WhoAmI, needs="login",
    ),
    Operation(
        "GET", "/v1/roles", "roles", "List the roles that the caller may have.",
        account.roles, shapes.Roles, needs="login",
    ),
    Operation(
        "POST", "/v1/credentials", "credentials", "Issue credentials for one role.",
        account.credentials, shapes.Credentials, shapes.CredentialsAsked, needs="login",
    ),
    Operation(
        "POST", "/v1/console", "console", "Give a way into AWS's console as one role.",
        console.console, shapes.ConsoleOpened, shapes.ConsoleAsked, needs="login",
    ),
    Operation(
        "POST", "/v1/logout", "logout", "End the login and all its sessions.",
        account.logout, shapes.LoggedOut, needs="token",
    ),
    Operation(
        "GET", "/v1/requestable", "requestable", "List the roles that the caller may ask for.",
        access.requestable, accessshapes.RequestableRoles, needs="login",
    ),
    Operation(
        "GET", "/v1/requests", "requests", "List the access requests that concern the caller.",
        access.listed, accessshapes.AccessRequests, needs="login",
    ),
    Operation(
        "POST", "/v1/requests", "createRequest", "Ask for a role for a while.",
        access.create, accessshapes.AccessInfo, accessshapes.AccessAsked, needs="login", status=201,
    ),
    Operation(
        "GET", "/v1/requests/{id}", "request", "Give one access request.",
        access.show, accessshapes.AccessInfo, needs="login",
    ),
    Operation(
        "POST", "/v1/requests/{id}/review", "reviewRequest", "Answer a request of another's.",
        access.review, accessshapes.AccessInfo, accessshapes.ReviewAsked, needs="login",
    ),
    Operation(
        "POST", "/v1/requests/{id}/revoke", "revokeRequest",
        "Take a request back, or the role that it has given.",
        access.revoke, accessshapes.AccessInfo, shapes.Nothing, needs="login",
    ),
    Operation(
        "GET", "/v1/locks", "locks", "List the locks.",
        operators.locks, shapes.Locks, needs="admin",
    ),
    Operation(
        "POST", "/v1/locks", "addLock", "Lock somebody out.",
        operators.add_lock, shapes.LockInfo, shapes.LockAsked, needs="admin", status=201,
    ),
    Operation(
        "DELETE", "/v1/locks/{name}", "removeLock", "Take a lock away.",
        operators.remove_lock, shapes.Removed, needs="admin",
    ),
    Operation(
        "GET", "/v1/status", "status", "Say how the gateway is.",
        operators.status, shapes.Status, needs="admin",
    ),
)  # fmt: skip
