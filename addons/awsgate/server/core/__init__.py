"""The faster core of ``awsgate run``: HTTP/1.1 and TLS of our own, the same hooks.

    head       the heads of requests and answers: read, judged, written      pure
    framing    bodies: by length, in chunks, to the end of the connection    pure
    tls        TLS over memory, leaf certificates, who an upstream must be
    listener   the sockets of the parent, all connections, the clock's tick
    client     one client connection: CONNECT, TLS, one request after the other
    exchange   one request: hooks, body, what goes upstream
    answering  its answer: from upstream or from the gate
    upstream   one connection to a server
    pool       idle ones, shared by all clients; how a new one is dialled
    relay      bytes both ways: tunnels and WebSockets

It stands in for mitmproxy's layers and connection handling in a worker. The gate, its
hooks, the tripwire and mitmproxy's value objects (flow, request, response) stay; the hooks
are called in the same order. Nothing is written to a server but a request that bears the
gate's stamp at that moment (``exchange``), and bytes of a tunnel or a WebSocket that the
gate let pass.
"""
