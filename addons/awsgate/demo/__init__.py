"""The main job on one machine: an embedded AWS, the real gateway, real clients.

    moto_server    the embedded AWS: moto with signature and IAM checks, and a record
    embedded_aws   starts it, and fills it with users, roles and things to ask for
    processes      starts the gateway through mitmdump, and clients with a clean environment
    story          what the demo does and shows
    serving        the embedded AWS and a gateway that stay, for calls of one's own

The end-to-end tests use the first three.
"""
