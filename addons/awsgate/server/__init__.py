"""``awsgate run``: a parent, its workers on one port, and the lean host in each worker.

    parent      binds the port, starts workers and keeps them alive, passes signals on
    broker      one cache of role credentials for all workers, in the parent
    worker      one process: mitmproxy's core with only the addons that a gateway needs
    connection  a client connection of the lean host: hooks called in place, time-outs
    notify      systemd: sockets handed down, readiness

The gate, its hooks and the tripwire are those of ``mitmdump -s addons/awsgate.py``.
"""
