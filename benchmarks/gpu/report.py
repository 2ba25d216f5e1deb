"""What is measured on the device at hand, step by step, and the rows that it makes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np

from benchmarks import networks
from benchmarks.gpu import subjects
from benchmarks.gpu.device import Device, environment
from benchmarks.gpu.loops import measure_loop
from benchmarks.gpu.order import FRAMEWORK, LOOPS, PEERS, Step
from benchmarks.gpu.peers import measure_peers
from benchmarks.gpu.subjects import Subject
from benchmarks.gpu.table import Row, Table, difference, failure

NOTES = {("vit_b", "lrp.epsilon"): "AttnLRP: Epsilon, and its own rules in attention"}
LEAST_SECONDS = 0.5  # for which a subject is repeated


class Report:
    """The table, and one network and one subject at a time: what is not looked at holds no memory."""

    def __init__(self, options: argparse.Namespace) -> None:
        # a CPU is slow, and what it shows is that everything runs
        self.device, self.small = Device(0.0 if options.small else LEAST_SECONDS), options.small
        gpu = self.device.gpu
        self.precisions = ("float32", "tf32", "bfloat16") if gpu else ("float32", "bfloat16")
        self.batch = options.batch or (2 if options.small else 128 if gpu else 4)
        side = 8192 if gpu else 512 if options.small else 2048
        about = environment(self.device) | {"options": {k: str(v) for k, v in vars(options).items()}}
        about["rates"] = {p: self.device.matrix_rate(p, side) for p in self.precisions}
        self.table = Table(options.out, about, counts=gpu and not options.small)
        self._model: tuple[str, keras.Model | None] = ("", None)
        self._subject: tuple[tuple[str, str], Callable[[str], Subject] | None] = (("", ""), None)
        self._shares: dict[
            tuple[str, str], float
        ] = {}  # of the matrix rate, framework's, by network, precision
        self._exact: dict[tuple[str, str], np.ndarray] = {}  # maps in float32, by network and what

    def measure(self, step: Step) -> None:
        """The row of ``step``, or one that says why it has no figures."""
        with self.noting(step):
            if step.what == PEERS:  # of 224x224 all the same
                measure_peers(self.table, self.device, 1 if self.small else self.batch)
            elif step.what in LOOPS:
                self.table.add(measure_loop(self.device, self.model(step.network), self.batch, step))
            else:
                self.table.add(self.row(step))

    @contextmanager
    def noting(self, step: Step) -> Iterator[None]:
        """What fails in it becomes a row: the others are measured all the same."""
        try:
            yield
        except Exception as error:
            self.table.add(Row(step.network, step.what, step.precision, note=failure(error)))

    def row(self, step: Step) -> Row:
        """Rates, share of the matrix rate, peak, and error against float32 of a way to maps."""
        subject = self.subject(step.network, step.what)(step.precision)
        self.device.forget_peak()
        rate = self.batch / self.device.seconds(subject.on_device)
        peak, maps = self.device.peak(), subject.whole()
        fraction = rate * subject.flop / self.table.about["rates"][step.precision]
        if step.what == FRAMEWORK:
            self._shares[step.network, step.precision] = fraction
        best = self._shares.get((step.network, step.precision))
        exact = self._exact.get((step.network, step.what))
        error = (None, None) if exact is None else difference(maps, exact)
        if step.precision == "float32":
            self._exact[step.network, step.what] = maps
        whole = self.batch / self.device.seconds(subject.whole)
        return Row(
            step.network, step.what, step.precision, self.batch, rate, whole, subject.flop / 1e9, fraction,
            fraction / best if best else None, peak, *error, note=NOTES.get((step.network, step.what), ""),
        )  # fmt: skip

    def model(self, name: str) -> keras.Model:
        """The network of this name, the one that was asked for last or a new one."""
        if self._model[0] != name:
            self._subject, self._model = (("", ""), None), ("", None)
            self._model = name, self.made(name)
        assert self._model[1] is not None
        return self._model[1]

    def made(self, name: str) -> keras.Model:
        """A new one."""
        return networks.build_small(name) if self.small else networks.build(name)

    def subject(self, network: str, what: str) -> Callable[[str], Subject]:
        """The subject by precision, bound to the network once for all of them."""
        model = self.model(network)
        if self._subject[0] != (network, what):
            x = networks.images(model, self.batch)
            self._subject = ("", ""), None
            if what == FRAMEWORK:
                made = subjects.of_framework(lambda: self.made(network), model, x)
            else:
                made = subjects.of_method(what, model, x)
            self._subject = (network, what), made
        assert self._subject[1] is not None
        return self._subject[1]
