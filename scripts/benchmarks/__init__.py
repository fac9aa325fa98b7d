"""What ``scripts/bench`` measures; ``__main__`` says how it is asked.

    world       the server that stands for AWS and STS, in a process of its own
    contenders  what is compared, and how each is started
    client      the load generator: raw sockets, requests signed before the clock starts
    processes   CPU and memory of a contender, from /proc
    requests, streaming, memory, startup, policy, renewal   one measure each
    targets     which of the targets hold
    report      the table

The load generator is this package's own: no program at hand signs AWS requests and sends
them through CONNECT. Nothing is to be installed for it. It is not what is measured: CPU is
that of the contender's processes alone, and what it adds to a latency stands in the column
``direct``, where there is nothing but client and server.
"""
