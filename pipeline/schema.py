"""The tables of a run: Arrow schemas with units, one place for every column name.

Up to the rows nothing touches disk; after the part nothing touches TensorFlow. A change of a column is a
change of :data:`pipeline.run.folder.SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from pipeline.terms import CurveOrder, FileProperty, Window

# What happened to one image. Localisation is defined for "ok" only; predictions exist for all but "failed".
STATUS_OK: Final = "ok"
STATUS_NO_BOX: Final = "no_box"  # the dataset has no box for it
STATUS_NO_VISIBLE_BOX: Final = "no_visible_box"  # the crop removed every box
STATUS_BOX_COVERS_IMAGE: Final = "box_covers_image"  # nothing of the input lies outside
STATUS_FAILED: Final = "failed"  # could not be read, decoded or explained; `reason` says why
STATUSES: Final = (STATUS_OK, STATUS_NO_BOX, STATUS_NO_VISIBLE_BOX, STATUS_BOX_COVERS_IMAGE, STATUS_FAILED)


def _field(name: str, type_: pa.DataType, about: str, unit: str = "") -> pa.Field:
    metadata = {"about": about} | ({"unit": unit} if unit else {})
    return pa.field(name, type_, metadata=metadata)


_BOX = pa.list_(pa.struct([(side, pa.float32()) for side in ("xmin", "ymin", "xmax", "ymax")]))
_NAME = pa.dictionary(pa.int32(), pa.string())

EXAMPLES: Final = pa.schema(
    [
        _field("example_id", pa.string(), "stable id of the image, independent of shard and batch size"),
        _field("shard", _NAME, "key of the shard that holds the row"),
        _field("index", pa.int64(), "position in the split", "count from 0"),
        _field("file_name", pa.string(), "name of the original file, where there is one"),
        _field("label", pa.int32(), "true class; -1 when outside the network's classes", "class index"),
        _field("class_id", _NAME, "the dataset's own id of the true class (synset)"),
        _field("class_name", _NAME, "readable name of the true class"),
        _field("group", _NAME, "group of the image, as the dataset has it; null where it says none"),
        _field("prediction", pa.int32(), "top-1 class", "class index"),
        _field("confidence", pa.float32(), "probability of the top-1 class", "probability"),
        _field("label_probability", pa.float32(), "probability of the true class", "probability"),
        _field("correct", pa.bool_(), "top-1 class is the true class"),
        _field("correct_top5", pa.bool_(), "the true class is among the five most probable"),
        _field("target", pa.int32(), "class that was explained", "class index"),
        _field("target_logit", pa.float32(), "the explained output", "logit"),
        _field("width", pa.int32(), "width of the original image", "pixel"),
        _field("height", pa.int32(), "height of the original image", "pixel"),
        _field("boxes", _BOX, "boxes in the original image, 0-based, inclusive", "pixel"),
        _field(
            "boxes_model",
            _BOX,
            "the same boxes in the model's input geometry, 0-based, inclusive, clipped",
            "pixel",
        ),
        _field(
            "box_area",
            pa.float32(),
            "A: share of the model's input inside the union of the boxes",
            "fraction",
        ),
        _field(
            "box_distance",
            pa.float32(),
            "distance of the union's centroid from the centre of the input, over half its diagonal",
            "fraction",
        ),
        _field("status", _NAME, "one of: " + ", ".join(STATUSES)),
        _field("reason", pa.string(), "why the status is not ok"),
    ]
)

SCORES: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        _field("method", _NAME, "key of the explanation method, with its parameters"),
        _field("metric", _NAME, "name of the metric"),
        _field("value", pa.float64(), "value; null when undefined"),
        _field("reason", pa.string(), "why the value is null"),
    ]
)

CURVES: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        _field("method", _NAME, "key of the explanation method, with its parameters"),
        _field("order", _NAME, "one of: " + ", ".join(CurveOrder)),
        _field("values", pa.list_(pa.float32()), "score after step 0..L, mean over the repeats"),
        _field("reason", pa.string(), "why the curve is null"),
    ]
)

# Pooled over the channels (how: in the file's metadata) and summed into `height x width` cells; row-major.
MAPS: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        _field("method", _NAME, "key of the explanation method, with its parameters"),
        _field("height", pa.int16(), "rows of the pooled map", "cell"),
        _field("width", pa.int16(), "columns of the pooled map", "cell"),
        _field(
            "values",
            pa.list_(pa.float16()),
            "relevance pooled over channels as the metrics see it (>= 0), summed over the cell, over `scale`",
        ),
        _field(
            "scale", pa.float32(), "largest cell of `values` before the division; 0: zero map", "relevance"
        ),
        _field(
            "signed",
            pa.list_(pa.float16()),
            "signed relevance, summed over channels and over the cell, over `signed_scale`",
        ),
        _field(
            "signed_scale", pa.float32(), "largest absolute cell of `signed` before the division", "relevance"
        ),
    ]
)

THUMBNAILS: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        _field("jpeg", pa.binary(), "the model's input as a picture before normalisation, JPEG"),
    ]
)

# Of a seeded sample of the images; what follows from table examples (size, boxes) is not repeated here.
PROPERTIES: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        *(
            _field(name, pa.float32(), name.meaning)
            for name in (
                FileProperty.JPEG_QUALITY,
                FileProperty.IS_JPEG,
                FileProperty.BYTES_PER_PIXEL,
                FileProperty.BRIGHTNESS,
                FileProperty.CONTRAST,
                FileProperty.SATURATION,
                FileProperty.RED_CAST,
                FileProperty.BLUE_CAST,
                FileProperty.SHARPNESS,
            )
        ),
    ]
)

TABLES: Final = {
    "examples": EXAMPLES,
    "scores": SCORES,
    "curves": CURVES,
    "maps": MAPS,
    "thumbnails": THUMBNAILS,
    "properties": PROPERTIES,
}

# Nullable columns that came later, and with which schema version: earlier parts lack them, they read as null.
_ADDED: Final[Mapping[str, Mapping[str, int]]] = {"examples": {"group": 2}}


def columns_of(table: str, version: int) -> pa.Schema:
    """The columns that the parts of ``table`` have in a run of this schema ``version``."""
    added = _ADDED.get(table, {})
    return pa.schema([field for field in TABLES[table] if added.get(field.name, 1) <= version])


# A part per block of classes, not per shard: the stage after the audit writes them.
INTERVENTIONS: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples: the picture that was edited"),
        _field("label", pa.int32(), "its class", "class index"),
        _field("edit", _NAME, "what was done to it, `kind` or `kind:variant`: docs/evidence.md"),
        _field("donor", pa.string(), "example_id of the picture whose background it got; null: its own"),
        _field("probability", pa.float32(), "probability of the class `label`", "probability"),
        _field("logit", pa.float32(), "the network's output for the class `label`", "logit"),
        _field("predicted", pa.int32(), "top-1 class of the edited picture", "class index"),
        _field("confidence", pa.float32(), "probability of that class", "probability"),
    ]
)

# A part per block of classes. Two rows for each recipient of a window: one of the window itself (`relevant`),
# one of the window of another class that was pasted at the same place of the same recipient (`other_place`).
TRANSFER: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples: the picture that the window is cut from"),
        _field("label", pa.int32(), "its class", "class index"),
        _field("method", _NAME, "key of the explanation method whose maps say where the window lies"),
        _field("window", _NAME, "one of: " + ", ".join(Window)),
        _field("beside", pa.bool_(), "the picture has boxes, and the window touches none; else false"),
        _field("x", pa.int16(), "left edge of the window in the model's input, count from 0", "pixel"),
        _field("y", pa.int16(), "upper edge, count from 0", "pixel"),
        _field("width", pa.int16(), "width of the window", "pixel"),
        _field("height", pa.int16(), "height of the window", "pixel"),
        _field("relevance", pa.float32(), "share of the picture's relevance in it; null at another place"),
        _field("recipient", pa.string(), "example_id of the picture that it was pasted onto"),
        _field("before", pa.float32(), "probability of `label` for the recipient as it is", "probability"),
        _field("probability", pa.float32(), "probability of `label` with the window", "probability"),
        _field(
            "control",
            pa.float32(),
            "probability of `label` with a window of another class at the same place of the same recipient",
            "probability",
        ),
        _field("picture", pa.binary(), "the window, PNG; of the best few of a class, on their first row"),
    ]
)

# A part per block of classes, beside that of the table `transfer`: a row for each window that was pasted.
_COLOUR = pa.struct(
    [(name, pa.uint8()) for name in ("red", "green", "blue")] + [("share", pa.float32())]  # of the pixels
)
_ELSEWHERE = pa.struct(
    [
        ("recipient", pa.string()),  # example_id of the picture that it was pasted onto
        ("x", pa.int16()),  # left edge there, pixel; the window's own place among them
        ("y", pa.int16()),
        ("before", pa.float32()),  # probability of `label`: the recipient as it is, with the window, with
        ("probability", pa.float32()),  # the window of another class at the same place
        ("control", pa.float32()),
    ]
)
WINDOWS: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples: the picture that the window is cut from"),
        _field("label", pa.int32(), "its class", "class index"),
        _field("method", _NAME, "key of the explanation method whose maps say where the window lies"),
        _field(
            "group", pa.int32(), "group of like windows of its class, by the network's features; 0: largest"
        ),
        _field(
            "also", pa.int32(), "other class whose probability rises most where it is pasted", "class index"
        ),
        _field("also_added", pa.float32(), "by how much, mean over the recipients", "probability"),
        _field("mark_x", pa.int16(), "left edge of the part that repeats in its group; null: none", "pixel"),
        _field("mark_y", pa.int16(), "upper edge of this part", "pixel"),
        _field("mark_width", pa.int16(), "width of this part", "pixel"),
        _field("mark_height", pa.int16(), "height of this part", "pixel"),
        _field("colours", pa.list_(_COLOUR), "the two colours of this part; without one, the window's mean"),
        _field(
            "places", pa.list_(_ELSEWHERE), "what the best of a class add at other places; null: not asked"
        ),
    ]
)

# One file beside the parts, written by a later analysis of the finished run.
CLUSTERS: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        _field("method", _NAME, "key of the explanation method, with its parameters"),
        _field("label", pa.int32(), "class whose images were clustered", "class index"),
        _field("cluster", pa.int32(), "cluster of the image's map within its class; 0 is the largest"),
        _field("x", pa.float32(), "place in the two-dimensional embedding of the class's maps"),
        _field("y", pa.float32(), "place in the two-dimensional embedding of the class's maps"),
        _field("adjusted_lift", pa.float64(), "lift minus what is expected for the image's box", "log odds"),
        _field("prototype", pa.int32(), "0, 1, 2: the most central maps of the cluster; null for the others"),
    ]
)

# What the network wants to see of a class.
VISUALIZED: Final = pa.schema(
    [
        _field("label", pa.int32(), "class that the picture is of", "class index"),
        _field("place", pa.int16(), "0, 1, ...: from which noise it was made"),
        _field("picture", pa.binary(), "PNG"),
    ]
)

# The images in which a channel of a layer says most for a class; beside what of the picture it says it of.
CONCEPTS: Final = pa.schema(
    [
        _field("label", pa.int32(), "class that is explained", "class index"),
        _field("method", _NAME, "key of the explanation method, with its parameters"),
        _field("layer", _NAME, "name of the layer"),
        _field("channel", pa.int32(), "channel of the layer, count from 0"),
        _field("place", pa.int16(), "0: the image in which the channel has most relevance for the class ..."),
        _field("example_id", pa.string(), "key into examples"),
        _field("relevance", pa.float32(), "relevance of the channel over the size of that of all channels"),
        _field(
            "outside",
            pa.float32(),
            "share of the positive relevance of the channel's map outside the boxes; null without a box",
        ),
        _field("x", pa.int16(), "left edge of the crop in the model's input, count from 0", "pixel"),
        _field("y", pa.int16(), "upper edge, count from 0", "pixel"),
        _field("width", pa.int16(), "width of the crop", "pixel"),
        _field("height", pa.int16(), "height of the crop", "pixel"),
        _field("held", pa.float32(), "share of the map's positive relevance in the crop"),
        _field("picture", pa.binary(), "the crop, PNG"),
    ]
)

# What a reference network shows of the same images, for the same class; labels are the run's.
REFERENCE: Final = pa.schema(
    [
        _field("example_id", pa.string(), "key into examples"),
        _field("index", pa.int64(), "position in the split", "count from 0"),
        _field("label", pa.int32(), "true class; explained by the reference", "class index"),
        _field("lift", pa.float64(), "lift of the reference's map; null where it is undefined", "log odds"),
        _field("sufficiency", pa.float64(), "of the edited image; null where it was not", "probability"),
        _field("necessity", pa.float64(), "of the edited image; null where it was not", "probability"),
        _field(
            "window_gain",
            pa.float64(),
            "what its pasted window adds to the class over its control; null where none was",
            "log odds",
        ),
        _field("window_added", pa.float64(), "what that window adds to the class", "probability"),
    ]
)
# columns that came later: tables of earlier runs lack them, they read as null
REFERENCE_ADDED: Final = ("window_gain", "window_added")
