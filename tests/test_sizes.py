import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.sizes import parse_share, parse_size, share_of, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * 2**30),
        ("500MB", 500 * 10**6),
        ("1.5G", 1_500_000_000),
        ("1.5 gib", 3 * 2**29),
        (" 64 KiB ", 65536),
        (".5k", 500),
        ("12", 12),
        ("12B", 12),
        (4096, 4096),
        ("1T", 10**12),
        ("2Pi", 2 * 2**50),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "two", "2 pounds", "-1G", "0", "0.1", "1e9", "GiB", "1 2", "2GiBB", "inf", "1,5G"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="expected a size such as 2GiB or 500MB, found ") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * 2**30, "1.5 GiB"), (200 * 2**20, "200 MiB")],
)
def test_sizes_are_shown(size, text):
    assert show_size(size) == text


@settings(deadline=None, max_examples=50)
@given(st.integers(min_value=1, max_value=2**60))
def test_a_size_that_is_shown_can_be_read(size):
    assert parse_size(show_size(size)) == pytest.approx(size, rel=0.06)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("0", 0),
        ("5", 5),
        ("10%", 0.1),
        ("0.1", 0.1),
        (".5", 0.5),
        ("100%", 1.0),
        ("2.5%", 0.025),
        ("1.0", 1.0),
        ("0%", 0),
    ],
)
def test_shares_are_read(text, share):
    found = parse_share(text)
    assert found == share
    assert isinstance(found, int) == text.isdecimal()


@pytest.mark.parametrize("text", ["", "some", "-1", "1.5", "101%", "%", "10 %%", "1e-3", "."])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="expected a number such as 5, or a share such as 10%"):
        parse_share(text)


def test_a_share_of_a_hundred_is_its_percents():
    assert [share_of(parse_share(f"{n}%"), 100) for n in range(101)] == list(range(101))
    assert [share_of(parse_share(f"{n / 10}%"), 1000) for n in range(1000)] == list(range(1000))
    assert share_of(5, 3) == 5
