"""Networks on a device whose memory nobody knows beforehand: the batch is halved where it has no room."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from hpcflow import ceilings
from hpcflow.models.base import Network
from hpcflow.namespace import Array, release


def fitting(run: Network, key: Hashable) -> Network:
    """The network, given no more items at once than the device had room for so far.

    Parameters
    ----------
    run : Network
    key : hashable
        Tells this network, as it is run, from others of the process.
    """

    def within(items: Array) -> Array:
        most: int = ceilings.known(key, len(items))
        if len(items) > most:
            # NumPy's functions hand other libraries' arrays to their own.
            return np.concatenate([within(items[i : i + most]) for i in range(0, len(items), most)])
        try:
            return run(items)
        except Exception as error:
            if not ceilings.full(error) or len(items) == 1:
                raise
        # Not in the handler: its traceback keeps what the attempt had on the device.
        release()
        half = -(-len(items) // 2)
        ceilings.lower(key, half, f"the device had no room for a batch of {len(items)} items; {half} at once now")
        return within(items)

    return within
