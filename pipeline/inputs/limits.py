"""What images may cost: pixels, also of all threads together, and boxes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_BOXES = 10_000  # of one image: no annotator draws more, and every one costs a pass over the mask
MAX_PIXELS = 89_478_485  # of one image: Pillow's own limit against decompression bombs


class PixelBudget:
    """Lets work begin as long as the pixels in flight, those of all threads, stay within ``total``.

    An image with more pixels than that waits until it is the only one.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.in_flight = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Context in which ``pixels`` may be held decoded."""
        with self._changed:
            self._changed.wait_for(lambda: self.in_flight == 0 or self.in_flight + pixels <= self.total)
            self.in_flight += pixels
        try:
            yield
        finally:
            with self._changed:
                self.in_flight -= pixels
                self._changed.notify_all()


# one image of the largest size, or some 450 photographs of ILSVRC's
DECODING = PixelBudget(MAX_PIXELS)
