"""What a URL gave is remembered, or forgotten; never taken for another's."""

import hashlib
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.ingest import cache as module
from hpcflow.ingest.cache import Cache, Entry
from hpcflow.ingest.urls import key

SHA256 = hashlib.sha256(b"body").hexdigest()


@pytest.fixture
def cache(tmp_path):
    one = Cache(tmp_path / "cache", 2**20)
    one.add(b"body", SHA256)
    yield one
    one.close()


def entries():
    texts = st.text(st.characters(codec="utf-8"), max_size=600)
    return st.builds(
        Entry, st.just(SHA256), st.just(4), texts, st.just("Wed, 21 Oct 2015 07:28:00 GMT"), st.floats(0, 2e9)
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), entries()), max_size=60))
def test_a_url_gives_what_it_gave_last_or_nothing(tmp_path_factory, notes):
    cache = Cache(tmp_path_factory.mktemp("cache"), 2**20)
    cache.add(b"body", SHA256)
    last = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGES", 1)  # they all come into each other's way
        for number, entry in notes:
            name = key(f"http://h/{number}")
            cache.remember(name, entry)
            last[name] = (entry, replace(entry, etag="", modified=""))
            assert cache.entry(name) in last[name]
            assert cache.entry(name) == entry or len(entry.etag) > 20
        found = [cache.entry(name) for name in last]
    assert all(one is None or one in wanted for one, wanted in zip(found, last.values(), strict=True))
    assert sum(one is not None for one in found) == min(len(last), module.PAGE // module.RECORD)
    cache.close()


def test_what_is_torn_or_gone_counts_as_never_fetched(cache):
    name = key("http://h/a")
    entry = Entry(SHA256, 4, '"tag"')
    cache.remember(name, entry)
    assert cache.entry(name) == entry
    with (cache.root / "urls").open("r+b") as file:
        file.seek(int(name[:15], 16) % module.PAGES * module.PAGE + 100)
        file.write(b"\0" * 50)
    assert cache.entry(name) is None
    cache.remember(name, entry)
    assert cache.entry(name) == entry
    os.truncate(cache.root / "urls", 0)
    assert cache.entry(name) is None
    cache.remember(name, entry)
    cache.forget(SHA256)
    assert cache.entry(name) is None
