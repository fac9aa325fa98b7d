"""Python's object stores as a program, configured by their environment alone.

    store_clients.py obstore|opendal|pyarrow|s3torch|minio-py
                     put BUCKET KEY <body | get BUCKET KEY >body | list BUCKET PREFIX
                     copy BUCKET FROM TO | delete BUCKET KEY | presign put|get BUCKET KEY

Each knows the verbs that its library has. What stands between ``docs: NAME`` and ``docs: end``
is printed in docs/clients.md.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from typing import Any

REGION = os.environ.get("AWS_REGION", "us-east-1")
PART = 8 * 1024 * 1024


class Obstore:
    """object_store, the Rust library, which delta-rs and Polars use too."""

    def __init__(self, bucket: str) -> None:
        from obstore.store import S3Store

        # Without it, slashes and %-escapes in keys are read as parts of a path.
        self.store = S3Store(bucket, region=REGION, virtual_hosted_style_request=True)

    def put(self, key: str, body: bytes) -> None:
        self.store.put(key, body, chunk_size=PART, use_multipart=len(body) > PART)

    def get(self, key: str) -> bytes:
        return bytes(self.store.get(key).bytes())

    def list(self, prefix: str) -> list[str]:
        return [str(item["path"]) for page in self.store.list(prefix or None) for item in page]

    def copy(self, key: str, to: str) -> None:
        self.store.copy(key, to)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def presign(self, verb: str, key: str) -> str:
        import obstore

        how: Any = verb.upper()
        return obstore.sign(self.store, how, key, timedelta(minutes=5))


class OpenDal:
    """Apache OpenDAL, a Rust library."""

    def __init__(self, bucket: str) -> None:
        import opendal

        self.store: Any = opendal.Operator(
            "s3", bucket=bucket, region=REGION, root="/", enable_virtual_host_style="true"
        )

    def put(self, key: str, body: bytes) -> None:
        self.store.write(key, body, chunk=PART)

    def get(self, key: str) -> bytes:
        return bytes(self.store.read(key))

    def list(self, prefix: str) -> list[str]:
        return [each.path for each in self.store.list(prefix, recursive=True)]

    def copy(self, key: str, to: str) -> None:
        self.store.copy(key, to)

    def delete(self, key: str) -> None:
        self.store.delete(key)


class PyArrow:
    """The AWS SDK for C++, as Arrow builds it in."""

    def __init__(self, bucket: str) -> None:
        # (docs: pyarrow)
        from pyarrow.fs import S3FileSystem

        s3 = S3FileSystem(
            region=REGION,
            proxy_options=os.environ["HTTPS_PROXY"],
            tls_ca_file_path=os.environ["SSL_CERT_FILE"],
        )
        # (docs: end)
        self.store, self.bucket = s3, bucket

    def put(self, key: str, body: bytes) -> None:
        with self.store.open_output_stream(f"{self.bucket}/{key}", buffer_size=PART) as stream:
            stream.write(body)

    def get(self, key: str) -> bytes:
        with self.store.open_input_stream(f"{self.bucket}/{key}") as stream:
            return bytes(stream.read())

    def list(self, prefix: str) -> list[str]:
        from pyarrow.fs import FileSelector

        found = self.store.get_file_info(FileSelector(self.bucket, recursive=True))
        keys = [info.path.removeprefix(f"{self.bucket}/") for info in found if info.is_file]
        return [key for key in keys if key.startswith(prefix)]

    def copy(self, key: str, to: str) -> None:
        self.store.copy_file(f"{self.bucket}/{key}", f"{self.bucket}/{to}")

    def delete(self, key: str) -> None:
        self.store.delete_file(f"{self.bucket}/{key}")


class S3Torch:
    """Mountpoint's client over the AWS Common Runtime."""

    def __init__(self, bucket: str) -> None:
        from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

        self.store = MountpointS3Client(region=REGION, user_agent_prefix="conformance")
        self.bucket = bucket

    def put(self, key: str, body: bytes) -> None:
        stream = self.store.put_object(self.bucket, key)
        stream.write(body)
        stream.close()

    def get(self, key: str) -> bytes:
        return b"".join(self.store.get_object(self.bucket, key))

    def list(self, prefix: str) -> list[str]:
        pages = self.store.list_objects(self.bucket, prefix)
        return [item.key for page in pages for item in page.object_info]

    def copy(self, key: str, to: str) -> None:
        self.store.copy_object(self.bucket, key, self.bucket, to)

    def delete(self, key: str) -> None:
        self.store.delete_object(self.bucket, key)


class MinioPy:
    """minio-py."""

    def __init__(self, bucket: str) -> None:
        # (docs: minio-py)
        import urllib3
        from minio import Minio
        from minio.credentials import EnvAWSProvider

        s3 = Minio(
            endpoint="s3.amazonaws.com",
            region=REGION,
            credentials=EnvAWSProvider(),
            http_client=urllib3.ProxyManager(
                os.environ["HTTPS_PROXY"], ca_certs=os.environ["SSL_CERT_FILE"]
            ),
        )
        # (docs: end)
        self.store, self.bucket = s3, bucket

    def put(self, key: str, body: bytes) -> None:
        import io

        self.store.put_object(self.bucket, key, io.BytesIO(body), len(body), part_size=PART)

    def get(self, key: str) -> bytes:
        answer = self.store.get_object(bucket_name=self.bucket, object_name=key)
        return bytes(answer.read())

    def list(self, prefix: str) -> list[str]:
        found = self.store.list_objects(self.bucket, prefix=prefix, recursive=True)
        return [str(item.object_name) for item in found]

    def copy(self, key: str, to: str) -> None:
        from minio.commonconfig import CopySource

        self.store.copy_object(self.bucket, to, CopySource(self.bucket, key))

    def delete(self, key: str) -> None:
        self.store.remove_object(self.bucket, key)

    def presign(self, verb: str, key: str) -> str:
        return str(self.store.get_presigned_url(verb.upper(), self.bucket, key))


STORES: dict[str, Any] = {
    "obstore": Obstore,
    "opendal": OpenDal,
    "pyarrow": PyArrow,
    "s3torch": S3Torch,
    "minio-py": MinioPy,
}


def main() -> None:
    """Do what the arguments say."""
    library, verb, *names = sys.argv[1:]
    kind = [names.pop(0)] if verb == "presign" else []
    bucket, *keys = names
    store = STORES[library](bucket)
    if verb == "put":
        store.put(*keys, sys.stdin.buffer.read())
    elif verb == "get":
        sys.stdout.buffer.write(store.get(*keys))
    elif verb in ("list", "presign"):
        print(json.dumps(getattr(store, verb)(*kind, *keys)))
    else:
        getattr(store, verb)(*keys)


if __name__ == "__main__":
    main()
