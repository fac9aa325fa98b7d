"""Operations that AWS takes without a signature: sign-in, and identities from elsewhere.

Their callers have no AWS credentials yet; they come to get some. What they bring
along (a bearer token, an OIDC token, a SAML assertion) is AWS's to check.

Source: botocore's models, ``authtype: none`` (``tests/aws/test_unsigned.py`` compares
every operation of every service with this table).
"""

from __future__ import annotations

from awsgate.aws.endpoint import Endpoint

_COGNITO_IDP = """
AssociateSoftwareToken ChangePassword CompleteWebAuthnRegistration ConfirmDevice
ConfirmForgotPassword ConfirmSignUp DeleteUser DeleteUserAttributes
DeleteWebAuthnCredential ForgetDevice ForgotPassword GetDevice GetTokensFromRefreshToken
GetUser GetUserAttributeVerificationCode GetUserAuthFactors GlobalSignOut InitiateAuth
ListDevices ListUserSessions ListWebAuthnCredentials ResendConfirmationCode
RespondToAuthChallenge RevokeToken RevokeUserSession SetUserMFAPreference
SetUserSettings SignUp StartWebAuthnRegistration UpdateAuthEventFeedback
UpdateDeviceStatus UpdateUserAttributes VerifySoftwareToken VerifyUserAttribute
"""

# By the service's signing name: those that X-Amz-Target or Action names.
NAMED: dict[str, frozenset[str]] = {
    "cognito-identity": frozenset(
        {"GetCredentialsForIdentity", "GetId", "GetOpenIdToken", "UnlinkIdentity"}
    ),
    "cognito-idp": frozenset(_COGNITO_IDP.split()),
    "sts": frozenset({"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}),
}

# Those that method and path name: (signing name, method, path) -> operation.
ROUTED: dict[tuple[str, bytes, bytes], str] = {
    ("awsssoportal", b"GET", b"/federation/credentials"): "GetRoleCredentials",
    ("awsssoportal", b"GET", b"/assignment/roles"): "ListAccountRoles",
    ("awsssoportal", b"GET", b"/assignment/accounts"): "ListAccounts",
    ("awsssoportal", b"POST", b"/logout"): "Logout",
    ("sso-oauth", b"POST", b"/token"): "CreateToken",
    ("sso-oauth", b"POST", b"/client/register"): "RegisterClient",
    ("sso-oauth", b"POST", b"/device_authorization"): "StartDeviceAuthorization",
    ("signin", b"POST", b"/v1/token"): "CreateOAuth2Token",
}


def unsigned_operation(found: Endpoint, *, method: bytes, path: bytes, named: str) -> str:
    """Give the operation, if it is one that goes without a signature, or nothing.

    ``path`` is the wire path without its query, ``named`` the operation that the
    envelope names (X-Amz-Target, Action), if any.
    """
    if named in NAMED.get(found.service, ()):
        return named
    return ROUTED.get((found.service, method, path), "")


def names_in_body(found: Endpoint) -> bool:
    """True if only the body says whether a request of this service is one of them."""
    return found.service == "sts"
