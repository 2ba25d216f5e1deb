"""The tables ``transfer``, ``pasted_windows`` and ``transfer_again``, a part of each per block of classes."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from pipeline.run.block_parts import BlockParts, said
from pipeline.run.folder import AGAIN, TRANSFER, WINDOWS, RunFolder
from pipeline.schema import TRANSFER as COLUMNS
from pipeline.schema import WINDOWS as OF_WINDOWS


class TransferParts(BlockParts):
    """What the network said to windows of images that were pasted onto others."""

    TABLE: ClassVar[str] = TRANSFER
    SCHEMA: ClassVar[pa.Schema] = COLUMNS

    def left_out(self, reason: str) -> int:
        """Images that were looked at and gave no window: ``no_room`` beside the box, or ``no_map``."""
        return sum(int(said(table, reason) or 0) for table in self.usable().values())


class AgainParts(BlockParts):
    """What the network said to windows of another run, whose reference it is; keys are that run's."""

    TABLE: ClassVar[str] = AGAIN
    SCHEMA: ClassVar[pa.Schema] = COLUMNS


def read_transfer(run: RunFolder) -> pa.Table | None:
    """:meth:`TransferParts.read` of a run as it is."""
    return TransferParts(run).read()


class WindowParts(BlockParts):
    """What these windows are; runs of before there was such a table have none."""

    TABLE: ClassVar[str] = WINDOWS
    SCHEMA: ClassVar[pa.Schema] = OF_WINDOWS


def read_windows(run: RunFolder) -> pa.Table | None:
    """:meth:`WindowParts.read` of a run as it is."""
    return WindowParts(run).read()
