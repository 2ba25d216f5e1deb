"""What reads files of strangers: a good file of every kind, and the function of ours that reads it."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FIXTURES = Path(__file__).parents[1] / "fixtures"


@dataclass(frozen=True)
class Reader:
    """One kind of input.

    Attributes:
        samples: good files, made when first asked for.
        read: reads a file; raises one of the project's errors for a bad one.
        share: how many cases it gets, relative to the others.
        exact: whatever is read of a file that is not the sample must be what the sample holds: anything else
            would be a silently different result.
    """

    name: str
    suffix: str
    samples: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    share: float = 1.0
    exact: bool = False


# -- images and archives


def _picture(form: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()


def _photo() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _picture("JPEG", exif=exif)


def _pictures() -> list[bytes]:
    kinds = [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16")]
    kinds += [("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "F"), ("WEBP", "RGB")]
    return [_photo(), *(_picture(form, mode) for form, mode in kinds if (form, mode) != ("PNG", "I;16"))]


def _read_picture(path: Path) -> Any:
    from pipeline.inputs.card import ModelCard
    from pipeline.inputs.geometry import draw, open_image, place_image, upright

    card = ModelCard(height=16, width=16, shorter_side=18)
    image = upright(open_image(path.read_bytes()), None)
    return draw(image, place_image(*image.size, card), card)


def _tiny_zip() -> bytes:
    from tests.archives import tiny_imagenet, write_zip

    with tempfile.TemporaryDirectory() as folder:
        return write_zip(Path(folder) / "tiny.zip", tiny_imagenet(2, 1)).read_bytes()


def _read_zip(path: Path) -> Any:
    from pipeline.inputs.datasets.tiny_imagenet import MAX_IMAGE, MAX_TOTAL
    from pipeline.inputs.datasets.zip_archives import open_zip

    with open_zip(path, MAX_TOTAL) as members:
        return {name: members.read(name, MAX_IMAGE) for name in members.members}


def _xml() -> bytes:
    from tests.archives import xml

    return xml("ILSVRC2012_val_00000001", "n01440764", [[1, 2, 30, 40], [5, 6, 7, 8]])


@cache
def _archives() -> dict[str, list[bytes]]:
    from tests.archives import write_archives

    with tempfile.TemporaryDirectory() as folder:
        made = write_archives(Path(folder), 3)
        return {"tar": [made.images.read_bytes()], "tgz": [made.boxes.read_bytes()]}


def _read_tar(path: Path) -> Any:
    from pipeline.inputs.datasets.archives import MAX_IMAGE, MAX_TOTAL_IMAGES, read_members

    return [name for name, _ in read_members(path, MAX_IMAGE, MAX_TOTAL_IMAGES)]


def _read_annotations(path: Path) -> Any:
    from pipeline.inputs.datasets.archives import read_annotations

    return read_annotations(path)


def _read_xml(path: Path) -> Any:
    from pipeline.inputs.datasets.archives import parse_xml

    return parse_xml(path.read_bytes(), path.name)


# -- annotations of folders


def _csv() -> bytes:
    return b'file,label,xmin,ymin,xmax,ymax\ncat/a.jpg,cat,1,2,30,20\nb.jpg,dog,,,,\n"d, e.jpg",dog,0,0,5,5\n'


def _kaggle() -> bytes:
    return b"ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4 n01440764 5 6 7 8\n"


def _coco() -> bytes:
    images = [{"id": 1, "file_name": "a.jpg", "width": 32, "height": 24}, {"id": 2, "file_name": "b.jpg"}]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 10.5, 12], "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 4, "bbox": [0, 0, 4, 4], "iscrowd": 1},
    ]
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode()


def _voc() -> bytes:
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>31</xmax><ymax>21</ymax></bndbox>"
    size = "<size><width>32</width><height>24</height><depth>3</depth></size>"
    item = f"<object><name>cat</name>{box}</object>"
    return f"<annotation><filename>a.jpg</filename>{size}{item}</annotation>".encode()


def _read_boxes(form: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from pipeline.inputs.datasets.annotations import read_boxes
        from pipeline.inputs.datasets.image_files import match

        annotations = read_boxes(path, form)
        return match(["cat/a.jpg", "b.jpg"], annotations.entries, path.name)

    return read


# -- settings


def _card() -> bytes:
    return (
        b'height = 32\nwidth = 24\nresize = "shorter_side"\nshorter_side = 40\nmean = [0.1, 0.2, 0.3]\n'
        b'std = [1.0, 1.0, 2.0]\nscale = 0.004\noutput = "softmax"\nclasses = 2\n'
        b'class_names = ["cat", "dog"]\n'
    )


def _read_card(path: Path) -> Any:
    from pipeline.inputs.card_files import read_card

    return read_card(str(path)).card


def _read_classes(path: Path) -> Any:
    from pipeline.inputs.card import read_class_file

    return read_class_file(path)


def _config() -> bytes:
    return (
        b'methods = [{name = "lrp.preset_a"}, {name = "smoothgrad", params = {augment_by_n = 4}}]\n'
        b'[dataset]\nsource = "folder"\npath = "photos"\nlimit = 10\n[model]\nsource = "net.keras"\n'
        b"[audit]\nmaps = 8\nseed = 3\n[ranking]\nlevel = 0.05\n[execution]\nbatch_size = 4\n"
        b"[interventions]\nimages = 3\n"
    )


def _read_config(path: Path) -> Any:
    from pipeline.config import load_config

    return load_config(path).canonical_json()


def _policy() -> bytes:
    return (
        b'waive = ["clever_hans"]\nallow_incomplete = true\nmin_coverage = {classes = 0.9}\n'
        b'[[check]]\nstatistic = "n_suspicious"\nmax = 3\n'
        b'[[check]]\nmetric = "lift"\naggregate = "mean"\nmin = 0.5\nimages = "correct"\n'
        b'name = "lift is high"\n'
    )


def _read_policy(path: Path) -> Any:
    from reports.gate.policy import load_policy

    return load_policy(path)


def _decisions() -> bytes:
    return (
        b'version = 1\n[[decision]]\nclass = "n01"\ndecision = "clever_hans"\nreason = "known"\n'
        b'owner = "a team"\nuntil = 2027-03-31\ncheck = "nothing confirmed"\n'
    )


def _read_decisions(path: Path) -> Any:
    from reports.decisions.file import load_decisions

    return load_decisions(path)


def _methods() -> list[bytes]:
    return [
        b"lrp.preset_a",
        b"smoothgrad(augment_by_n=16, noise_scale=0.1)",
        b'lime(segmentation="grid",size=8)',
    ]


def _read_method(path: Path) -> Any:
    from pipeline.config import parse_method

    return parse_method(path.read_bytes().decode("utf-8", "replace")).key


# -- models and runs


@cache
def _models() -> dict[str, list[bytes]]:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".keras", ".h5"):
            path = Path(folder, f"model{suffix}")
            model.save(path)
            made[suffix] = [path.read_bytes()]
    return made


def _read_model(path: Path) -> Any:
    from pipeline.config_sections import ModelConfig
    from pipeline.inputs.models import load_model

    card = path.with_suffix(".toml")
    card.write_text('height = 8\nwidth = 8\nresize = "stretch"\noutput = "logits"\n', encoding="utf-8")
    return load_model(ModelConfig(source=str(path), card=str(card))).model.count_params()


RUN = FIXTURES / "run-schema-1"


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone when the process ends."""
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


@cache
def _whole() -> Path:
    """The run with inventories and hashes, as it would be written today."""
    from tests.tables import with_inventories

    folder = Path(shutil.copytree(RUN, Path(_scratch().name) / "run"))
    with_inventories(folder)
    return folder


@cache
def _workplace(folder: Path) -> Path:
    """A copy of the run whose files are spoilt one after the other."""
    return Path(shutil.copytree(_whole(), folder / "run"))


def _in_run(name: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Reads the run in which ``name`` is the given file."""

    def reader(path: Path) -> Any:
        run = _workplace(path.parent)
        place = run / name
        place.write_bytes(path.read_bytes())
        try:
            return read(run)
        finally:
            shutil.copyfile(_whole() / name, place)

    return reader


def _read_table(table: str) -> Callable[[Path], Any]:
    def read(run: Path) -> Any:
        from pipeline.run.store import Store

        return Store(run).read(table).to_pylist()

    return read


def _read_document(kind: str) -> Callable[[Path], Any]:
    def read(run: Path) -> Any:
        from pipeline.run import documents, folder

        return getattr(documents, kind).read(folder.RunFolder(run))

    return read


def _read_manifest(run: Path) -> Any:
    from pipeline.run.store import Store

    store = Store(run)
    return store.manifest["config"], store.missing()


def _run_readers() -> Iterator[Reader]:
    for table in ("examples", "scores", "maps"):
        name = sorted((RUN / table).iterdir())[0].relative_to(RUN).as_posix()
        read = _in_run(name, _read_table(table))
        yield Reader(
            f"part of {table}",
            ".parquet",
            lambda name=name: [(_whole() / name).read_bytes()],
            read,
            0.3,
            exact=True,
        )
    inventory = "inventory/validation-000000000-000000048.json"
    yield Reader(
        "inventory",
        ".json",
        lambda: [(_whole() / inventory).read_bytes()],
        _in_run(inventory, _read_table("examples")),
        0.3,
        exact=True,
    )
    documents = {
        "ranking": "RankingDocument",
        "confirm": "ConfirmationDocument",
        "sanity": "SanityDocument",
        "clusters": "ClustersDocument",
    }
    for file, kind in documents.items():
        path = RUN / f"{file}.json"
        read = _in_run(path.name, _read_document(kind))
        yield Reader(path.name, ".json", lambda path=path: [path.read_bytes()], read, 0.5)
    manifest = RUN / "manifest.json"
    yield Reader(
        manifest.name,
        ".json",
        lambda: [(_whole() / manifest.name).read_bytes()],
        _in_run(manifest.name, _read_manifest),
        0.5,
    )


READERS: tuple[Reader, ...] = (
    Reader("image", ".img", _pictures, _read_picture, 2.0),
    Reader("tar of images", ".tar", lambda: _archives()["tar"], _read_tar),
    Reader("tgz of boxes", ".tgz", lambda: _archives()["tgz"], _read_annotations),
    Reader("zip of images", ".zip", lambda: [_tiny_zip()], _read_zip),
    Reader("ILSVRC XML", ".xml", lambda: [_xml()], _read_xml),
    Reader("Kaggle CSV", ".csv", lambda: [_kaggle()], _read_annotations),
    Reader("CSV", ".csv", lambda: [_csv()], _read_boxes("csv")),
    Reader("COCO", ".json", lambda: [_coco()], _read_boxes("coco")),
    Reader("VOC", ".xml", lambda: [_voc()], _read_boxes("voc")),
    Reader("card", ".toml", lambda: [_card()], _read_card),
    Reader(
        "list of classes",
        ".txt",
        lambda: [b"n01440764 tench, Tinca tinca\nn02802426 basketball\n"],
        _read_classes,
    ),
    Reader("configuration", ".toml", lambda: [_config()], _read_config),
    Reader("policy", ".toml", lambda: [_policy()], _read_policy),
    Reader("decisions", ".toml", lambda: [_decisions()], _read_decisions),
    Reader("method", ".txt", _methods, _read_method),
    Reader("Keras model", ".keras", lambda: _models()[".keras"], _read_model, 0.02),
    Reader("HDF5 model", ".h5", lambda: _models()[".h5"], _read_model, 0.02),
    *_run_readers(),
)
