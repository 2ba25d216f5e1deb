"""What a dataset's boxes look like as a whole, said before anything is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import InputError
from pipeline.inputs.objects.places import Place

_NAMED = 3  # classes without a box that are named


def told_boxes(images: Sequence[tuple[str, np.ndarray]], where: Place | None) -> Iterator[str]:
    """How many images have boxes and which classes have none, where that is not all and none.

    ``images``: class and boxes (n, 4) of every one; ``where``: what the boxes were read from, None where
    there are no annotations.

    Raises :class:`InputError` for boxes in fractions of the picture.
    """
    boxes = [of_one for _, of_one in images if len(of_one)]
    refuse_fractions(boxes, where)
    source = "there are no annotations" if where is None else f"{where.name} has none"
    if not boxes:
        yield f"no boxes: {source}; nothing that needs boxes is said"
        return
    classes = dict.fromkeys(label for label, _ in images if label)
    boxed = {label for label, of_one in images if len(of_one)}
    bare = [label for label in classes if label not in boxed]
    if len(boxes) < len(images):
        more = f" and {len(bare) - _NAMED} more" if len(bare) > _NAMED else ""
        none = f"; none of {len(bare)} classes: {', '.join(bare[:_NAMED])}{more}" if bare else ""
        yield f"boxes: of {len(boxes)} of {len(images)} images{none}"
    swapped = sum(int((b[:, 2:] < b[:, :2]).any(axis=1).sum()) for b in boxes)
    if swapped:
        yield f"{swapped} boxes are left out: xmax is below xmin, or ymax below ymin"


def refuse_fractions(boxes: Sequence[np.ndarray], where: Place | None) -> None:
    """Pixels are asked for; 0 to 1 all over, and not whole numbers, is another unit: :class:`InputError`."""
    sides = np.concatenate(boxes) if boxes else np.zeros((0, 4))
    if len(sides) and sides.min() >= 0 and sides.max() <= 1 and (sides != np.rint(sides)).any():
        raise InputError(
            f"{where}: all coordinates lie between 0 and 1, as fractions of the picture do; valid: pixels, "
            "counted from 0"
        )
