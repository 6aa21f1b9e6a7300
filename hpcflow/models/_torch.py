"""Networks in PyTorch, made ready to run; imported only when one is loaded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
import torch
from torch.export.passes import move_to_device_pass
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hpcflow.errors import Mismatch
from hpcflow.models._exported import Signature
from hpcflow.models._state import unwrapped
from hpcflow.models.base import Network, missing
from hpcflow.namespace import Array


class Scorer(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """From images (N, H, W, 3) of bytes to float32 scores (N, classes)."""

    def __init__(
        self, network: torch.nn.Module, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype
        self.register_buffer("offset", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Bring the bytes to what the network was trained on, and score them."""
        # Rows of RGB triples are what torch calls channels last: nothing is moved, only renamed.
        pixels = images.permute(0, 3, 1, 2).float().sub_(self.offset).div_(self.scale)
        return self.network(pixels.to(self.dtype)).float()


def classifier(
    content: bytes,
    build: Callable[[dict[str, Any]], torch.nn.Module],
    scaling: tuple[Sequence[float], Sequence[float]],
    device: str,
    precision: str,
) -> torch.nn.Module:
    """The module of a named network."""
    module = build(unwrapped(_state(content))).to(memory_format=torch.channels_last)
    return Scorer(module, *scaling, getattr(torch, precision)).to(device).eval()


def _state(content: bytes) -> Mapping[str, Any]:
    """The tensors of a state dict, or of a safetensors file."""
    if content[8:9] != b"{":
        found: Mapping[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return found
    try:
        load = import_module("safetensors.torch").load
    except ImportError as error:
        raise missing("safetensors") from error
    tensors: Mapping[str, Any] = load(content)
    return tensors


def eager(module: torch.nn.Module, device: str) -> Network:
    """The module, operation by operation."""

    def run(batch: Array) -> Array:
        with inferring(batch):
            return array(module(tensor(batch, device)), batch)

    return run


def traced(
    module: torch.nn.Module, frame: Sequence[int], dtype: str, size: int | None, device: str
) -> torch.export.ExportedProgram:
    """The module as a program for items of this shape; `size` at once, or any number."""
    # Of a single item torch would take the 1 for a constant.
    example = torch.zeros((size or 2, *frame), dtype=getattr(torch, dtype), device=device)
    items = None if size is not None else ({0: torch.export.Dim("items", min=1, max=65536)},)
    return torch.export.export(module, (example,), dynamic_shapes=items)


def tensor(batch: Array, device: str) -> torch.Tensor:
    """The batch as a tensor on the device; shares its memory where that may be written to.

    An array of the device's own is taken by DLPack, as it lies there.
    """
    if not isinstance(batch, np.ndarray):
        return torch.from_dlpack(batch)
    if not batch.flags.writeable:
        batch = batch.copy()
    return torch.as_tensor(batch, device=device)


def array(result: torch.Tensor, like: Array) -> Array:
    """The result as an array of the kind that `like` is."""
    if isinstance(like, np.ndarray):
        return result.cpu().numpy()
    import cupy  # noqa: PLC0415 (only ever where the batch is CuPy's already)

    return cupy.from_dlpack(result.contiguous())


@contextmanager
def inferring(batch: Array) -> Iterator[None]:
    """Without gradients, and on the stream that the batch's library computes on: what either frees is then safe."""
    with torch.inference_mode(), ExitStack() as stack:
        if not isinstance(batch, np.ndarray):
            import cupy  # noqa: PLC0415 (as above)

            stream = torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr)
            stack.enter_context(torch.cuda.stream(stream))
        yield


def fold(module: torch.nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold batch norms into the convolutions before them: the same sums with half the passes.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; changed in place.
    pairs : iterable of (str, str)
        Names of a convolution and of the batch norm that follows it; those not there are skipped.
    """
    for conv, norm in pairs:
        if hasattr(module, conv) and hasattr(module, norm):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, torch.nn.Identity())


def read_program(path: str, signature: Signature, archive: BinaryIO, device: str) -> torch.export.ExportedProgram:
    """The program of an archive that has been written anew."""
    archive.seek(0)
    try:
        program = torch.export.load(archive)
        example = torch.zeros(signature.example, dtype=getattr(torch, signature.takes_dtype))
        program.example_inputs = ((example,), {})
    except Exception as error:  # torch's readers raise anything at all
        said = (str(error).strip().splitlines() or [""])[0][:200]
        raise Mismatch(
            f"expected `{path}` to hold a program that torch {torch.__version__} can read, found {said}",
            parameter="model",
        ) from error
    return program if device == "cpu" else move_to_device_pass(program, device)


def exported(path: str, signature: Signature, archive: BinaryIO, device: str, precision: str) -> Network:
    """The program of an archive that has been written anew, made ready to run."""
    module = read_program(path, signature, archive, device).module()

    def run(batch: Array) -> Array:
        with inferring(batch), narrowed(device, precision):
            items = tensor(batch, device)
            result = grouped(lambda piece: _result(path, module(piece), len(piece)), items, signature.batch)
            return array(result, batch)

    return run


def grouped(run: Callable[[torch.Tensor], torch.Tensor], items: torch.Tensor, size: int | None) -> torch.Tensor:
    """The result for all items, of a network that takes `size` at once, or any number."""
    if size is None:
        return run(items)
    # The last items are filled up to the batch that the program was made for.
    return torch.cat([run(_filled(piece, size)) for piece in items.split(size)])[: len(items)]


def narrowed(device: str, precision: str) -> torch.autocast:
    """Convolutions and products in bfloat16 or float16, where that is the precision."""
    narrow = precision in ("bfloat16", "float16")
    return torch.autocast(device, getattr(torch, precision) if narrow else None, enabled=narrow)


def _filled(piece: torch.Tensor, size: int) -> torch.Tensor:
    missing = size - len(piece)
    return torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])]) if missing else piece


def scripted(path: str, content: bytes, device: str, precision: str) -> Network:
    """A TorchScript program."""
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated, which its users know, and still read.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(io.BytesIO(content), map_location=device).eval()
    except RuntimeError as error:
        raise Mismatch(
            f"expected TorchScript in `{path}`, found a file that torch cannot read as such",
            parameter="model",
            hint="a state dict is given as `weights` of a named model; a whole pickled model is never loaded",
        ) from error

    def run(batch: Array) -> Array:
        with inferring(batch), narrowed(device, precision):
            items = tensor(batch, device)
            try:
                result = module(items)
            except RuntimeError as error:
                said = str(error).strip().splitlines()[-1]
                raise Mismatch(f"expected an array that `{path}` takes, found that it says: {said}") from error
            return array(_result(path, result, len(items)), batch)

    return run


def _result(path: str, result: Any, items: int) -> torch.Tensor:
    if isinstance(result, torch.Tensor) and result.ndim and len(result) == items:
        # NumPy has no bfloat16, and what the plan knows is float32.
        return result.float() if result.dtype in (torch.bfloat16, torch.float16) else result
    found = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
    raise Mismatch(f"expected `{path}` to give one tensor with {items} items, found {found}", parameter="model")
