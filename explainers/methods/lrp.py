"""Layer-wise relevance propagation: every preset by name, as data for the shared backward pass.

A profile bundles the conventions of a library, for those who have its maps to reproduce:
`textbook` (the formulas of this package), `zennit`, `innvestigate_2`, `lrp_toolbox`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from explainers.analyzer import BackwardAnalyzer
from explainers.errors import InvalidParameter
from explainers.registry import register
from explainers.rules.presets import Pair, Preset, Until, compose, structure
from explainers.rules.weighted import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, Zero, ZPlus

BACH = "Bach et al. 2015, PLOS ONE 10(7) e0130140"
LAPUSCHKIN = "Lapuschkin et al. 2017, arXiv:1708.07689"
KOHLBRENNER = "Kohlbrenner et al. 2020, arXiv:1910.09840"
MONTAVON_2017 = "Montavon et al. 2017, Pattern Recognition 65"
MONTAVON_2019 = "Montavon et al. 2019, LNCS 11700 ch. 10"
ZHANG = "Zhang et al. 2016, arXiv:1608.00507"

Bounds = float | tuple[float, ...]


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
    # iNNvestigate 2: b+ and b- in both denominators, BatchNorm a layer of its own
    "innvestigate_2": Profile(eps=1e-7, preset_eps=0.1, bias="both", z_plus_bias="both", fold=False),
    # LRP toolbox: nearly no stabiliser, tied maxima share
    "lrp_toolbox": Profile(eps=1e-16, preset_eps=1e-16, ties="equal"),
}


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise InvalidParameter(f"profile {name!r} is not known; valid: {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True)
class LRP(BackwardAnalyzer):
    """LRP with one rule by kind of layer: `dense`, `conv`, and `first` for the input layer.

    `rules` are (condition, rule) pairs placed in front of all others, for layers of one's own or
    exceptions; a condition may be a `Subgraph`. `seed` is the start relevance: `logit`, `one` or
    `probability`. `profile` names the conventions.
    """

    name: str
    dense: Rule
    conv: Rule
    first: Rule
    rules: tuple[Pair, ...] = ()
    seed: str = "logit"
    profile: str = "textbook"

    def __post_init__(self) -> None:
        _profile(self.profile)

    def preset(self) -> Preset:
        profile = _profile(self.profile)
        rest = structure(min(profile.eps, 1e-6), profile.ties)
        return compose(self.name, self.dense, self.conv, self.first, rest).before(*self.rules)

    def start(self) -> str:
        return self.seed

    def fold(self) -> bool:
        return _profile(self.profile).fold

    def with_rules(self, rules: tuple[Pair, ...]) -> LRP:
        """The same with (condition, rule) pairs placed in front."""
        return replace(self, rules=(*rules, *self.rules))


@dataclass(frozen=True)
class DeepTaylor(LRP):
    """Deep Taylor decomposition; it explains evidence *for* a class only."""

    def undefined(self, logit: float) -> str | None:
        if logit < 0:
            return f"deep Taylor decomposition is not defined for a negative target logit ({logit:.4g})"
        return None


@dataclass(frozen=True)
class CustomLRP(BackwardAnalyzer):
    """LRP by a preset of one's own."""

    pairs: Preset
    seed: str = "logit"
    batch_norm: str = "fold"

    def preset(self) -> Preset:
        return self.pairs

    def start(self) -> str:
        return self.seed

    def fold(self) -> bool:
        return self.batch_norm == "fold"


@register("lrp", family="lrp", paper=BACH, cost="1 forward, the preset's backward", needs=("preset",))
def lrp(preset: Preset, start: str = "logit", batch_norm: str = "fold") -> CustomLRP:
    """LRP by a Preset of one's own; `batch_norm` is `fold` or `apart`."""
    if not isinstance(preset, Preset):
        raise InvalidParameter(f"preset must be a Preset, received {type(preset).__name__}")
    if batch_norm not in ("fold", "apart"):
        raise InvalidParameter(f"batch_norm must be 'fold' or 'apart', received {batch_norm!r}")
    return CustomLRP(preset, start, batch_norm)


def _uniform(name: str, rule: Rule, rules: tuple[Pair, ...], profile: str = "textbook") -> LRP:
    return LRP(name, rule, rule, rule, tuple(rules), profile=profile)


@register("lrp.zero", family="lrp", paper=BACH, cost="1 forward, 1 backward")
def zero(rules: tuple[Pair, ...] = ()) -> LRP:
    """Zero everywhere."""
    return _uniform("lrp.zero", Zero(), rules)


@register("lrp.epsilon", family="lrp", paper=BACH, cost="1 forward, 1 backward")
def epsilon(eps: float | None = None, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Epsilon everywhere."""
    rule = Epsilon(_profile(profile).eps if eps is None else eps)
    return _uniform("lrp.epsilon", rule, rules, profile)


@register(
    "lrp.gamma", family="lrp", paper=MONTAVON_2019, cost="2 forward, 1 backward behind ReLU, else 5 and 4"
)
def gamma(gamma: float = 0.25, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Gamma everywhere."""
    return _uniform("lrp.gamma", Gamma(gamma, _profile(profile).eps), rules, profile)


@register("lrp.z_plus", family="lrp", paper=MONTAVON_2017, cost="2 forward, 1 backward")
def z_plus(profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """ZPlus everywhere."""
    return _uniform("lrp.z_plus", ZPlus(bias=_profile(profile).z_plus_bias), rules, profile)


@register("lrp.w_square", family="lrp", paper=MONTAVON_2017, cost="1 forward, 1 backward")
def w_square(rules: tuple[Pair, ...] = ()) -> LRP:
    """WSquare everywhere."""
    return _uniform("lrp.w_square", WSquare(), rules)


@register("lrp.flat", family="lrp", paper=LAPUSCHKIN, cost="1 forward")
def flat(rules: tuple[Pair, ...] = ()) -> LRP:
    """Flat everywhere: the control that knows nothing of the weights."""
    return _uniform("lrp.flat", Flat(), rules)


@register("lrp.alpha_1_beta_0", family="lrp", paper=BACH, cost="2 forward, 1 backward")
def alpha_1_beta_0(profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """AlphaBeta(1, 0) everywhere."""
    return _uniform("lrp.alpha_1_beta_0", AlphaBeta(1, 0, _profile(profile).bias), rules, profile)


@register("lrp.alpha_2_beta_1", family="lrp", paper=BACH, cost="3 forward, 2 backward")
def alpha_2_beta_1(profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """AlphaBeta(2, 1) everywhere."""
    return _uniform("lrp.alpha_2_beta_1", AlphaBeta(2, 1, _profile(profile).bias), rules, profile)


def _preset(name: str, alpha: float, eps: float | None, profile: str, rules: tuple[Pair, ...]) -> LRP:
    conventions = _profile(profile)
    conv = AlphaBeta(alpha, alpha - 1, conventions.bias)
    dense = Epsilon(conventions.preset_eps if eps is None else eps)
    return LRP(name, dense, conv, conv, tuple(rules), profile=profile)


def _flat(analyzer: LRP, until: str | None) -> LRP:
    pairs = () if until is None else ((Until(until), Flat()),)
    return replace(analyzer, first=Flat(), rules=(*analyzer.rules, *pairs))


@register("lrp.preset_a", family="lrp", paper=LAPUSCHKIN, cost="2 forward, 1 backward", aliases=("lrp.star",))
def preset_a(eps: float | None = None, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Epsilon for dense layers, AlphaBeta(1, 0) for convolutions."""
    return _preset("lrp.preset_a", 1, eps, profile, rules)


@register("lrp.preset_b", family="lrp", paper=LAPUSCHKIN, cost="3 forward, 2 backward")
def preset_b(eps: float | None = None, profile: str = "textbook", rules: tuple[Pair, ...] = ()) -> LRP:
    """Epsilon for dense layers, AlphaBeta(2, 1) for convolutions."""
    return _preset("lrp.preset_b", 2, eps, profile, rules)


@register("lrp.preset_a_flat", family="lrp", paper=KOHLBRENNER, cost="2 forward, 1 backward")
def preset_a_flat(
    flat_until: str | None = None,
    eps: float | None = None,
    profile: str = "textbook",
    rules: tuple[Pair, ...] = (),
) -> LRP:
    """Preset A with Flat at the input layer, or up to the node `flat_until`."""
    return _flat(_preset("lrp.preset_a_flat", 1, eps, profile, rules), flat_until)


@register("lrp.preset_b_flat", family="lrp", paper=KOHLBRENNER, cost="3 forward, 2 backward")
def preset_b_flat(
    flat_until: str | None = None,
    eps: float | None = None,
    profile: str = "textbook",
    rules: tuple[Pair, ...] = (),
) -> LRP:
    """Preset B with Flat at the input layer, or up to the node `flat_until`."""
    return _flat(_preset("lrp.preset_b_flat", 2, eps, profile, rules), flat_until)


@register(
    "lrp.epsilon_gamma_box",
    family="lrp",
    paper=MONTAVON_2019,
    cost="2 forward, 1 backward",
    needs=("low", "high"),
)
def epsilon_gamma_box(
    low: Bounds, high: Bounds, gamma: float = 0.25, eps: float = 1e-6, rules: tuple[Pair, ...] = ()
) -> LRP:
    """Epsilon for dense layers, Gamma for convolutions, ZBox at the input."""
    return LRP("lrp.epsilon_gamma_box", Epsilon(eps), Gamma(gamma, eps), ZBox(low, high), tuple(rules))


@register("deep_taylor", family="lrp", paper=MONTAVON_2017, cost="2 forward, 1 backward")
def deep_taylor(rules: tuple[Pair, ...] = ()) -> DeepTaylor:
    """ZPlus, with WSquare at the input: for inputs without bounds."""
    return DeepTaylor("deep_taylor", ZPlus(), ZPlus(), WSquare(), tuple(rules))


@register(
    "deep_taylor.bounded",
    family="lrp",
    paper=MONTAVON_2017,
    cost="2 forward, 1 backward",
    needs=("low", "high"),
)
def deep_taylor_bounded(low: Bounds, high: Bounds, rules: tuple[Pair, ...] = ()) -> DeepTaylor:
    """ZPlus, with ZBox at the input: for inputs in `[low, high]`, one number or one per channel."""
    return DeepTaylor("deep_taylor.bounded", ZPlus(), ZPlus(), ZBox(low, high), tuple(rules))


@register("excitation_backprop", family="lrp", paper=ZHANG, cost="2 forward, 1 backward")
def excitation_backprop(rules: tuple[Pair, ...] = ()) -> LRP:
    """ZPlus everywhere, starting at the target's probability."""
    rule = ZPlus()
    return LRP("excitation_backprop", rule, rule, rule, tuple(rules), seed="probability")
