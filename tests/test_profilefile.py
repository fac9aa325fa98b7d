"""The AWS config file: ours goes in and comes out, and everything else stays to the byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import botocore.configloader
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.profilefile import ENCODING, Damaged, Taken, profiles_in, with_profiles

OURS = {
    "test-ReadOnly": {"credential_process": "/x/awsgate credentials --app 'a b'", "region": "r"},
    "prod-Power": {"credential_process": "/x/awsgate credentials", "ca_bundle": "/c/a bundle"},
}
MORE = {**OURS, "third": {"region": "eu-west-1"}}

# Whatever may stand in such a file, broken lines and all.
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ["[default]", "[profile x]", "[profile y z]", "region = a", "# note", "\r\n", "\n\n",
             " nested =\n  a = b", "[sso-session s]", "\n", "[", "é", "# >>> awsgate"]
        ),
        st.text(max_size=20),
    ),
    max_size=8,
).map("\n".join)  # fmt: skip
BYTES = st.one_of(PIECES.map(str.encode), st.binary(max_size=60))


@given(BYTES)
def test_what_is_written_and_removed_leaves_the_very_bytes(raw: bytes) -> None:
    text = raw.decode(ENCODING)

    once = with_profiles(text, OURS)
    twice = with_profiles(once, MORE)

    assert profiles_in(once) == OURS
    assert with_profiles(once, OURS) == once
    assert profiles_in(twice) == MORE
    assert with_profiles(twice, {}).encode(ENCODING) == raw


@given(BYTES, BYTES)
def test_what_is_added_after_it_stays_too(before: bytes, after: bytes) -> None:
    written = with_profiles(before.decode(ENCODING), OURS) + after.decode(ENCODING)

    assert with_profiles(written, {}).encode(ENCODING).endswith(after)
    assert profiles_in(with_profiles(written, MORE)) == MORE
    assert with_profiles(with_profiles(written, MORE), {}) == with_profiles(written, {})


# Of UTF-8 whose bytes latin-1 takes for line ends and white space: \x85, \xa0, \x1c to \x1e.
ODD = st.text(
    st.one_of(st.sampled_from("\u00c5\u0445\u2026\u00e0\u0420 '=[]\t"), st.characters()), min_size=1
).map(lambda text: text.encode("utf-8", "replace").decode(ENCODING))


@given(BYTES, st.dictionaries(st.sampled_from(["region", "ca_bundle"]), ODD, min_size=1))
def test_what_is_written_is_read_again_whatever_it_holds(
    raw: bytes, settings: dict[str, str]
) -> None:
    try:
        once = with_profiles(raw.decode(ENCODING), {"odd": settings})
    except ValueError:
        return

    assert profiles_in(once) == {"odd": settings}
    assert with_profiles(once, profiles_in(once)) == once
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_bytes(with_profiles("", {"odd": settings}).encode(ENCODING))
        read = botocore.configloader.load_config(str(path))["profiles"]
    assert read == {"odd": {k: v.encode(ENCODING).decode() for k, v in settings.items()}}


def test_a_name_of_odd_bytes_stays_one_line() -> None:
    command = "x --app '\u00c5 credential_process = touch pwned && echo'"
    settings = {"credential_process": command.encode().decode(ENCODING)}

    assert profiles_in(with_profiles("", {"odd": settings})) == {"odd": settings}


BEFORE = "[default]\nregion = us-west-2\n[profile mine]\ns3 =\n  max_concurrent_requests = 2"


def test_botocore_reads_ours_and_the_owners() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_bytes(with_profiles(BEFORE, OURS).encode(ENCODING))
        profiles = botocore.configloader.load_config(str(path))["profiles"]

    assert {name: profiles[name] for name in OURS} == OURS
    assert profiles["default"] == {"region": "us-west-2"}
    assert profiles["mine"] == {"s3": {"max_concurrent_requests": "2"}}


TAKEN = ["[profile prod-Power]", '[profile "prod-Power"]', "[profile\tprod-Power ] # mine"]


@pytest.mark.parametrize("header", TAKEN)
def test_a_section_of_the_same_name_that_is_not_ours_is_left_alone(header: str) -> None:
    with pytest.raises(Taken) as caught:
        with_profiles(f"{header}\nregion = x\n", OURS)

    assert caught.value.names == ["prod-Power"]


def test_our_own_section_of_that_name_is_replaced() -> None:
    changed = {"prod-Power": {"region": "new"}}

    assert profiles_in(with_profiles(with_profiles(BEFORE, OURS), changed)) == changed


def damaged() -> dict[str, str]:
    whole = with_profiles(BEFORE + "\n", OURS)
    begin, end = (next(x for x in whole.splitlines(True) if x.startswith(m)) for m in
                  ("# >>> awsgate", "# <<< awsgate"))  # fmt: skip
    return {
        "no end": whole.replace(end, ""),
        "no beginning": whole.replace(begin, ""),
        "there twice": whole + whole,
        "the wrong way round": end + begin,
    }


@pytest.mark.parametrize("text", damaged().values(), ids=damaged())
def test_a_block_that_was_cut_is_not_guessed_at(text: str) -> None:
    for use in (profiles_in, lambda text: with_profiles(text, OURS)):
        with pytest.raises(Damaged):
            use(text)


BAD = {
    "a newline": ("p", "a\nb"),
    "a comment to some readers": ("p", "a #b"),
    "another": ("p", "a\t;b"),
    "nothing": ("p", ""),
    "a space at its end": ("p", "a "),
    "a name with a space": ("p q", "a"),
    "a name with a bracket": ("p]", "a"),
    "no name": ("", "a"),
    **{
        f"a line break to some readers, {char!r}": ("p", f"a{char}b".encode().decode(ENCODING))
        for char in "\x0b\x1c\x85\u2028"
    },
    "white space at its end": ("p", "a\u00a0".encode().decode(ENCODING)),
}


@pytest.mark.parametrize(("name", "value"), BAD.values(), ids=BAD)
def test_what_the_file_cannot_hold_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text names the setting
        with_profiles("", {name: {"region": value}})
