# ruff: noqa: E501 - lists, closely set
"""What may be wrong with a request: every row of it once did harm to some proxy.

Lists of texts, chosen from by ``generate``. ``{n}`` is the length of the body, ``{x}``
that in hex, ``{value}`` what stood there before.
"""

from __future__ import annotations

INNER = "GET /inner HTTP/1.1\r\nHost: fuzz-bucket.s3.us-east-1.amazonaws.com\r\n\r\n"
OTHERS = (
    "evil.example.com", "169.254.169.254", "iam.amazonaws.com", "127.0.0.1",
    "s3.amazonaws.com.evil.example.com", "evil.example.com#s3.amazonaws.com",
    "lambda.us-east-1.amazonaws.com@evil.example.com",
)  # fmt: skip

LENGTHS = (
    "+{n}", "-{n}", "0{n}", " {n} ", "{n},{n}", "{n}, 0", "0", "0x{x}", "{x}h", "{n}.0", "1e1",
    "", "\t{n}", "{n}\0", "{n}\r", "{n} {n}", "{n};", "99999999999999999999", "1_0", "\xb2", "{n}\x0b",
    "18446744073709551616", "-1", "4294967296",
)  # fmt: skip
CODINGS = (
    "chunked", "Chunked", "CHUNKED", "xchunked", "chunked, chunked", "gzip, chunked",
    "chunked, gzip", "identity", "chunked, identity", "identity, chunked", " chunked", "\tchunked",
    "chunked\t", "chunked ", "chunked;q=1", "\"chunked\"", "chunked\0", "\x0bchunked", "chunked\r",
    "chunk", "", ",chunked", "chunked,", "c\r\n hunked", "\r\n chunked", "gzip", "trailers",
)  # fmt: skip
FRAMING_NAMES = (
    "{}: ", "{}:", "{} : ", "{}\t: ", " {}: ", "\t{}: ", "{}\0: ", "{}\r: ", "{}_: ", "X: y\r{}: ",
    "X: y\n{}: ", "X: y\r\n{}: ", "{}\x0b: ", "{}\xa0: ", "\xa0{}: ", "{}:\r\n ", "{}:\n ", "{};: ",
)  # fmt: skip
"""Around Transfer-Encoding and Content-Length."""

LINES = (
    "Host: evil.example.com", "Host:", "host: {host}", "HOST: {host}", "Host : {host}",
    "Host: {host}:443", "Host: {host}.", " Host: evil.example.com", "Host: {host}, evil.example.com",
    "Authorization: AWS4-HMAC-SHA256 x", "Authorization: Basic eDp5", "authorization: ",
    "X-Forwarded-Host: {host}", "X-Forwarded-Host: evil.example.com", "X-Forwarded-Host:",
    "X-Forwarded-Host: iam.amazonaws.com", "x-forwarded-host: iam.amazonaws.com",
    "X-Forwarded-Host: {host}, iam.amazonaws.com", "X-Forwarded-Host: https://{host}",
    "X-Forwarded-Host: {host}/", "X-Forwarded-Host: {host}:443", "X-Forwarded-Host: {host}:8443",
    "X-Forwarded-Host: {host}.", "X-Forwarded-Host: user@{host}", "X-Forwarded-Host: {host}?x",
    "X-Forwarded-Host: {other}", "x-forwarded-host: {other}", "Host: {other}", "Host: {other}:443",
    "Connection: x-amz-meta-a, content-language", "Connection: close, x-amz-meta-a",
    "X_Forwarded_Host: iam.amazonaws.com", "X-Original-Host: evil.example.com",
    "X-Host: evil.example.com", "Forwarded: host=evil.example.com", "X-Forwarded-Proto: http",
    "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method: DELETE", "X-Method-Override: PUT",
    "Connection: authorization", "Connection: close", "Connection: keep-alive", "Connection: host",
    "Connection: x-amz-date, x-amz-security-token", "Connection: content-length",
    "Connection: transfer-encoding", "Connection: x-amz-content-sha256", "Connection: ,,",
    "Connection: upgrade", "Keep-Alive: timeout=5", "Proxy-Connection: close",
    "Proxy-Authorization: Basic eDp5", "TE: trailers", "Trailer: Content-Length", "Via: 1.1 x",
    "Expect: 100-continue", "Expect: 200-ok", "expect: 100-Continue", "Expect: 100-continue, x",
    "Upgrade: h2c", "Upgrade: websocket", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Upgrade: TLS/1.0", "Range: bytes=0-0", "If-None-Match: *",
    "X-Amz-Date: 20200101T000000Z", "X-Amz-Meta-Unsigned: 1", "X-Amz-Security-Token: other",
    "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD", "X-Amz-Copy-Source: /other/key", "X-Amz-Acl: public-read",
    "x-amz-target: DynamoDB_20120810.DeleteTable", "X-Amz-Meta-A: 1\r\n 2", "Date: Mon, 1 Jan 2020",
    "X-Fold: a\r\n b", "X-Fold: a\r\n\tb", "X-Fold:\r\n Transfer-Encoding: chunked", " folded: first",
    "X-Nul: a\0b", "X-Cr: a\rb", "X-Lf: a\nHost: evil.example.com", "X-Ctl: \x01\x7f",
    "X-Utf: \xc3\xa9\xe2\x82\xac", "X-\xc3\xa9: 1", ": no name", "no colon", "X (y): z", "X\x00Y: z",
    "X-Long: " + "a" * 9000, "X-Longer: " + "a" * 66_000, "a" * 9000 + ": x", "\r", "X-Tab:\ta\t",
    "Content-Type: text/plain", "Content-Encoding: aws-chunked", "Content-MD5: x", "Cookie: a=b",
)  # fmt: skip

HOSTS = (
    "{value}:443", "{value}.", "{value}..", "{value}:80", "{value}:", "{value}:0443", "{value}:443:443",
    "user@{value}", "{value}@evil.example.com", "{value},evil.example.com", "{value} evil.example.com",
    "[{value}]", "https://{value}", "{value}/", "{value}%2e", "{value}\0", ".{value}", "x.{value}", "",
    "\xff{value}", "{value}#", "{value}\tx", *OTHERS,
)  # fmt: skip
NAMES = (
    "Authorization", "X-Amz-Date", "X-Amz-Content-SHA256", "X-Forwarded-Host", "Content-Type",
    "X-Amz-Security-Token",
)  # fmt: skip
VALUES = (
    "{value} ", "{value},{value}", "{value}\0", "\t{value}", "{value}x", "", "{value}\r\n ",
    "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "{value}\r", "\xff{value}",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", *HOSTS[:6],
)  # fmt: skip
STARTS = (
    "{method} {target} HTTP/1.0", "{method} {target} HTTP/0.9", "{method} {target} HTTP/2.0",
    "{method} {target} HTTP/1.10", "{method} {target} http/1.1", "{method} {target} HTTP/1.1 ",
    "{method} {target}", "{method}  {target} HTTP/1.1", "{method} {target}  HTTP/1.1",
    "{method}\t{target}\tHTTP/1.1", " {method} {target} HTTP/1.1", "{method} {target}\0 HTTP/1.1",
    "{method} {target} HTTP/1.1\r", "{method} {target} x HTTP/1.1", "{method} {target}# HTTP/1.1",
    "{method} {target}#/../x HTTP/1.1", "{method} {target}?x HTTP/1.1", "{method} {target}&x=1 HTTP/1.1",
    "{method} {target}%00 HTTP/1.1", "{method} {target}/.. HTTP/1.1", "{method} {target};x HTTP/1.1",
    "{method} {target}/ HTTP/1.1", "{method} /{target} HTTP/1.1", "{method} /x/..{target} HTTP/1.1",
    "{method} /.{target} HTTP/1.1", "{method} /%2e%2e{target} HTTP/1.1", "{method} \\{target} HTTP/1.1",
    "{method} https://{host}{target} HTTP/1.1", "{method} http://{host}{target} HTTP/1.1",
    "{method} https://evil.example.com{target} HTTP/1.1", "{method} //evil.example.com{target} HTTP/1.1",
    "{method} http://169.254.169.254/latest/ HTTP/1.1", "{method} @evil.example.com{target} HTTP/1.1",
    "{method} {host}:443 HTTP/1.1", "{method} * HTTP/1.1", "{method} ?{target} HTTP/1.1",
    "{method} {target}\xc3\xa9 HTTP/1.1", "get {target} HTTP/1.1", "DELETE {target} HTTP/1.1",
    "PUT {target} HTTP/1.1", "HEAD {target} HTTP/1.1", "TRACE {target} HTTP/1.1",
    "OPTIONS {target} HTTP/1.1", "CONNECT {host}:443 HTTP/1.1", "CONNECT evil.example.com:443 HTTP/1.1",
    "{method}{target} HTTP/1.1", "POST\0 {target} HTTP/1.1", "{method} {target}\rX: y HTTP/1.1",
    "{method} {target} HTTP/1.1\nX: y", "{method} {target}?X-Amz-Signature=x HTTP/1.1",
    "{method} {target}" + "a" * 40_000 + " HTTP/1.1", "\xff{method} {target} HTTP/1.1",
)  # fmt: skip

SIZES = (
    "{:x}", "{:X}", "000{:x}", "+{:x}", "-{:x}", "0x{:x}", " {:x}", "{:x} ", "{:x}\t", "{:x};a=b",
    "{:x};a=\"b\r\n\"", "{:x} ; a", "{:x};\n", "{:x}\n", "{:x}\r", "{:x}_0", "{:x}g", "{:x}.0", "{:x}\0",
    "{:x};" + "a" * 5000, "1{:016x}", "0000000000000000000{:x}", "f" * 16, "", "{:x},", "{:d}h", "ffffffff",
    "1", "3", "ff", "7fffffff", "{:x}\x0b", "\xb2", "{:x};a\nX: y", "\t{:x}",
)  # fmt: skip
LAST = (
    "\r\n", "", "\n", "\r", "X-Trailer: 1\r\n\r\n", "Host: evil.example.com\r\n\r\n", "\r\r\n",
    "Content-Length: 5\r\n\r\n", "X: 1\n\r\n", "x", " \r\n\r\n", "0\r\n\r\n", "Authorization: x\r\n\r\n",
    "x-amz-checksum-crc32: AAAAAA==\r\n\r\n", "\0\r\n",
)  # fmt: skip

EOLS = (
    "\n",
    "\r",
    "\r\r\n",
    "\n\r",
    "\r\n\r\n",
    "\r\n ",
    "\n\n",
    " \r\n",
    "\0\r\n",
    "",
    "\x0b",
    "\x85",
    "\u00a0\r\n",
)
ODD = (
    "\r", "\n", "\r\n", "\0", " ", "\t", ":", ";", ",", "\xff", "0", "9", "f", "\r\n\r\n", "0\r\n\r\n",
    "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.0", "%2f",
    "%00", "../", "?", "#", "&", "//", "%", "\x0b", "\xc2\xa0", "\r\n ", INNER,
)  # fmt: skip

JUNK = (
    "\r\n", "\n", "\r\n\r\n\r\n", "\0\0\0\0", " ", "GET / HTTP/1.1\r\n\r\n", INNER, "x",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "\x16\x03\x01\0\xf4\1\0\0\xf0\3\3", "SSH-2.0-x\r\n", "\5\1\0", "GET /\r\n", "0\r\n\r\n", "5\r\nhello\r\n",
    "CONNECT evil.example.com:443 HTTP/1.1\r\nHost: evil.example.com:443\r\n\r\n",
    "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
    "CONNECT s3.amazonaws.com:443 HTTP/1.1\r\nHost: s3.amazonaws.com\r\n\r\n",
    "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: sqs.us-east-1.amazonaws.com\r\nContent-Length: 10\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\nHost: ",
)  # fmt: skip

AWS_SIZES = (
    "0{x}", "000000{x}", "0000000000000000{x}", "+{x}", "-{x}", "0x{x}", " {x}", "{x} ", "{x}\t",
    "1{x}", "f{x}", "0", "", "ffffffff", "100000000", "ffffffffffffffff", "10000000000000000",
    "{x}\r\n{x}", "{x}_", "{x}\0", "{x}\n", "{x};a=b",
)  # fmt: skip
"""Sizes of aws-chunked chunks, {x} being the right one."""
AWS_MORE = (
    ";a=b", ";chunk-signature=" + "0" * 64, " ", "\t", "0", "\0", "\n", "\r", ", x", "A" * 300,
    ";" * 40,
)  # fmt: skip
AWS_ENDS = (
    "\r\n", "x", "0\r\n\r\n", "5\r\nhello\r\n", INNER, "x-amz-checksum-crc32:AAAAAA==\r\n\r\n",
    "x-amz-meta-a:b\r\n\r\n", "\0" * 40,
)  # fmt: skip

PATHS = (
    "", "/", "//", "/a b".replace(" ", "%20"), "/a+b", "/%2F", "/%2e%2e/x", "/../x", "/./x", "/a;b=c",
    "/a:b", "/a=b", "/%C3%A9", "/%25", "/a,b", "/(x)!*'~", "/$&", "?a=b", "?a", "?a=b&a=c", "?a=b%3Fc",
    "?b=1&a=2", "?a=%2F", "?a=", "?versionId=x", "?list-type=2&prefix=a%2Fb", "/x?a=%26b", "/@x",
)  # fmt: skip
