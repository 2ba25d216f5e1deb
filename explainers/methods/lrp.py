"""Layer-wise relevance propagation: every preset by name, as data for the shared backward pass.

A profile bundles the conventions of a library, for those who have its maps to reproduce:
`textbook` (the formulas of this package), `zennit`, `innvestigate_2`, `lrp_toolbox`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from explainers.analyzer import BackwardAnalyzer
from explainers.checks import Numbers, numbers
from explainers.errors import InvalidParameter
from explainers.model.decomposition import APART, FOLDED, Decomposition
from explainers.network import STARTS
from explainers.registry import register
from explainers.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, Zero, ZPlus
from explainers.rules.presets import Pair, Preset, Until, compose, structure

BACH = "Bach et al. 2015, PLOS ONE 10(7) e0130140"
LAPUSCHKIN = "Lapuschkin et al. 2017, arXiv:1708.07689"
KOHLBRENNER = "Kohlbrenner et al. 2020, arXiv:1910.09840"
MONTAVON_2017 = "Montavon et al. 2017, Pattern Recognition 65"
MONTAVON_2019 = "Montavon et al. 2019, LNCS 11700 ch. 10"
ZHANG = "Zhang et al. 2016, arXiv:1608.00507"


@dataclass(frozen=True)
class Profile:
    """The conventions of one library; formulas and presets stay the same.

    `eps`, `preset_eps`: Epsilon's default alone and inside presets; `bias`, `z_plus_bias`: what of the
    bias stands in the denominators of AlphaBeta and ZPlus; `fold`: BatchNorm folded or a node of its
    own; `ties`: winners of a max pooling.
    """

    eps: float = 1e-6
    preset_eps: float = 1e-6
    bias: str = "signed"
    z_plus_bias: str = "none"
    fold: bool = True
    ties: str = "first"


PROFILES = {
    "textbook": Profile(),
    # Zennit 0.5: ZPlus keeps b+ in the denominator
    "zennit": Profile(z_plus_bias="signed"),
    # iNNvestigate 2: b+ and b- in both denominators of AlphaBeta, BatchNorm a layer of its own
    "innvestigate_2": Profile(eps=1e-7, preset_eps=0.1, bias="both", fold=False),
    # LRP toolbox: nearly no stabiliser, tied maxima share
    "lrp_toolbox": Profile(eps=1e-16, preset_eps=1e-16, ties="equal"),
}


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise InvalidParameter(f"profile {name!r} is not known; valid: {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True)
class LRP(BackwardAnalyzer):
    """LRP by a preset: `pairs` of condition and rule, a registered one or one's own.

    `seed` is the start relevance: `logit`, `one` or `probability`; `how` the network is taken apart.
    """

    pairs: Preset
    seed: str = "logit"
    how: Decomposition = FOLDED

    def __post_init__(self) -> None:
        if not isinstance(self.pairs, Preset):
            raise InvalidParameter(f"preset must be a Preset, received {type(self.pairs).__name__}")
        if self.seed not in STARTS:
            raise InvalidParameter(f"start must be one of {', '.join(STARTS)}, received {self.seed!r}")

    def preset(self) -> Preset:
        return self.pairs

    def start(self) -> str:
        return self.seed

    def decomposition(self) -> Decomposition:
        return self.how

    def decomposed(self, how: Decomposition) -> Self:
        return replace(self, how=how)


@dataclass(frozen=True)
class DeepTaylor(LRP):
    """Deep Taylor decomposition; it explains evidence *for* a class only."""

    def undefined(self, logit: float) -> str | None:
        if logit < 0:
            return f"deep Taylor decomposition is not defined for a negative target logit ({logit:.4g})"
        return None


@dataclass(frozen=True)
class Layers:
    """One rule by kind of layer: `dense`, `conv`, and `first` for the input layer."""

    dense: Rule
    conv: Rule
    first: Rule

    def named(self, name: str, rules: Sequence[Pair], conventions: Profile = Profile()) -> Preset:
        """The preset, with pairs of one's own in front."""
        rest = structure(min(conventions.eps, 1e-6), conventions.ties)
        return compose(name, self.dense, self.conv, self.first, rest).before(*rules)


@register("lrp", family="lrp", paper=BACH, cost="1 forward pass and the preset's own")
def lrp(preset: Preset, start: str = "logit", batch_norm: str = "fold", without: tuple[str, ...] = ()) -> LRP:
    """LRP by a Preset of one's own; `batch_norm`: `fold`, `apart` or `two`, `without`: see Decomposition."""
    return LRP(preset, start, Decomposition(batch_norm, tuple(without)))


def _uniform(name: str, rule: Rule, rules: Sequence[Pair], profile: str = "textbook") -> LRP:
    return _by_layer(name, Layers(rule, rule, rule), rules, profile)


def _by_layer(name: str, layers: Layers, rules: Sequence[Pair], profile: str) -> LRP:
    conventions = _profile(profile)
    return LRP(layers.named(name, rules, conventions), how=FOLDED if conventions.fold else APART)


def _box(low: Numbers, high: Numbers) -> ZBox:
    return ZBox(numbers("low", low), numbers("high", high))


@register("lrp.zero", family="lrp", paper=BACH)
def zero(rules: tuple[Pair, ...] = ()) -> LRP:
    """Zero everywhere."""
    return _uniform("lrp.zero", Zero(), rules)


@register("lrp.epsilon", family="lrp", paper=BACH)
def epsilon(eps: float | None = None, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Epsilon everywhere."""
    rule = Epsilon(_profile(profile).eps if eps is None else eps)
    return _uniform("lrp.epsilon", rule, rules, profile)


@register("lrp.gamma", family="lrp", paper=MONTAVON_2019)
def gamma(gamma: float = 0.25, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Gamma everywhere."""
    return _uniform("lrp.gamma", Gamma(gamma, _profile(profile).eps), rules, profile)


@register("lrp.z_plus", family="lrp", paper=MONTAVON_2017)
def z_plus(profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """ZPlus everywhere."""
    return _uniform("lrp.z_plus", ZPlus(bias=_profile(profile).z_plus_bias), rules, profile)


@register("lrp.w_square", family="lrp", paper=MONTAVON_2017)
def w_square(rules: tuple[Pair, ...] = ()) -> LRP:
    """WSquare everywhere."""
    return _uniform("lrp.w_square", WSquare(), rules)


@register("lrp.flat", family="lrp", paper=LAPUSCHKIN)
def flat(rules: tuple[Pair, ...] = ()) -> LRP:
    """Flat everywhere: the control that knows nothing of the weights."""
    return _uniform("lrp.flat", Flat(), rules)


@register("lrp.alpha_1_beta_0", family="lrp", paper=BACH)
def alpha_1_beta_0(profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """AlphaBeta(1, 0) everywhere."""
    return _uniform("lrp.alpha_1_beta_0", AlphaBeta(1, 0, _profile(profile).bias), rules, profile)


@register("lrp.alpha_2_beta_1", family="lrp", paper=BACH)
def alpha_2_beta_1(profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """AlphaBeta(2, 1) everywhere."""
    return _uniform("lrp.alpha_2_beta_1", AlphaBeta(2, 1, _profile(profile).bias), rules, profile)


def _layers(alpha: float, eps: float | None, profile: str) -> Layers:
    """Epsilon for dense layers, AlphaBeta for convolutions."""
    conventions = _profile(profile)
    conv = AlphaBeta(alpha, alpha - 1, conventions.bias)
    return Layers(Epsilon(conventions.preset_eps if eps is None else eps), conv, conv)


def _flat(layers: Layers, until: str | None) -> tuple[Layers, tuple[Pair, ...]]:
    """Flat at the input layer, and the pairs that make it so up to a named node."""
    return replace(layers, first=Flat()), () if until is None else ((Until(until), Flat()),)


@register("lrp.preset_a", family="lrp", paper=LAPUSCHKIN, aliases=("lrp.star",))
def preset_a(eps: float | None = None, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Epsilon for dense layers, AlphaBeta(1, 0) for convolutions."""
    return _by_layer("lrp.preset_a", _layers(1, eps, profile), rules, profile)


@register("lrp.preset_b", family="lrp", paper=LAPUSCHKIN)
def preset_b(eps: float | None = None, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Epsilon for dense layers, AlphaBeta(2, 1) for convolutions."""
    return _by_layer("lrp.preset_b", _layers(2, eps, profile), rules, profile)


@register("lrp.preset_a_flat", family="lrp", paper=KOHLBRENNER)
def preset_a_flat(
    flat_until: str | None = None,
    eps: float | None = None,
    profile: str = "textbook",
    rules: tuple[Pair, ...] = (),
) -> LRP:
    """Preset A with Flat at the input layer, or up to the node `flat_until`."""
    layers, until = _flat(_layers(1, eps, profile), flat_until)
    return _by_layer("lrp.preset_a_flat", layers, (*rules, *until), profile)


@register("lrp.preset_b_flat", family="lrp", paper=KOHLBRENNER)
def preset_b_flat(
    flat_until: str | None = None,
    eps: float | None = None,
    profile: str = "textbook",
    rules: tuple[Pair, ...] = (),
) -> LRP:
    """Preset B with Flat at the input layer, or up to the node `flat_until`."""
    layers, until = _flat(_layers(2, eps, profile), flat_until)
    return _by_layer("lrp.preset_b_flat", layers, (*rules, *until), profile)


@register(
    "lrp.epsilon_gamma_box",
    family="lrp",
    paper=MONTAVON_2019,
)
def epsilon_gamma_box(
    low: Numbers, high: Numbers, gamma: float = 0.25, eps: float = 1e-6, rules: tuple[Pair, ...] = ()
) -> LRP:
    """Epsilon for dense layers, Gamma for convolutions, ZBox at the input."""
    layers = Layers(Epsilon(eps), Gamma(gamma, eps), _box(low, high))
    return LRP(layers.named("lrp.epsilon_gamma_box", rules))


@register("deep_taylor", family="lrp", paper=MONTAVON_2017)
def deep_taylor(rules: tuple[Pair, ...] = ()) -> DeepTaylor:
    """ZPlus, with WSquare at the input: for inputs without bounds."""
    return DeepTaylor(Layers(ZPlus(), ZPlus(), WSquare()).named("deep_taylor", rules))


@register(
    "deep_taylor.bounded",
    family="lrp",
    paper=MONTAVON_2017,
)
def deep_taylor_bounded(low: Numbers, high: Numbers, rules: tuple[Pair, ...] = ()) -> DeepTaylor:
    """ZPlus, with ZBox at the input: for inputs in `[low, high]`, one number or one per channel."""
    return DeepTaylor(Layers(ZPlus(), ZPlus(), _box(low, high)).named("deep_taylor.bounded", rules))


@register("excitation_backprop", family="lrp", paper=ZHANG)
def excitation_backprop(rules: tuple[Pair, ...] = ()) -> LRP:
    """ZPlus everywhere, starting at the target's probability."""
    rule = ZPlus()
    return LRP(Layers(rule, rule, rule).named("excitation_backprop", rules), seed="probability")
