"""What looks wrong in a sample, or could not be told from it: a sentence each, the gravest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline import schema
from pipeline.inputs.card import ModelCard
from pipeline.measure.agreement import Agreement, can_tell
from pipeline.measure.seen import Seen
from pipeline.run.preflight import Accuracy

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of RGB from 0 to 1
_CAFFE = (103.939, 116.779, 123.68)  # mean of BGR from 0 to 255


def doubts(seen: Seen, accuracy: Accuracy | None, names: Sequence[str]) -> Iterator[str]:
    """Sentences about accuracy, images and boxes; ``names``: of the outputs."""
    yield from _about_accuracy(seen, accuracy, names)
    failed = seen.sample.status.get(schema.STATUS_FAILED, 0)
    if failed:
        reason = next(b.reason[i] for b, i, _ in seen.rows if b.status[i] == schema.STATUS_FAILED)
        yield f"{failed} of {seen.sample.images} images cannot be used, e.g.: {reason}"
    yield from _about_boxes(seen)


def _about_accuracy(seen: Seen, accuracy: Accuracy | None, names: Sequence[str]) -> Iterator[str]:
    if accuracy is None:
        yield "no image of the sample has a class that the network knows: its accuracy cannot be told"
        return
    agreement = Agreement(seen.labels, seen.predictions, names)
    if accuracy.low > max(accuracy.chance, accuracy.majority):
        yield from filter(None, [agreement.read_otherwise()])
        return
    if accuracy.majority == 1 < accuracy.n:
        yield f"all {accuracy.n} images of the sample are of class {accuracy.commonest!r}"
    elif not can_tell(accuracy.n, accuracy.chance):
        yield f"accuracy {accuracy}: too few images to tell it from chance ({accuracy.chance:.3g})"
    elif accuracy.low <= accuracy.chance:
        yield (
            f"accuracy {accuracy} is what chance gives ({100 * accuracy.chance:.3g} %): wrong preprocessing "
            "or class order? Compare the card's channel_order, scale, mean and std with the network's own "
            "preprocessing, and its order of the classes with the dataset's"
        )
    else:
        yield (
            f"accuracy {accuracy} is no better than always saying {accuracy.commonest!r} "
            f"({100 * accuracy.majority:.3g} %): wrong preprocessing or class order?"
        )
    yield from filter(None, [agreement.read_otherwise(), _prepared_otherwise(seen, names)])


def _prepared_otherwise(seen: Seen, names: Sequence[str]) -> str | None:
    """Said where one of the usual preparations of pixels explains the labels far better than the card's."""
    own = Agreement(seen.labels, seen.predictions, names)
    readings = [
        (int((seen.predict(card) == seen.labels).sum()), words) for words, card in _usual(seen.model.card)
    ]
    right, words = max(readings, key=lambda reading: reading[0], default=(0, ""))
    if not own.explains_better(right):
        return None
    return f"{right} of {len(seen.labels)} predictions would be right with {words}: is the card's other?"


def _usual(card: ModelCard) -> Iterator[tuple[str, ModelCard]]:
    """The usual preparations of colour pictures, in words and as cards."""
    if card.channels != 3:
        return
    turned = {"rgb": "bgr", "bgr": "rgb"}[card.channel_order]
    yield f"channel_order = {turned!r}", replace(card, channel_order=turned)
    plain = replace(card, channel_order="rgb", mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0)
    yield "pixels from 0 to 255 (scale = 1, mean 0, std 1)", plain
    yield "pixels from 0 to 1 (scale = 1 / 255)", replace(plain, scale=1 / 255)
    yield "pixels from -1 to 1 (mean and std 127.5)", replace(plain, mean=(127.5,) * 3, std=(127.5,) * 3)
    yield (
        "ImageNet's mean and std on pixels from 0 to 1",
        replace(plain, scale=1 / 255, mean=_IMAGENET[0], std=_IMAGENET[1]),
    )
    yield "BGR minus ImageNet's mean, as Caffe's", replace(plain, channel_order="bgr", mean=_CAFFE)


def _about_boxes(seen: Seen) -> Iterator[str]:
    boxes = seen.boxes
    corners = [value for _, _, record in seen.rows for value in record.boxes.reshape(-1).tolist()]
    if not boxes.stored:
        yield (
            "no image of the sample has a box: classes without boxes are not tested and stay undecided; "
            "`hansaudit boxes` lists the images of the finished run on which boxes would decide most"
        )
    elif not boxes.visible:
        yield "no image of the sample has a box that the network sees: there is nothing to measure"
    if corners and all(0 <= value <= 1 for value in corners):
        yield "the boxes look like shares of the picture (all corners are from 0 to 1); valid are pixels"
    elif 2 * boxes.faulty > boxes.stored:
        yield (
            f"the boxes of {boxes.faulty} of {boxes.stored} images do not fit them: drawn on pictures of "
            "another size, or not in the order xmin, ymin, xmax, ymax?"
        )
