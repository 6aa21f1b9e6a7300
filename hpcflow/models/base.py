"""What `infer` knows of a network before it is loaded, and where loaded ones are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hpcflow.errors import Mismatch, MissingPackage
from hpcflow.meta import Meta
from hpcflow.models._state import expect_fit, shapes_of
from hpcflow.models._weights import digest_of, expect, pinned
from hpcflow.namespace import Array
from hpcflow.regions import Shape

Network = Callable[[Array], Array]
"""From a batch of items to a batch of results, in the memory that the batch is in."""
SMALLEST = 32
"""Both networks halve an image five times."""


@runtime_checkable
class Model(Protocol):
    """A network that is described but not loaded; small, frozen and picklable."""

    @property
    def digest(self) -> str:
        """What its results depend on: the SHA-256 of its weights, or of its whole file."""

    @property
    def activations(self) -> Mapping[str, float]:
        """Bytes held while it runs, for each element of its input, by engine."""

    def makes(self, meta: Meta) -> Meta:
        """The result for an input with this meta; raises `Mismatch` where it takes no such input."""

    def size(self, engine: str, batch: int) -> int | None:
        """How many items it is always given at once under an engine; `None` for any number."""

    def load(self, device: str, precision: str = "float32") -> Network:
        """Read the weights and make it ready to run, by torch, on ``"cpu"`` or ``"cuda"``."""

    def program(self, device: str, precision: str, frame: Shape, size: int | None) -> Any:
        """The network as a `torch.export.ExportedProgram`, for items of this shape."""


@dataclass(frozen=True)
class Classifier:
    """A network from RGB images, as bytes, to one score per ImageNet class."""

    name: str
    weights: Callable[[], str] | str
    """The path or URL of its state dict, or a function that finds it."""
    sha256: str
    build: Callable[[dict[str, Any]], Any]
    """``(state dict) -> module`` that takes float images (N, 3, H, W)."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Subtracted from, and divided by, per channel of values from 0 to 255."""
    activations: Mapping[str, float]
    """Bytes held while it runs, for each element of its input, by engine; measured."""
    hint: str = ""
    """Where to get the weights."""
    classes: int = 1000
    shapes: Callable[[], Mapping[str, Shape]] | None = None
    """The shape of each of its weights, by name, against which a file of others is held."""

    @property
    def digest(self) -> str:
        """The SHA-256 that the weights must have."""
        return self.sha256

    def makes(self, meta: Meta) -> Meta:
        """One row of scores per image."""
        if meta.ndim != 4 or meta.shape[3] != 3 or min(meta.shape[1:3]) < SMALLEST or meta.dtype != np.uint8:
            raise Mismatch(
                f"expected images for `{self.name}`: uint8 of shape (photos, height, width, 3), "
                f"at least {SMALLEST} pixels high and wide; found {meta}",
                hint="`from: images` gives them; a model file (`model: path.pt2`) takes any array",
            )
        return Meta((meta.shape[0], self.classes), np.dtype("float32"), (meta.dims[0], "class"))

    def settled(self) -> None:
        """Look at weights of the user's own: whether they are there, the right file, and of this network."""
        if isinstance(self.weights, str) and "://" not in self.weights:
            expect(self.weights, digest_of(self.weights), self.sha256.lower())
            if self.shapes is not None:
                expect_fit(self.name, self.weights, shapes_of(self.weights), self.shapes())

    def size(self, engine: str, batch: int) -> int | None:
        """Compiled code is for one number of items: knowing it, torch chooses faster kernels."""
        return batch if engine == "compile" else None

    def load(self, device: str, precision: str = "float32") -> Network:
        """The network, batch norms folded into the convolutions before them."""
        module = self._module(device, precision)
        from hpcflow.models._torch import eager  # noqa: PLC0415

        return eager(module, device)

    def program(self, device: str, precision: str, frame: Shape, size: int | None) -> Any:
        """The same, traced."""
        module = self._module(device, precision)
        from hpcflow.models._torch import traced  # noqa: PLC0415

        return traced(module, frame, "uint8", size, device)

    def _module(self, device: str, precision: str) -> Any:
        torch_installed()
        from hpcflow.models._torch import classifier  # noqa: PLC0415

        where = self.weights if isinstance(self.weights, str) else self.weights()
        content = pinned(where, self.sha256, hint=self.hint)
        return classifier(content, self.build, (self.mean, self.std), device, precision)


def torch_installed() -> None:
    """Make sure that torch can be imported.

    Raises
    ------
    MissingPackage
    """
    try:
        import torch  # noqa: F401, PLC0415
    except ImportError as error:
        raise missing("torch") from error


def missing(package: str) -> MissingPackage:
    """The error that says how to get what models need."""
    return MissingPackage(
        f'models need the package `{package}`, which is not installed: `pip install "hpcflow[models]"`'
    )


_loaded: dict[tuple[str, str, str, str], Network] = {}
_loading = threading.Lock()


def loaded(model: Model, device: str, precision: str = "float32") -> Network:
    """The network on this device, by torch: loaded once per process, then shared by its threads."""
    key = (type(model).__name__, model.digest, device, precision)
    with _loading:
        if key not in _loaded:
            _loaded[key] = model.load(device, precision)
        return _loaded[key]
