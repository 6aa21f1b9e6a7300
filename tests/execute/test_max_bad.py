from types import SimpleNamespace

import pytest

from hpcflow.execute.run import _allowed
from hpcflow.sizes import parse_share


class Photos:
    meta = chunks = identity = None
    items = tuple(f"{i}.jpg" for i in range(40))

    def read(self, region):
        raise NotImplementedError

    read_items = read


@pytest.mark.parametrize(
    ("text", "allowed"), [("0", 0), ("1", 1), ("7", 7), ("10%", 4), ("0.05", 2), ("2%", 0), ("100%", 40), ("1.0", 40)]
)
def test_a_share_is_of_all_items_and_a_number_is_itself(text, allowed):
    nodes = {"photos": SimpleNamespace(source=Photos()), "plane": SimpleNamespace(source=None)}
    plan = SimpleNamespace(flow=SimpleNamespace(nodes=nodes))
    assert _allowed(plan, parse_share(text)) == allowed
