"""Networks on a device: arrays taken without a copy, batches that fit, one load for each process."""

import numpy as np
import pytest

from hpcflow import ceilings
from hpcflow.models._fitting import fitting
from tests.device.fake import OutOfMemoryError


@pytest.fixture(autouse=True)
def _another_run():
    ceilings.begin("models")
    ceilings.begin("of another")
    ceilings.take_notes()


@pytest.mark.parametrize(("items", "room"), [(9, 100), (9, 9), (9, 8), (64, 5), (7, 1)])
def test_a_batch_is_halved_until_it_fits_and_stays_so(items, room):
    tried = []

    def run(batch):
        tried.append(len(batch))
        if len(batch) > room:
            raise OutOfMemoryError
        return 2 * batch

    network = fitting(run, "some")
    x = np.arange(items)
    np.testing.assert_array_equal(network(x), 2 * x)
    failed = [size for size in tried if size > room]
    notes = ceilings.take_notes()
    assert len(notes) == len(failed)
    assert all(f"batch of {size} items" in note for size, note in zip(failed, notes, strict=True))
    tried.clear()
    np.testing.assert_array_equal(network(x), 2 * x)
    assert max(tried) <= room
    assert not ceilings.take_notes()


def test_other_errors_pass_and_so_does_a_single_item_without_room():
    def broken(_):
        raise ValueError("no such layer")

    def full(_):
        raise OutOfMemoryError("8 bytes")

    with pytest.raises(ValueError, match="no such layer"):
        fitting(broken, "broken")(np.ones(4))
    with pytest.raises(OutOfMemoryError):
        fitting(full, "full")(np.ones(4))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("x"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("out of memory"), False),
        (MemoryError("Unable to allocate"), False),
    ],
)
def test_what_says_that_a_device_is_full(error, expected):
    assert ceilings.full(error) is expected
    outer = KeyError("a step")
    outer.__cause__ = error
    assert ceilings.full(outer) is expected


def test_what_torch_says_of_a_full_device():
    torch = pytest.importorskip("torch")
    assert ceilings.full(torch.OutOfMemoryError("CUDA out of memory"))


def test_an_array_of_another_library_is_taken_as_it_lies():
    torch = pytest.importorskip("torch")
    from hpcflow.models._torch import tensor  # noqa: PLC0415

    class Other:
        """An array that speaks DLPack and nothing else."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **kwargs):
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    x = np.arange(6.0)
    taken = tensor(Other(x), "cpu")
    assert isinstance(taken, torch.Tensor)
    assert taken.data_ptr() == x.ctypes.data
