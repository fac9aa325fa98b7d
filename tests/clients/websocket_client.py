"""A signed WebSocket as a program: python-websockets, its URL signed by botocore.

    websocket_client.py HOST PATH SERVICE TEXT

Sends a text and prints what comes back. Proxy and CA are those of its environment.
"""

from __future__ import annotations

import sys

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from websockets.sync.client import connect


def main() -> None:
    """Do what the arguments say."""
    host, path, service, text = sys.argv[1:]
    request = AWSRequest("GET", f"https://{host}{path}")
    SigV4QueryAuth(Session().get_credentials(), service, "us-east-1", expires=60).add_auth(request)
    with connect(request.url.replace("https://", "wss://")) as socket:
        socket.send(text)
        sys.stdout.write(str(socket.recv(10)))


if __name__ == "__main__":
    main()
