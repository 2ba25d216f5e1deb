"""The verdicts, in the order in which they are listed, and what they mean.

One word per class is what an audit says in the end (:class:`Verdict`). It follows from two others: what the
heat maps say (:class:`MapVerdict`) and what editing the images showed (:class:`Tested`); how, is
:func:`verdict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.terms import Term


class Verdict(Term):
    """What an audit says of a class, worst first. Its value is also its CSS class in the report."""

    CONFIRMED = (
        "confirmed",
        "right for the wrong reason: with the images edited, the network turns out to need what lies "
        "beside the object",
    )
    SUSPECTED = (
        "suspected",
        "the heat maps lie beside the object, or what lies there carries the class to other images; edited "
        "images have not shown that the network needs what is there",
    )
    UNDECIDED = (
        "undecided",
        "too few images, or too much spread among them, for a statement either way",
    )
    CLEARED = (
        "cleared",
        "the heat maps lie beside the object, but the edited images show that the network does not need "
        "what is there",
    )
    UNREMARKABLE = (
        "unremarkable",
        "nothing speaks against it",
    )


class Tested(Term):
    """What the interventions say of a class, whatever its maps say."""

    __test__ = False  # pytest takes a class of this name for tests

    DEPENDS = (
        "depends",
        "the network needs what lies beside the object, beyond what matters and beyond ordinary classes",
    )
    RIM = (
        "rim",
        "what the network needs beside the object vanishes when the rim of the box is widened: parts of the "
        "object that the box cuts off, no background",
    )
    UNDECIDED = (
        "undecided",
        "too few images, or too much spread among them, for a statement either way",
    )
    INDEPENDENT = (
        "independent",
        "what lies beside the object matters less than the limit",
    )


class Transferred(Term):
    """What the windows of a class say that were pasted onto images of others."""

    TRANSFERS = (
        "transfers",
        "windows beside the object carry the class to images of others, beyond what windows of other classes "
        "do",
    )
    UNDECIDED = (
        "undecided",
        "too few windows, or too much spread among them, for a statement either way",
    )
    NOTHING = (
        "nothing",
        "windows beside the object carry less of the class to other images than matters",
    )


class Holds(Term):
    """Whether what the best windows of a class carry depends on where they are pasted."""

    ANYWHERE = "anywhere", "they carry the class at other places of other images, too"
    ITS_PLACE = (
        "its_place",
        "they carry less of the class at other places than matters, and less than at theirs",
    )
    UNDECIDED = "undecided", "too few windows, or too much spread among them, for a statement either way"


class MapVerdict(Term):
    """What the heat maps of a class say, worst first."""

    SUSPICIOUS = (
        "suspicious",
        "less of the explanation lies on the object than on comparable images of other classes, by more than "
        "matters and by more than other classes differ",
    )
    UNFOCUSED = (
        "unfocused",
        "the explanation does not find the object any better than chance would, and there were "
        "enough images to see it if it did",
    )
    UNDECIDED = (
        "undecided",
        "too few images, or too much spread among them, for a statement either way",
    )
    UNREMARKABLE = (
        "unremarkable",
        "nothing speaks against it: the explanation lies where comparable classes have it",
    )


class InterventionVerdict(Term):
    """What editing the images of a class showed, worst first."""

    CONFIRMED = (
        "confirmed",
        "the maps look beside the object, and the network does depend on what is there",
    )
    HIDDEN = (
        "hidden",
        "the network depends on what is beside the object, and the maps do not show it",
    )
    ATTRIBUTION_ONLY = (
        "attribution_only",
        "the maps look beside the object, but the network does not need what is there",
    )
    UNDECIDED = (
        "undecided",
        "too few images to edit for a statement",
    )
    CLEAN = (
        "clean",
        "neither maps nor edits say that anything beside the object matters",
    )


# An audit points at a class: what it says of it is a reason to act, or to look closer.
ACCUSED: Final = (Verdict.CONFIRMED, Verdict.SUSPECTED)
# The maps look beside the object: what an intervention then confirms or clears.
SUSPECT: Final = (MapVerdict.SUSPICIOUS, MapVerdict.UNFOCUSED)
# What the edits had shown of a class of which documents of schema version 1 say this.
SHOWED: Final[Mapping[str, Tested]] = {
    InterventionVerdict.CONFIRMED: Tested.DEPENDS,
    InterventionVerdict.HIDDEN: Tested.DEPENDS,
    InterventionVerdict.ATTRIBUTION_ONLY: Tested.INDEPENDENT,
    InterventionVerdict.CLEAN: Tested.INDEPENDENT,
    InterventionVerdict.UNDECIDED: Tested.UNDECIDED,
}


def verdict(
    maps: MapVerdict,
    tested: Tested | None,
    maps_hold: bool = True,
    outlier: bool = False,
    transfers: bool = False,
) -> Verdict:
    """What is said of a class, from all that is known of it.

    ====================  =======================  ================================================
    edited images \\ maps  suspicious or unfocused  anything else
    ====================  =======================  ================================================
    depends               confirmed                confirmed (and said: the maps do not show it)
    rim                   undecided                undecided
    undecided             suspected                undecided
    independent           cleared                  unremarkable
    not edited            suspected                unremarkable where the maps say so, else undecided
    ====================  =======================  ================================================

    A class that is an outlier against a reference network counts as suspicious, whatever its maps say alone.
    One whose windows beside the object carry it to images of other classes, and that is not confirmed, is
    suspected whatever else is known. Only the edits can confirm or clear. Maps whose method failed its sanity
    check speak neither for nor against a class: it is judged by the edits alone, and without any it is
    undecided.

    ``maps``: what its heat maps say; ``tested``: what editing its images showed, None where none were edited;
    ``maps_hold``: the method of the maps did not fail its sanity check; ``outlier``: less of the explanation
    lies on the object than a reference network has there, and than other classes differ from it;
    ``transfers``: its windows were shown to transfer (:class:`Transferred`).
    """
    if transfers and tested != Tested.DEPENDS:
        return Verdict.SUSPECTED
    suspect = maps_hold and (maps in SUSPECT or outlier)
    if tested is None:
        unremarkable = maps_hold and maps == MapVerdict.UNREMARKABLE
        return Verdict.SUSPECTED if suspect else Verdict.UNREMARKABLE if unremarkable else Verdict.UNDECIDED
    return {
        Tested.DEPENDS: Verdict.CONFIRMED,
        Tested.RIM: Verdict.UNDECIDED,
        Tested.UNDECIDED: Verdict.SUSPECTED if suspect else Verdict.UNDECIDED,
        Tested.INDEPENDENT: Verdict.CLEARED if suspect else Verdict.UNREMARKABLE,
    }[tested]


class Change(Term):
    """What became of a class from one run to another on the same images, worst first."""

    NEW = "new", "it got worse by more than matters, and is now confirmed or suspected as it was not before"
    WORSE = "worse", "the network goes by what lies beside the object more than before, by more than matters"
    UNDECIDED = "undecided", "too few images, or too much spread among them, to say whether it changed"
    UNCHANGED = "unchanged", "a change that matters is excluded"
    BETTER = (
        "better",
        "the network goes by what lies beside the object less than before, by more than matters",
    )
    GONE = "gone", "it got better by more than matters, and was confirmed or suspected as it is not any more"
