"""The table ``interventions``, a part per block of classes."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from pipeline.run.block_parts import BlockParts
from pipeline.run.folder import EDITED, RunFolder
from pipeline.schema import INTERVENTIONS


class EditedParts(BlockParts):
    """What the network said to edited images of a run."""

    TABLE: ClassVar[str] = EDITED
    SCHEMA: ClassVar[pa.Schema] = INTERVENTIONS
    FURTHER: ClassVar[str] = "more"


def read_edited(run: RunFolder) -> pa.Table | None:
    """:meth:`EditedParts.read` of a run as it is."""
    return EditedParts(run).read()
