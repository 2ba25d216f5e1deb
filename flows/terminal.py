"""What a person sees: results, rankings, verdicts and lists. It prints, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipeline.errors import shown
from pipeline.run.costs import compared
from pipeline.run.folder import RANKING_TABLE
from pipeline.unboxed import command, untested
from pipeline.verdicts import ACCUSED, Verdict
from reports.gate.state import State
from reports.gate.text import details
from reports.page.headline import beside_reference, count_unboxed, sentence, tally, worst_group
from reports.page.words import THIN

if TYPE_CHECKING:
    import pandas as pd

    from flows.run import AuditResult
    from pipeline.run.documents import ChoiceDocument, GroupsDocument, MethodSanity, ReferenceDocument
    from pipeline.run.preflight import Preflight
    from pipeline.statistics.ranking import Ranking
    from reports.gate.outcome import Outcome

STYLES = {
    Verdict.CONFIRMED: "bold red",
    Verdict.SUSPECTED: "yellow",
    Verdict.UNDECIDED: "dim",
    Verdict.CLEARED: "cyan",
    Verdict.UNREMARKABLE: "green",
}
_ROWS = 15
_FINDINGS = 3  # classes of which a finding is printed
_LIFT = (
    "lift: log-odds of the relevance inside the boxes, over what is usual for boxes of that size and place"
)
_EFFECT = (
    "effect: probability that a background of the own class adds over one of another, beyond ordinary classes"
)


class Screen(Console):
    """A console whose texts are shown and never obeyed: names in them come from files of strangers.

    Ends of lines are the layout's; a name that holds one is escaped before: :func:`pipeline.errors.shown`.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(shown, segment.text.split("\n"))), segment.style)


console = Screen(highlight=False)
errors = Screen(stderr=True, highlight=False)


def print_result(result: AuditResult) -> None:
    """What an audit ended with: counts, ranking, interventions, where the report is."""
    speed = f", {result.new_images / result.seconds:.1f} images/s" if result.new_images else ""
    accuracy = result.ranking.summary["accuracy"] if result.ranking is not None else None
    right = "" if accuracy is None else f"; top-1 accuracy {accuracy:.1%}"
    console.print(
        f"{result.images:,} images, {result.new_images:,} of them now{speed}; "
        f"{result.failed:,} failed{right}",
        markup=False,
    )
    if result.ranking is not None:
        print_ranking(result.ranking, top=_ROWS)
        print_unboxed(result.ranking, result.out)
    if result.edited_passes:
        print_line(f"edited images: {result.edited_passes:,} passes through the network")
    if result.pasted_passes:
        print_line(f"pasted windows: {result.pasted_passes:,} passes through the network")
    if spent := compared(result.session.forecast, result.session.spent):
        console.print(Text(spent, style="dim"), soft_wrap=True)
    if result.report:
        print_path("report", result.report)


def print_unboxed(ranking: Ranking, run: str) -> None:
    """What cannot be said of classes without boxes, and what lists the images to draw them on."""
    if bare := count_unboxed(ranking.table):
        told = untested(bare, len(ranking.table))
        print_line(f"{told}; a dozen boxes each would test them: `{command(run, bare)}` lists the images")


def print_groups(groups: GroupsDocument | None) -> None:
    """The worst group of a run, where its dataset says groups."""
    if groups is not None:
        told = worst_group(groups).replace(THIN, " ")  # a space that terminals do not all have
        print_line(f"{'worst group' if groups.worst else 'groups'}: {told}")


def print_reference(reference: ReferenceDocument | None, ranking: Ranking) -> None:
    """What the reference network of a run says, where it has one, and what to know of the comparison."""
    if reference is None:
        return
    told = beside_reference(reference, ranking.table, ranking.settings.level)
    print_line(f"reference: {told.replace(THIN, ' ')}")
    for note in reference.notes:
        console.print(Text(shown(f"reference: {note}"), style="dim"), soft_wrap=True)


def print_preflight(seen: Preflight) -> None:
    """What a look at a few images said, as a table, with decisions and warnings below."""
    print_list("looked at", seen.rows(), ("seen",))
    _print_sentences(seen)
    doubts = len(seen.warnings)
    ending = f"usable, with {doubts} warning{'s' * (doubts > 1)}" if doubts else "usable"
    console.print(Text(ending, style="bold yellow" if doubts else "bold green"))


def print_decisions(seen: Preflight) -> None:
    """The same in short: how well the sample was predicted, decisions and warnings."""
    console.print(Text(seen.summary), soft_wrap=True)
    _print_sentences(seen)


def _print_sentences(seen: Preflight) -> None:
    """What was decided without being asked, and what looks wrong."""
    for decision in seen.decisions:
        console.print(Text(shown(f"decided: {decision}"), style="dim"), soft_wrap=True)
    for warning in seen.warnings:
        console.print(Text(shown(f"warning: {warning}"), style="bold yellow"), soft_wrap=True)


def print_path(what: str, path: str) -> None:
    """Where something was written, in one unbroken line."""
    whole = path if "://" in path else Path(path).resolve()
    print_line(f"{what}: {whole}")


def print_line(text: str) -> None:
    """One unbroken line of plain text."""
    console.print(shown(text), markup=False, soft_wrap=True)


def print_ranking(ranking: Ranking, top: int, file: str = RANKING_TABLE) -> None:
    """The head of a ranking as a table, and the headline; ``file`` holds the rest."""
    table = Table(
        title=Text(shown(f"Classes by {ranking.method}, most suspicious first")),
        title_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    columns = _columns(console.width, ranking.table)
    for name in columns:
        words = name in ("class", "verdict", "maps", "planted")
        table.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=True,
        )
    for _, row in ranking.table.head(top).iterrows():
        cells = _cells(row) | {"class": Text(class_name(str(row["class_name"])))}
        table.add_row(*(cells[name] for name in columns))
    console.print(table)
    if len(ranking.table) > top:
        console.print(f"... and {len(ranking.table) - top} more classes in {file}", markup=False)
    bare = count_unboxed(ranking.table)
    console.print(Text(sentence(tally(ranking.table), bare), style="bold"))
    _print_findings(ranking)
    for note in (_EFFECT, _LIFT) if ranking.judgements else (_LIFT,):
        console.print(Text(note, style="dim"), soft_wrap=True)
    print_failures(ranking.method, ranking.summary["method_marks"])


def _print_findings(ranking: Ranking) -> None:
    """What was measured of the first confirmed and suspected classes, a sentence each."""
    accused = ranking.table[ranking.table["verdict"].isin(ACCUSED) & ranking.table["finding"].notna()]
    for _, row in accused.head(_FINDINGS).iterrows():
        name = Text(class_name(str(row["class_name"])), style="bold")
        console.print(name + Text(f": {shown(str(row['finding']))}", style="not bold"), soft_wrap=True)


def print_choice(choice: ChoiceDocument) -> None:
    """How the method of a run was chosen: a row per candidate, and what came out."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("method", "shuffled", "other class", "gap", "95 % interval", "images", "s", "verdict"):
        table.add_column(name, no_wrap=name != "verdict", justify="left" if name in _WORDS else "right")
    for row in choice.candidates:
        shuffled, other = _checks(row.sanity)
        style = "bold" if row.method == choice.method else "" if row.passes else "dim"
        table.add_row(
            row.method,
            shuffled,
            other,
            _number(row.gap, "+.3f"),
            _interval(row.low, row.high) if row.low is not None else "-",
            str(row.images or "-"),
            f"{row.seconds:.0f}",
            Text(shown(row.verdict)),
            style=style,
        )
    console.print(table)
    cost = f"{choice.seconds:.0f} s, {choice.passes:,} passes for the curves"
    print_line(f"method: {choice.method}, chosen on a few images ({cost}); --method names another")
    if not choice.passed:
        text = "caution: no candidate passes; maps alone will make no class of this run suspicious"
        console.print(Text(text, style="bold yellow"), soft_wrap=True)


_WORDS = ("method", "verdict")


def _checks(sanity: MethodSanity | None) -> tuple[str, str]:
    """Rank correlations with the maps of shuffled weights, and of another class."""
    if sanity is None:
        return "-", "-"
    return _number(sanity.randomised["all layers"][0], ".2f"), _number(sanity.other_class[0], ".2f")


def print_failures(method: str, failures: Sequence[str] | None) -> None:
    """A warning where the sanity check of the run speaks against the method."""
    if failures:
        text = f"caution: the maps of {method} are {' and '.join(failures)} (sanity check of this run)"
        console.print(Text(shown(text), style="yellow"), soft_wrap=True)


def print_unchecked(unchecked: Mapping[str, str]) -> None:
    """A warning for each method that the sanity check of the run could not check."""
    for method, reason in unchecked.items():
        text = f"caution: whether the maps of {method} depend on the network could not be checked: {reason}"
        console.print(Text(shown(text), style="yellow"), soft_wrap=True)


def _columns(width: int, table: pd.DataFrame) -> list[str]:
    """As many columns as fit: the verdict and what it rests on always, the rest on a wide terminal."""
    edited, planted = bool(table["tested"].notna().any()), bool(table["planted"].notna().any())
    measured = ["effect", "its 95 %", "lift"] if edited else ["lift", "95 % interval"]
    if width >= 110:
        measured += ["95 % interval", "maps", "box area"] if edited else ["q", "ratio", "box area"]
    return ["#", "class", "n", "right", *measured, "verdict", *["planted"] * planted]


def _cells(row: pd.Series) -> dict[str, str | Text]:
    verdict = Verdict(row["verdict"])
    return {
        "#": str(row["rank"]),
        "n": str(row["n"]),
        "right": _number(row["accuracy"], ".0%"),
        "effect": _number(row["effect"], "+.2f"),
        "its 95 %": _interval(row["effect_low"], row["effect_high"]),
        "maps": str(row["map_verdict"]),
        "lift": _number(row["adjusted_lift"], "+.2f"),
        "95 % interval": _interval(row["low"], row["high"]),
        "q": _number(row["q_relative"], ".3f"),
        "ratio": _number(row["ratio"], ".2f"),
        "box area": _number(row["box_area"], ".1%"),
        "verdict": Text(verdict, style=STYLES[verdict]),
        "planted": Text("planted" if row["planted"] is True else "", style="magenta"),
    }


def class_name(text: str) -> str:
    """A class's name, cut to what a table has room for on this terminal."""
    return _shortened(shown(text), 22 if console.width < 110 else 40)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _interval(low: Any, high: Any) -> str:
    return "-" if low != low or high != high else f"{_number(low, '+.2f')} {_number(high, '+.2f')}"


def _number(value: Any, form: str) -> str:
    return "-" if value is None or value != value else format(float(value), form)


def print_planted(ranking: Ranking) -> None:
    """Where the classes ended up whose images were marked."""
    table = ranking.table
    rows = table[[value is True for value in table["planted"]]]
    names = ", ".join(
        f"{row['class_name']} (rank {row['rank']}, {row['verdict']})" for _, row in rows.iterrows()
    )
    first = sorted(rows["rank"]) == list(range(1, len(rows) + 1))
    others = int((table["verdict"] == Verdict.CONFIRMED).sum() - (rows["verdict"] == Verdict.CONFIRMED).sum())
    place = "they come first" if first else "they do NOT all come first"
    alarms = f"; {others} other classes are confirmed" if others else ""
    print_line(f"planted with an artefact outside the box: {names}: {place}{alarms}")


def print_list(
    title: str,
    rows: Sequence[tuple[str, ...]],
    others: tuple[str, ...] = ("about",),
    whole: Sequence[str] = (),
) -> None:
    """Names and what is known about them; the columns ``whole`` are never wrapped or cut."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0)) if whole else Table()
    for name in (title, *others):
        table.add_column(name, no_wrap=name == title or name in whole)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console.print(table)


_STATES = {State.PASS: "green", State.FAIL: "bold red", State.INCONCLUSIVE: "bold yellow"}


def print_outcome(outcome: Outcome) -> None:
    """The checks of a gate: state, value and demand; then classes, what is waived and what to do next."""
    for check in outcome.checks:
        style = "yellow" if check.is_waived else _STATES[check.state]
        mark = Text(f"{check.word.upper() if check.state is State.FAIL else check.word}: ", style=style)
        console.print(mark + Text(shown(check.message)), soft_wrap=True)
        for line in details(check):
            print_line(f"    {line}")
    for note in outcome.notes:
        console.print(Text(shown(f"warning: {note}"), style="yellow"), soft_wrap=True)
    console.print(Text("gate ") + Text(outcome.headline, style=_STATES[outcome.state]), soft_wrap=True)
    if outcome.report:
        print_path("report", outcome.report)
