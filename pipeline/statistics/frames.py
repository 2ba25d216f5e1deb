"""Tables of a run as data frames that stay small, however many images they have a row of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.statistics.arrays import Floats


def image_frame(table: pa.Table) -> pd.DataFrame:
    """A row per image of ``table``; names and boxes stay Arrow's: a box takes 16 bytes, as objects some 500.

    Names that repeat become categories, undefined numbers nan, and an undefined name or list ``pd.NA``.
    """
    # offsets of 64 bits: the names of a whole run may be more than 2 GB
    fields = [f.with_type(pa.large_string()) if pa.types.is_string(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields)).unify_dictionaries().to_pandas(types_mapper=_kept)


def _kept(type_: pa.DataType) -> pd.ArrowDtype | None:
    """The types that do not become NumPy's."""
    return pd.ArrowDtype(type_) if pa.types.is_large_string(type_) or pa.types.is_nested(type_) else None


def of_images(ids: pa.ChunkedArray, known: pd.Series) -> Floats:
    """What is ``known`` (index: example_id) of each of the images ``ids`` (n,); nan where it is nothing."""
    place = pc.index_in(ids, pa.array(list(known.index), ids.type)).fill_null(len(known)).to_numpy()
    return np.append(known.to_numpy(float), np.nan)[place]
