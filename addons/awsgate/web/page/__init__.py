"""The web page of the gateway, at ``/`` of the control API's server. For browsers alone.

    guard       cookies, the tokens of forms, whose request it is: no I/O
    site        a request read and checked; what goes wrong becomes a page
    routes      path -> handler
    rendering   templates, and the headers that go with them
    signing_in  sign in and out, and coming back from a provider
    catalogue   the apps and roles that somebody has, by account; no HTTP
    apps        the apps; launching AWS's console
    calls       what the gateway did for somebody, live
    requests    access requests: ask, see, answer
    attention   how many requests wait for somebody
    tail        the end of the audit log
    overview    for roles with options.gateway_admin: people, figures, locks, policy
    figures     metrics -> what a person reads

Nothing is built and nothing comes from elsewhere: templates, one style sheet, one script of
ours and htmx. Everything but the live parts works without scripts.

The page does what the API does, by the API's own handlers: it holds no rule of its own but
those that browsers need.
"""
