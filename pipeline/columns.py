"""The columns of a ranking: type, unit and meaning of each, one row per class.

Apart from the Parquet tables (:mod:`pipeline.schema`) because a gate, which reads a ranking as JSON, loads no
Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["integer", "number", "text", "flag"]


@dataclass(frozen=True)
class Column:
    """One column; undefined values are null.

    Attributes:
        about: what it is, a clause.
        unit: unit of the value; empty where it has none.
        identifies: it says which class this is, or is a sentence: no gate can judge it.
    """

    name: str
    kind: Kind
    about: str
    unit: str = ""
    identifies: bool = False


# Trivial rankings to compare with: name -> column whose smallest value comes first.
BASELINES: Final[Mapping[str, str]] = {
    "ratio": "ratio",
    "small_box": "box_area",
    "low_accuracy": "accuracy",
    "constant_map": "constant_map",
}


def rank_column(baseline: str) -> str:
    """Name of the column with the place of each class in a trivial ranking."""
    return f"{baseline}_rank"


_OF_P: Final = "difference of probability"
_LOG_ODDS: Final = "difference of log odds"
_COLUMNS: Final = (
    Column("rank", "integer", "place in the ranking, 1 is the most suspicious"),
    Column("label", "integer", "the true class", "class index", identifies=True),
    Column("class_id", "text", "the dataset's own id of the class (synset)", identifies=True),
    Column("class_name", "text", "readable name of the class", identifies=True),
    Column("n", "integer", "ranked images: those that the figures below are of", "images"),
    Column("n_images", "integer", "images of the class in the run", "images"),
    Column("n_correct", "integer", "images whose top-1 class is the true class", "images"),
    Column("accuracy", "number", "share of the images with a prediction that are correct", "fraction"),
    Column("confidence", "number", "mean probability of the top-1 class, same images", "probability"),
    Column("box_area", "number", "mean share of the model's input inside the boxes", "fraction"),
    Column(
        "n_boxed", "integer", "images with a box that the network sees, and something beside it", "images"
    ),
    Column("n_undefined", "integer", "images whose localisation is not defined", "images"),
    Column(
        "ratio", "number", "Alber (2019): relevance inside over outside the box, mean over images", "ratio"
    ),
    Column("ratio_pooled", "number", "all relevance inside over all relevance outside", "ratio"),
    Column("ratio_rank", "integer", "place by the lowest ratio"),
    Column("mass", "number", "mean share of the relevance inside the boxes", "fraction"),
    Column("lift", "number", "mean of logit(mass) - logit(area)", "log odds"),
    Column(
        "adjusted_lift",
        "number",
        "lift minus what is expected of comparable images, shrunk towards 0",
        "log odds",
    ),
    Column("adjusted_lift_raw", "number", "the same, not shrunk", "log odds"),
    Column(
        "adjusted_lift_lower",
        "number",
        "mean of the lowest quarter of the images' adjusted lifts: a mark on a part of them",
        "log odds",
    ),
    Column("low", "number", "lower end of the 95 % interval of the adjusted lift", "log odds"),
    Column("high", "number", "upper end of the 95 % interval of the adjusted lift", "log odds"),
    Column(
        "p_relative",
        "number",
        "p: is the lift lower than on comparable images by more than matters, and than classes differ?",
        "probability",
    ),
    Column("q_relative", "number", "the same with the false discovery rate controlled", "probability"),
    Column(
        "p_absolute", "number", "p: do the maps find the object? The larger of the next two", "probability"
    ),
    Column("p_exchange", "number", "p against boxes of other images", "probability"),
    Column("p_shift", "number", "p against boxes moved elsewhere", "probability"),
    Column("q_absolute", "number", "p_absolute with the false discovery rate controlled", "probability"),
    Column("power_absolute", "number", "chance that a relevant lift would have been seen", "probability"),
    Column("verdict", "text", "what is said of the class, from heat maps and edited images"),
    Column("map_verdict", "text", "what the heat maps say of the class"),
    Column("tested", "text", "what the edited images showed; empty where none were edited"),
    Column("n_edited", "integer", "images that were edited", "images"),
    Column(
        "effect",
        "number",
        "what the background adds beyond what ordinary classes show: the larger of the next two, less that",
        _OF_P,
    ),
    Column(
        "effect_shrunk",
        "number",
        "the same, shrunk by its uncertainty: the order of confirmed and cleared classes",
        _OF_P,
    ),
    Column("effect_low", "number", "lower end of the 95 % interval of the effect", _OF_P),
    Column("effect_high", "number", "upper end of the 95 % interval of the effect", _OF_P),
    Column("q_effect", "number", "is the effect relevant? False discovery rate controlled", "probability"),
    Column(
        "sufficiency",
        "number",
        "what an own background adds without the object, over another class's",
        _OF_P,
    ),
    Column(
        "necessity",
        "number",
        "the same with the object: what the object lacks elsewhere",
        _OF_P,
    ),
    Column(
        "background_gap",
        "number",
        "accuracy on backgrounds of the own class minus that on others (ImageNet-9: Mixed-Same, Mixed-Rand)",
        "difference of accuracy",
    ),
    Column(
        "n_reference", "integer", "images that a reference network explains for this class, too", "images"
    ),
    Column(
        "reference_lift",
        "number",
        "lift minus the reference network's on the same images, over that of other classes",
        "log odds",
    ),
    Column("reference_low", "number", "lower end of the 95 % interval of this difference", "log odds"),
    Column("reference_high", "number", "upper end of the 95 % interval of this difference", "log odds"),
    Column(
        "reference_lift_lower",
        "number",
        "mean of the lowest quarter of the images' differences, over that of other classes",
        "log odds",
    ),
    Column(
        "q_reference",
        "number",
        "does it lie below the other classes? False discovery rate controlled",
        "probability",
    ),
    Column(
        "reference_effect",
        "number",
        "what the background adds for this network and not for the reference: sufficiency or necessity",
        _OF_P,
    ),
    Column("reference_effect_low", "number", "lower end of the 95 % interval of this difference", _OF_P),
    Column("reference_effect_high", "number", "upper end of the 95 % interval of this difference", _OF_P),
    Column(
        "reference_transfer",
        "number",
        "what its pasted windows add to the class here beyond what the same ones add for the reference",
        _LOG_ODDS,
    ),
    Column(
        "reference_transfer_low", "number", "lower end of the 95 % interval of this difference", _LOG_ODDS
    ),
    Column(
        "reference_transfer_high", "number", "upper end of the 95 % interval of this difference", _LOG_ODDS
    ),
    Column(
        "reference_transfer_added",
        "number",
        "what the same windows add to the class for the reference (transfer_added: for this network)",
        _OF_P,
    ),
    Column("transferred", "text", "what its pasted windows showed; empty where none were pasted"),
    Column("n_windows", "integer", "images whose most relevant window was pasted onto others", "images"),
    Column(
        "transfer",
        "number",
        "what these windows add to the class over windows of other classes, same place, same recipients",
        _LOG_ODDS,
    ),
    Column("transfer_low", "number", "lower end of its 95 % interval", _LOG_ODDS),
    Column("transfer_high", "number", "upper end of its 95 % interval", _LOG_ODDS),
    Column(
        "transfer_upper",
        "number",
        "best quarter of the windows less the best quarter of those of other classes",
        _LOG_ODDS,
    ),
    Column("transfer_share", "number", "share of the windows that gain more than 2 log odds", "fraction"),
    Column("transfer_added", "number", "what the windows add to the class on other images", _OF_P),
    Column("transfer_control", "number", "what windows of other classes add to it there", _OF_P),
    Column(
        "transfer_elsewhere",
        "number",
        "the same as transfer, of windows that lie where other images are explained",
        _LOG_ODDS,
    ),
    Column(
        "q_transfer",
        "number",
        "is it relevant, in the mean or in a part of the windows? False discovery rate controlled",
        "probability",
    ),
    Column(
        "group_share",
        "number",
        "share of the class's images whose window is of the kind that carries it most",
        "fraction",
    ),
    Column("group_share_low", "number", "lower end of its 95 % interval", "fraction"),
    Column("group_share_high", "number", "upper end of its 95 % interval", "fraction"),
    Column("group_transfer", "number", "the same as transfer, of the windows of this kind", _LOG_ODDS),
    Column(
        "moved_transfer",
        "number",
        "the same as transfer, of the best windows at other places of other images",
        _LOG_ODDS,
    ),
    Column("holds", "text", "whether what they carry depends on their place; empty where none were moved"),
    Column(
        "evidence",
        "number",
        "mean place by lowest adjusted_lift_lower and highest transfer, with a reference averaged with that "
        "by lowest reference_lift_lower: 1 is the worst in all, 0 the best",
        "fraction",
    ),
    Column("n_needed", "integer", "images that a statement would take, of undecided classes", "images"),
    Column("small_box_rank", "integer", "place by the smallest box"),
    Column("low_accuracy_rank", "integer", "place by the lowest accuracy"),
    Column("constant_map_rank", "integer", "place by the lowest ratio of a constant map"),
    Column(
        "finding",
        "text",
        "what was measured of the class, in a sentence; empty where nothing was",
        identifies=True,
    ),
    Column("planted", "flag", "carries a known artefact, where the dataset says so", identifies=True),
)
RANKING: Final[Mapping[str, Column]] = {column.name: column for column in _COLUMNS}

# what only edited images say of a class; undefined without them
OF_EDITS: Final = (
    "tested",
    "n_edited",
    "effect",
    "effect_shrunk",
    "effect_low",
    "effect_high",
    "q_effect",
    "sufficiency",
    "necessity",
    "background_gap",
)
# the part of the next that pasted windows say; undefined where the reference was not shown the same ones
OF_REFERENCE_WINDOWS: Final = (
    "reference_transfer",
    "reference_transfer_low",
    "reference_transfer_high",
    "reference_transfer_added",
)
# what a run on a reference network, on the same images, says of a class; undefined without one
OF_REFERENCE: Final = (
    "n_reference",
    "reference_lift",
    "reference_low",
    "reference_high",
    "reference_lift_lower",
    "q_reference",
    "reference_effect",
    "reference_effect_low",
    "reference_effect_high",
    *OF_REFERENCE_WINDOWS,
)
# what only pasted windows say of a class; undefined without them
OF_TRANSFER: Final = (
    "transferred",
    "n_windows",
    "transfer",
    "transfer_low",
    "transfer_high",
    "transfer_upper",
    "transfer_share",
    "transfer_added",
    "transfer_control",
    "transfer_elsewhere",
    "q_transfer",
    "group_share",
    "group_share_low",
    "group_share_high",
    "group_transfer",
    "moved_transfer",
    "holds",
)
