"""Checks of a set-up: what is wrong, why it matters, and the command that mends it.

    finding       what a check says
    environment   variables of a ``shell`` that get in the way of clients; ``trust``: its CA
    clientfiles   ~/.aws/config and ~/.aws/credentials
    files         policy, CA, session key, audit
    passage       the gateway itself, asked as a client asks it
    accounts      awsgate's own credentials and each role; ``assuming`` why AWS says no
    tools         programs on PATH that need a setting of their own
    gather        the facts on this machine; ``connect`` those of the gateway, ``asking`` AWS's

    examine       all of it, in parallel, in seconds

The checks are pure: facts in, findings out. What gathers the facts changes nothing. No
secret is in any finding; an external id is none to AWS, and is in the fix that needs it.
"""
