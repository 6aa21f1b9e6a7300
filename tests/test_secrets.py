"""Credentials stay references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.errors import Mismatch
from hpcflow.secrets import ENDINGS, HINTS, IN_OPTIONS, WORDS, conceal, redact, redacted, references, reveal


def test_reveal(monkeypatch):
    monkeypatch.setenv("HPCFLOW_TEST_KEY", "hunter2/é+x")
    options = {"key": "${env:HPCFLOW_TEST_KEY}", "list": ["a-${env:HPCFLOW_TEST_KEY}"], "n": 3}
    assert references(options) == {"HPCFLOW_TEST_KEY"}
    assert reveal(options) == {"key": "hunter2/é+x", "list": ["a-hunter2/é+x"], "n": 3}
    shown = redact("no access with hunter2/é+x or hunter2%2F%C3%A9%2Bx or hunter2/%C3%A9%2Bx")
    assert "hunter2" not in shown
    assert shown.count("${env:HPCFLOW_TEST_KEY}") == 3


def test_a_missing_variable(monkeypatch):
    monkeypatch.delenv("HPCFLOW_TEST_KEY", raising=False)
    with pytest.raises(Mismatch, match="`HPCFLOW_TEST_KEY` to be set"):
        reveal("${env:HPCFLOW_TEST_KEY}")


def test_what_holds_no_reference_stays():
    assert reveal({"a": (1, None, "${name}")}) == {"a": (1, None, "${name}")}
    assert references(3) == set()


def test_passwords_within_urls_are_struck_out():
    assert (
        redact("no `https://me:pass@word.org/x` or s3://key@bucket") == "no `https://***@word.org/x` or s3://***@bucket"
    )
    assert redact("http://me:${env:WORD}@host/") == "http://me:${env:WORD}@host/"
    assert redact("mail me@host.org") == "mail me@host.org"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "http://h/x.npy?X-Amz-Signature=a1&X-Amz-Expires=60&x-amz-security-token=b%2F2",
            "http://h/x.npy?X-Amz-Signature=***&X-Amz-Expires=60&x-amz-security-token=***",
        ),
        ("http://h/x?GoogleAccessId=a&X-Goog-Signature=b1", "http://h/x?GoogleAccessId=a&X-Goog-Signature=***"),
        ("http://h/x?sv=2024&sp=r&sig=a%2Bb%3D&id=3", "http://h/x?sv=***&sp=***&sig=***&id=3"),
        ("http://h/x?sp=3&page=4", "http://h/x?sp=3&page=4"),
        ("http://h/x?AWSAccessKeyId=a&Signature=b", "http://h/x?AWSAccessKeyId=***&Signature=***"),
        ("http://h/x#access_token=a&key=b;code=c", "http://h/x#access_token=***&key=***;code=***"),
        ("http://h/x?q=9fK2mQ8zLp4RvT1yWc7N", "http://h/x?q=***"),
        ("http://h/x?id=9fK2mQ8zLp4RvT1yWc7N&name=IMG20240607123456", None),
        ("to=http%3A%2F%2Fh%3Fsig%3Dabc%26x%3D1", "to=http%3A%2F%2Fh%3Fsig%3D***%26x%3D1"),
        ("http://h/x?token=${token}&sig=${env:SIG}", None),
        ("params: {token: abc, secret: 'x y', k: 3}", "params: {token: '***', secret: '***', k: 3}"),
        ("  password: my long phrase  # mine", "  password: '***'  # mine"),
        ('{"access_token": "abc def", "n": 1}', '{"access_token": "***", "n": 1}'),
        ("-p token=abc -p client_secret=def", "-p token=*** -p client_secret=***"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': 'Basic ***'}"),
        ("AccountName=me;AccountKey=abc==;End=x", "AccountName=me;AccountKey=***;End=x"),
        ("found eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ, AKIAABCDEFGHIJKLMNOP", "found ***, ***"),
        ("sha256: 9fK2mQ8zLp4RvT1yWc7N9fK2mQ8zLp4RvT1yWc7N, high_pass: 3, tokens: 5, token: anon", None),
        ("tokens: {op: sum, of: token}, auth: null, key: image, expr: 'key == 3'", None),
    ],
)
def test_secrets_are_told_by_name_and_by_shape(text, shown):
    assert redact(text) == (text if shown is None else shown)


def test_what_is_secret_by_its_name_is_struck_out_wherever_it_stands():
    conceal({"token": "hunter2xyz", "size": 12345, "storage_options": {"key": "AcmeKey1", "client_kwargs": {"n": 1}}})
    conceal([{"path": "http://me:word77@h/x?sig=0123456789", "password": "one two-three"}, {"api_key": 1234567}])
    said = "hunter2xyz AcmeKey1 word77 0123456789 two-three 1234567"
    assert redact(f"no {said} 12345") == "no " + " ".join(["***"] * 6) + " 12345"
    params = {"token": 123, "n": 2, "storage_options": {"key": "a", "secret": "b"}, "key": "image", "access_key": True}
    shown = {"token": "***", "n": 2, "storage_options": {"key": "***", "secret": "***"}}
    assert redacted(params, options=True) == {**params, **shown, "key": "***"}
    # Among other values, a number or a table of such a name is none.
    assert redacted({"token": 1.5, "secret": {"a": "b"}, "password": "c"}) == {
        "token": 1.5,
        "secret": {"a": "b"},
        "password": "***",
    }


NAMES = ("token", "aws_secret_access_key", "X-Amz-Signature", "apiKey", "db_password", "clientSecret2", "Authorization")
FORMS = (
    "{0}: {1}",
    "{{{0}: {1}, b: 2}}",
    '{{"{0}": "{1}"}}',
    "h://h/x?a=1&{0}={1}&b=2",
    "-p {0}={1}",
    "{0}: '{1}' # x",
)


@given(
    st.sampled_from(NAMES),
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-_.~", min_size=5),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=4),
    st.sampled_from(["\n", " ", ", ", "\n  ", " and ", "; ", " | "]),
)
def test_no_secret_is_left_and_what_is_struck_out_stays_so(name, value, forms, between):
    secret = f"Zq{value}Zq"
    text = between.join(form.format(name, secret) for form in forms)
    shown = redact(text)
    assert secret not in shown or (name == "X-Amz-Signature" and "?" not in text)
    assert redact(shown) == shown


def test_every_name_of_a_secret_holds_a_hint():
    assert all(any(hint in name for hint in HINTS) for name in (*ENDINGS, *WORDS, *IN_OPTIONS))
