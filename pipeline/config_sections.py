"""The sections of a configuration: what each field means, its default, and what it may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from pipeline.terms import CurveOrder
from pipeline.urls import refuse_url


def _refused(text: str) -> str:
    refuse_url(text)
    return text


# a file, a folder or a URL; one that holds credentials is refused before a run could keep them
Location = Annotated[str, AfterValidator(_refused)]


class Section(BaseModel):
    """A part of a configuration: unknown fields are refused, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[frozenset[str]] = frozenset()  # fields that runs of earlier versions do not know

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A section without what was added later is the same as before."""
        content: dict[str, Any] = serialize(self)
        for name in self.later:
            if name in content and content[name] == type(self).model_fields[name].default:
                del content[name]
        return content


class DatasetConfig(Section):
    """Where the images, labels and boxes come from (``hansaudit datasets`` lists the sources)."""

    later: ClassVar[frozenset[str]] = frozenset({"group", "choice"})
    source: str = "planted"  # see pipeline.inputs.datasets.sources
    # tfds: catalog name ("voc/2007"); empty: `path` is the folder of a dataset made by `hansaudit prepare`
    name: str = ""
    # prepared dataset, image folder (either may be the URL of an object store: s3://...), or TFDS data_dir
    path: Location = ""
    split: str = ""  # empty: the only split there is, else "validation", else "test"
    # feature paths inside one example, "/" between levels; empty: found from the feature types
    image: str = ""
    label: str = ""
    boxes: str = ""
    # what says where an image comes from (a place, a camera): a column of the annotations CSV (empty: the one
    # called "group", if there is one), or a feature path of a TFDS dataset (empty: none)
    group: str = ""
    # folder source: annotations file or folder, and its format
    annotations: Location = ""
    annotations_format: Literal["", "csv", "coco", "voc"] = ""
    limit: int = Field(
        default=0,
        ge=0,
        description="images to audit: of a folder a seeded choice over its classes, else see choice; 0 = all",
    )
    # which images of a dataset in the TFDS format a limit leaves: the first, or a random one (seeded) of each
    # of as many equal stretches, which covers the classes of a split that is sorted by them
    choice: Literal["first", "spread"] = "first"


class ModelConfig(Section):
    """Where the network comes from and, in its card, how its input is prepared."""

    source: Location = "planted"  # keras.applications name, *.keras, *.h5, package.module:function, "planted"
    weights: Location = "imagenet"  # for keras.applications: "imagenet", a weights file, or "none"
    card: Location = ""  # model card (TOML); empty: <model>.toml beside the file, or known from the source
    unsafe: bool = False  # Lambda layers are wanted; a record, no permission: see pipeline.trust


def _leaves(value: Any) -> Iterator[Any]:
    """The values in nested lists and tables."""
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


class MethodConfig(Section):
    """One explanation method and its parameters."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("params")
    @classmethod
    def _no_dates(cls, params: dict[str, Any]) -> dict[str, Any]:
        """TOML has dates and times, which no method takes and no JSON of the run can hold."""
        for name, value in params.items():
            if dated := next((v for v in _leaves(value) if isinstance(v, date | time)), None):
                raise ValueError(f"parameter {name!r} is a date or time ({dated}); quote it if it is a text")
        return params

    @property
    def key(self) -> str:
        """The method's name in the tables: ``name`` or ``name(p=1,q=2)`` with sorted parameters."""
        if not self.params:
            return self.name
        return f"{self.name}({','.join(f'{k}={json.dumps(v)}' for k, v in sorted(self.params.items()))})"


class AuditConfig(Section):
    """What is measured."""

    later: ClassVar[frozenset[str]] = frozenset({"xla"})
    target: Literal["predicted", "label"] = "predicted"
    metrics: tuple[str, ...] = (
        "relevance_in",
        "relevance_out",
        "ratio",
        "mass",
        "lift",
        "pointing",
        "rank_accuracy",
    )
    pooling: Literal["abs_sum", "sum", "positive"] = "abs_sum"
    precision: Literal["", "float32", "tf32", "bfloat16"] = Field(
        default="",
        description="of products in the passes that make predictions and maps; empty: as the framework does",
    )
    xla: bool = Field(
        default=False,
        description="the same passes compiled as a whole by XLA, under TensorFlow (JAX always does)",
    )
    maps: int = Field(default=56, ge=0, le=1024, description="side of the stored pooled maps; 0 = none")
    thumbnails: bool = True
    seed: int = Field(default=0, ge=0)


# protocols of perturbation curves: what they set beside the defaults. "short" has Samek's regions and as many
# of them, but the network is asked 12 times on the way instead of 100, and every picture is filled once
PROTOCOLS: dict[str, dict[str, Any]] = {
    "short": {},
    "samek": {"region": 9, "steps": 100, "points": 0, "repeats": 10, "images": 0, "share": 1.0},
}
LEAST_CURVES = 16  # images that get curves however small the dataset: of fewer a mean says little
REGIONS_ACROSS = 25  # of a picture, where the side of a region is left open: 9 of 224 pixels, as Samek et al.


class PerturbationConfig(Section):
    """Perturbation curves (``[perturbation]``; ``perturbation = false``: none). Samek et al. 2017."""

    protocol: Literal["short", "samek"] = "short"  # what is not given is as PROTOCOLS says
    orders: tuple[CurveOrder, ...] = (CurveOrder.MORF, CurveOrder.LERF, CurveOrder.RANDOM)
    region: int = Field(default=0, ge=0, description="side of a region, pixel; 0 = the input's side / 25")
    steps: int = Field(default=100, ge=1, description="regions replaced one after the other, at most")
    points: int = Field(default=12, ge=0, description="times the network is asked meanwhile; 0 = each step")
    repeats: int = Field(default=1, ge=1, description="random fills, random orders and orders of ties")
    fill: Literal["uniform", "mean", "zero", "blur"] = "uniform"
    score: Literal["softmax", "logit"] = "softmax"
    by: Literal["signed", "absolute", "positive"] = "signed"  # relevance of a pixel: sum over its channels
    auc_steps: int = Field(default=50, ge=1, description="points of a deletion or insertion curve")
    images: int = Field(default=100, ge=0, description="images in all, spread over the classes; 0 = no limit")
    share: float = Field(default=0.01, gt=0, le=1, description="of the dataset at most, but 16 images")
    budget: int = Field(default=0, ge=0, description="images per class, a seeded choice; 0 = no limit")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """What the protocol sets; a number of images that somebody chose is not cut by a default."""
        if not isinstance(data, dict):
            return data
        usual = dict(PROTOCOLS.get(str(data.get("protocol", "short")), {}))
        if "budget" in data:
            usual |= {"images": 0, "share": 1.0}
        elif "images" in data:
            usual["share"] = 1.0
        return usual | data

    def region_side(self, height: int, width: int) -> int:
        """Side of a region in a picture of this size, pixel."""
        return self.region or max(1, round(min(height, width) / REGIONS_ACROSS))

    def most_images(self, of: int) -> int:
        """Images that get curves in a dataset of ``of``, before the limit per class."""
        most = max(LEAST_CURVES, int(self.share * of)) if self.share < 1 else of
        return min(of, most, self.images or of)


FOUND: Final = 0  # as a batch size: not chosen, to be found
MOST_AT_ONCE: Final = 4096


class ExecutionConfig(Section):
    """How the work is done: none of this changes a result, so none of it is part of the run id."""

    batch_size: int = Field(
        default=16, description="images at once; 'auto': what is fastest here, found by trying"
    )
    shard_size: int = Field(
        default=512, ge=1, description="images per shard: one task and one part per table"
    )
    workers: int = Field(default=1, ge=1, description="shards at the same time, each with its own model")
    runner: Literal["processes", "dask", "ray"] = "processes"  # what runs them when workers > 1
    address: str = Field(default="", description="of a Dask scheduler or a Ray head; empty: this machine")
    max_failed_fraction: float = Field(default=0.01, ge=0, le=1)

    @field_validator("batch_size", mode="before")
    @classmethod
    def _found(cls, value: Any) -> Any:
        if value == "auto":
            return FOUND
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, str) or (isinstance(number, int) and not 1 <= number <= MOST_AT_ONCE):
            raise ValueError(f"valid is a number of images from 1 to {MOST_AT_ONCE}, or auto")
        return number

    @field_serializer("batch_size")
    def _as_written(self, value: int) -> int | str:
        return "auto" if value == FOUND else value

    @model_validator(mode="after")
    def _cluster(self) -> ExecutionConfig:
        if self.address and self.runner == "processes":
            raise ValueError(
                f'address {self.address!r} is that of a cluster; say which: runner = "dask" or "ray"'
            )
        return self


class RankingConfig(Section):
    """How the stored scores become a ranking: applied afterwards, so no part of the run id."""

    method: str = ""  # method key; empty: the run's first
    images: Literal["correct", "all"] = "correct"  # right for the wrong reason: the correctly classified ones
    n_min: int = Field(default=5, ge=1)
    relevant_effect: float = Field(default=-0.5, lt=0, description="a difference of log odds that matters")
    fdr: Literal["bh", "by"] = "bh"
    level: float = Field(default=0.05, gt=0, lt=1)
    draws: int = Field(default=2000, ge=100)
    seed: int = Field(default=0, ge=0)


class SanityConfig(Section):
    """Sanity checks of the methods on a sample: they judge the methods, so no part of the run id."""

    images: int = Field(default=8, ge=0, description="images compared, at most; 0 = no check")


class StrategiesConfig(Section):
    """Strategies inside the accused classes (SpRAy), from the stored maps; no part of the run id."""

    classes: int = Field(default=5, ge=0, description="first confirmed or suspected classes; 0 = none")


class InterventionsConfig(Section):
    """How many images of every class are edited (a stage of every run); no part of the run id."""

    images: int = Field(default=10, ge=0, description="images per class in the first look; 0 = no edits")
    most: int = Field(default=80, ge=0, description="images of a class that looks leave open, at most")
    passes: int = Field(
        default=0,
        ge=0,
        description="forward passes of the run in all, beyond the first look; 0 = 2.5 per image of the run, "
        "and 10,000 where those are fewer",
    )
    pairs: int = Field(default=2, ge=1, description="exchanged backgrounds per image; fills take turns")
    seed: int = Field(default=0, ge=0)


class ReferenceConfig(Section):
    """Another network that the audited one is compared with, on the same images; no part of the run id."""

    source: Location = ""  # a model as model.source names one, or the folder of a finished run; empty: none
    weights: Location = "imagenet"  # as model.weights
    card: Location = ""  # as model.card
    unsafe: bool = False  # as model.unsafe

    @property
    def model(self) -> ModelConfig:
        """The network as the audited one is described."""
        return ModelConfig(**self.model_dump())


class TransferConfig(Section):
    """Windows of images pasted onto images of other classes (a stage of every run that stores maps); no part
    of the run id."""

    images: int = Field(default=20, ge=0, description="images per class that give a window; 0 = none")
    recipients: int = Field(default=2, ge=1, description="images that every window is pasted onto")
    passes: int = Field(
        default=0,
        ge=0,
        description="forward passes of the run in all, beyond one image per class; 0 = 1.6 per image of the "
        "run, and 10,000 where those are fewer",
    )
    seed: int = Field(default=0, ge=0)


class ReportConfig(Section):
    """What the report shows beside the run itself; no part of the run id."""

    decisions: Location = ""  # what people decided: a decisions.toml; empty: none
    baseline: Location = ""  # folder of a run on the same images to compare with; empty: none
