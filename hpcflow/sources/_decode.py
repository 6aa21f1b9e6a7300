"""One photo file to one array of fixed shape: decode, turn upright, resize, crop."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from hpcflow.errors import BadItem, Mismatch
from hpcflow.files import regular_file
from hpcflow.kernels.resample import middle, rows_first
from hpcflow.namespace import Array
from hpcflow.registry import names

if TYPE_CHECKING:
    from PIL import Image, ImageFile

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge, in pixels."""
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF")
NAMED = "JPEG, PNG, TIFF, WebP, BMP, GIF or AVIF"
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF87a", b"GIF89a")
BITMAPS = tuple(n.to_bytes(4, "little") for n in (12, 40, 52, 56, 64, 108, 124))
"""Lengths of the header that follows in a BMP file."""
HEAD = 32
"""Bytes at the start of a file that tell what it is."""
MAX_PIXELS = 89_478_485
"""A photo that decodes to more (256 MiB of RGB), or holds more than twice that, is taken for a
decompression bomb: the numbers at which Pillow warns and refuses."""
MARGIN = 1.5
"""How many times larger than its target a photo stays when libjpeg reduces it."""
SUBFILE, BITS, PHOTOMETRIC, PLANAR = 254, 258, 262, 284
"""Tags of TIFF."""
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What turns a photo upright, by its EXIF orientation."""
GONE = {errno.ENOENT: "no such file", errno.EACCES: "no permission to read it", errno.EISDIR: "it is a folder"}


@dataclass(frozen=True)
class Fit:
    """How a photo of any size becomes an array of one shape."""

    height: int
    width: int
    resize: int
    """Length of the shorter side before cropping."""
    interpolation: str
    channels: str
    reduce: bool
    """Whether libjpeg may decode large photos at a fraction of their size."""
    max_pixels: int | None = None
    """The most that a photo may decode to, if not `MAX_PIXELS`."""

    @property
    def most(self) -> int:
        """The most pixels that a photo may decode to."""
        return self.max_pixels or MAX_PIXELS


def decode(path: Path, item: str, fit: Fit, *, compiled: bool = False) -> Array:
    """Read one photo.

    Parameters
    ----------
    path : Path
    item : str
        What it is called in messages.
    fit : Fit
    compiled : bool
        Whether to resample by the loop of `kernels.resample`, where it can do it: the same bytes, sooner.

    Raises
    ------
    BadItem
        If the file is missing, is no photo or is damaged. A fault of the disk or of the network
        stays an `OSError`, so that it is retried and never counted as bad data.
    """
    with _translated(item), open(path, "rb", opener=regular_file) as file:
        return _decoded(file, item, fit, compiled=compiled)


@contextmanager
def _translated(item: str) -> Iterator[None]:
    try:
        yield
    except (BadItem, MemoryError):
        raise
    except Mismatch as error:
        raise BadItem(item, str(error)) from None
    except OSError as error:
        # Pillow's own complaints about the content carry no number; the system's always do.
        if error.errno is None:
            raise BadItem(item, _reason(error)) from None
        if error.errno in GONE:
            raise BadItem(item, GONE[error.errno]) from None
        raise
    except Exception as error:  # noqa: BLE001 (decoders raise anything at all on damaged files)
        raise BadItem(item, _reason(error)) from None


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "MAX_TEXT" in text:
        return f"its metadata is too large ({text}): store the photo without it"
    return text if "truncated" in text.lower() else f"damaged: {text}"


def _decoded(file: BinaryIO, item: str, fit: Fit, *, compiled: bool) -> Array:
    from PIL import Image  # noqa: PLC0415

    mode = "RGB" if fit.channels == "rgb" else "L"
    resample = Image.Resampling[fit.interpolation.upper()]
    with _opened(file, item) as photo:
        if (count := pictures(photo)) > 1:
            raise BadItem(item, several(count))
        full, target = photo.size, resized(photo.size, fit.resize)
        box = _reduce(photo, target) if fit.reduce and fit.interpolation != "nearest" else None
        for (width, height), most in ((full, 2 * fit.most), (photo.size, fit.most), (target, fit.most)):
            if width * height > most:
                remedy = f"`max_pixels: {width * height}` allows it"
                if photo.format == "JPEG" and not fit.reduce:
                    remedy += ", `reduce: true` decodes a part of them"
                raise BadItem(item, f"{width} by {height} pixels: too large to decode; {remedy}")
        if compiled and box is None and (pixels := _quickly(photo, file, target, fit)) is not None:
            return pixels
        tags = getattr(photo, "tag_v2", {})
        if tags.get(PLANAR) == 2 and max(tags.get(BITS, (8,))) > 8:
            raise BadItem(item, "16 bits in separate planes, which Pillow reads wrongly: store the colours together")
        photo.load()
        orientation = _orientation(photo)
        if box is not None:
            small = _converted(photo, item, mode)
            if orientation == 1 and min(target[0] - fit.width, target[1] - fit.height) >= 0:
                # Only what is kept is resampled; it sees what lies around it all the same.
                return np.asarray(small.resize((fit.width, fit.height), resample, _middle(box, target, fit)))
            small = small.resize(target, resample, box)
            return centre(np.asarray(_upright(small, orientation)), fit.height, fit.width)
        # Turned first, because resizing rounds between its passes along rows and columns.
        picture = _converted(_upright(photo, orientation), item, mode)
        target = resized(picture.size, fit.resize)
        if picture.size != target:
            picture = picture.resize(target, resample)
        return centre(np.asarray(picture), fit.height, fit.width)


def _opened(file: BinaryIO, item: str) -> ImageFile.ImageFile:
    """Read a photo's header: as `Image.open`, which would warn of photos of which only a part is decoded."""
    from PIL import Image  # noqa: PLC0415

    Image.init()
    head = file.read(HEAD)
    file.seek(0)
    for name in FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is not None and accepts is not None and accepts(head) is True:
            return factory(file, "")
    raise BadItem(item, f"not a {NAMED} image" if head else "the file is empty")


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is of one of the formats, told without loading any of them."""
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4) and head[14:18] in BITMAPS
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(MAGIC) or bitmap or webp or head[4:12] in (b"ftypavif", b"ftypavis")


def look(path: str) -> tuple[int, int]:
    """How many pictures a file holds, and the bits of a channel; zeros where it does not say."""
    try:
        with open(path, "rb", opener=regular_file) as file, _opened(file, path) as photo:
            bits = file.seek(24) and file.read(1)[0] if photo.format == "PNG" else 8
            return pictures(photo), max(getattr(photo, "tag_v2", {}).get(BITS, (bits,)))
    except Exception:  # noqa: BLE001  (decoders raise anything at all: it will be a bad item)
        return 0, 0


def several(count: int) -> str:
    """Why a file of several pictures is no photo."""
    remedy = "save them as one array, `numpy.save(NAME, tifffile.imread(…))`, for the source `npy`"
    if "tiff" in names("sources"):
        remedy = "read them with the source `tiff`"
    return f"{count} pages or frames, where a photo has one: {remedy}"


def pictures(photo: Image.Image) -> int:
    """How many pictures a file holds, smaller copies of one not counted; the parts of a JPEG are such copies."""
    count: int = getattr(photo, "n_frames", 1)
    if count == 1 or photo.format in ("JPEG", "MPO"):
        return 1
    if photo.format != "TIFF":
        return count
    full = 0
    for page in range(count):
        photo.seek(page)
        full += not photo.tag_v2.get(SUBFILE, 0) & 1  # type: ignore[attr-defined]
    photo.seek(0)
    return full


def _reduce(photo: Image.Image, target: tuple[int, int]) -> Box | None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8; where the photo then lies in the picture, or `None`."""
    full = photo.size
    # Still larger than the target: the resampling that follows decides the result.
    done = photo.draft(None, (int(MARGIN * target[0]), int(MARGIN * target[1])))
    return done[1] if done is not None and photo.size != full else None


def _quickly(photo: ImageFile.ImageFile, file: BinaryIO, target: tuple[int, int], fit: Fit) -> Array | None:
    """A JPEG in colours, by libjpeg without Pillow and by a compiled loop; `None` where they do not do."""
    plain = photo.format == "JPEG" and photo.mode == "RGB" and fit.channels == "rgb" and fit.interpolation != "nearest"
    covers = min(target[0] - fit.width, target[1] - fit.height) >= 0
    turned = target[::-1]
    if not (plain and covers and rows_first(photo.size[::-1], turned)) or _orientation(photo) in TURNS:
        return None
    from simplejpeg import decode_jpeg  # noqa: PLC0415

    file.seek(0)
    try:
        pixels = decode_jpeg(file.read(), "RGB")
    except ValueError:
        # Pillow says what is wrong with it, or reads it all the same.
        return None
    size = (fit.height, fit.width)
    corner = (_start(turned[0], fit.height), _start(turned[1], fit.width))
    return middle(pixels, turned, corner, size, fit.interpolation)


def _middle(box: Box, target: tuple[int, int], fit: Fit) -> Box:
    """The part of `box` that becomes the middle of `target`."""
    left, top = _start(target[0], fit.width), _start(target[1], fit.height)
    across, down = (box[2] - box[0]) / target[0], (box[3] - box[1]) / target[1]
    return (
        box[0] + left * across,
        box[1] + top * down,
        box[0] + (left + fit.width) * across,
        box[1] + (top + fit.height) * down,
    )


def _upright(photo: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image  # noqa: PLC0415

    return photo.transpose(Image.Transpose[TURNS[orientation]]) if orientation in TURNS else photo


def _orientation(photo: Image.Image) -> int:
    """How the camera was held, from 1 (upright) to 8, as EXIF counts."""
    from PIL import ExifTags  # noqa: PLC0415

    try:
        value = photo.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 (whatever damaged EXIF raises: the pixels are still good)
        return 1
    return value if isinstance(value, int) else 1


def resized(size: tuple[int, int], short: int) -> tuple[int, int]:
    """The size whose shorter side is `short`, in the same proportions; rounded as torchvision does."""
    width, height = size
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def centre(picture: Array, height: int, width: int) -> Array:
    """Crop to the middle; zeros around it where it is smaller, as torchvision does."""
    for axis, wanted in enumerate((height, width)):
        missing = wanted - picture.shape[axis]
        if missing > 0:
            padding = [(0, 0)] * picture.ndim
            padding[axis] = (missing // 2, (missing + 1) // 2)
            picture = np.pad(picture, padding)
        start = _start(picture.shape[axis], wanted)
        picture = picture[(slice(None),) * axis + (slice(start, start + wanted),)]
    return picture


def _start(length: int, wanted: int) -> int:
    """Where the middle begins; rounded as torchvision does."""
    return round((length - wanted) / 2)


def _converted(photo: Image.Image, item: str, mode: str) -> Image.Image:
    from PIL import Image  # noqa: PLC0415

    tags = getattr(photo, "tag_v2", {})
    if photo.mode.startswith("I;16"):
        # Pillow would clip at 255 instead of scaling, and leave white at zero where it is stored so.
        deep = np.asarray(photo) >> 8
        return Image.fromarray((255 - deep if tags.get(PHOTOMETRIC) == 0 else deep).astype(np.uint8)).convert(mode)
    if photo.mode in ("I", "F"):
        raise BadItem(item, "32-bit pixels have no fixed range; expected 8 or 16 bits per channel")
    if photo.mode in ("P", "PA"):
        # Only this way are palettes with transparent entries converted without a warning.
        photo = photo.convert("RGBA")
    return photo if photo.mode == mode else photo.convert(mode)
