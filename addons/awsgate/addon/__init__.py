"""The mitmproxy driver: the only importer of mitmproxy.

entry       what `mitmdump -s addons/awsgate.py` loads
host        the host settings: set, verified, refused if unsafe
tripwire    nothing without the gate's stamp reaches a server
tunnels     CONNECT: intercept, tunnel or refuse
hooks       one request through the gate, hook by hook
flows       mitmproxy's flow <-> the gate's values
record      one audit line and the metrics of each request
patches     every patch of mitmproxy's inside, each guarded
"""
