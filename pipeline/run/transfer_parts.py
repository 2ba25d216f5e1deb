"""The table ``transfer``, a part per block of classes."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from pipeline.run.block_parts import BlockParts, said
from pipeline.run.folder import TRANSFER, RunFolder
from pipeline.schema import TRANSFER as COLUMNS


class TransferParts(BlockParts):
    """What the network said to windows of images that were pasted onto others."""

    TABLE: ClassVar[str] = TRANSFER
    SCHEMA: ClassVar[pa.Schema] = COLUMNS

    def left_out(self, reason: str) -> int:
        """Images that were looked at and gave no window: ``no_room`` beside the box, or ``no_map``."""
        return sum(int(said(table, reason) or 0) for table in self.usable().values())


def read_transfer(run: RunFolder) -> pa.Table | None:
    """:meth:`TransferParts.read` of a run as it is."""
    return TransferParts(run).read()
