"""Adapters to identity providers: each turns an answer of theirs into an ``Identity``.

    ways      what the control API needs of a connector, and how a login is refused
    oidc      OpenID Connect: people by browser or device, machines by their ID tokens
    github    members of GitHub teams; ``oauth`` is what both logins have in common
    saml      SAML 2.0
    local     the gateway's own users
    secrets   ``file:///path`` forms of secrets

asyncio and httpx; no mitmproxy, no boto3, no web framework.
"""
