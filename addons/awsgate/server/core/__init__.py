"""The core of ``awsgate run``: HTTP/1.1 and TLS of our own, the same hooks.

    head       the heads of requests and answers: read, judged, written      pure
    framing    bodies: by length, in chunks, to the end of the connection    pure
    tls        TLS over memory, leaf certificates, who an upstream must be
    flow       mitmproxy's value objects of what a client asks
    site       what all connections share
    listener   the sockets of the parent, all connections, the clock's tick
    near       the socket of a client: what is written when, and ways to end it
    client     one client connection: CONNECT, TLS, one request after the other
    exchange   one request: hooks, body, what goes upstream
    answering  its answer: from upstream or from the gate
    upstream   one connection to a server
    pool       idle ones, shared by all clients; how a new one is dialled
    relay      bytes both ways: tunnels and WebSockets
    words      what it says before there is a request

It stands in for mitmproxy's layers and connection handling in a worker. The gate, its
hooks, the tripwire and mitmproxy's value objects (flow, request, response) stay; the hooks
are called in the same order. Nothing is written to a server but a request that bears the
gate's stamp at that moment (``exchange``), and bytes of a tunnel or a WebSocket that the
gate let pass.
"""
