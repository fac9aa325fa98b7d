"""The control API: people and machines log in, get credentials, and are locked out.

    server     TLS, limits of connections, the thread it runs in
    app        routes, size limits, headers, errors; ``openapi`` describes the same table
    logins     POST /v1/login/...: in a browser, by device, password, token
    callbacks  where browsers come back from the provider
    account    what a login is good for: whoami, roles, credentials, logout
    console    a way into AWS's console; ``access`` access requests
    operators  locks and status, for roles with options.gateway_admin
    desk       who is let in, as whom, for how long: the rules of the API, no HTTP
    choosing   what somebody means by an app and a role, of those that they may have
    connectors documents of the policy -> connectors, made when they are first needed
    certificates  TLS client certificates -> identities
    waiting    logins that have begun; ``attempts`` how many somebody may begin
    records    one audit line and one count a login
    page       the web page, for browsers

Served beside the proxy by the parent of ``awsgate run``, or by the addon under mitmdump,
in a thread with an event loop of its own: nothing here may hold up a request to AWS. The
proxy's processes and the API share nothing in memory but the policy in force; what ends a
login is a lock in the state folder, which all of them read.
"""
