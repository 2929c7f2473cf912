"""Two runs of a forward, in training and in evaluation, become one list of nodes."""

from __future__ import annotations

from dataclasses import replace

from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.operations.builder import Found
from mnistcnn.nn.graph import INPUT
from mnistcnn.nn.layers import Dropout, Dropout2d


def compared(training: list[Found], evaluation: list[Found]) -> list[Found]:
    """One list of nodes for both modes, or the first difference."""
    nodes: list[Found] = []
    plain = {INPUT: INPUT}  # node of the run in training -> the same without dropouts that evaluation leaves out
    place = {INPUT: INPUT}  # node of the run in evaluation -> the same in training
    rest = iter(evaluation)
    theirs = next(rest, None)
    for number, ours in enumerate(training):
        if _left_out(ours, theirs):
            plain[number] = plain[ours.inputs[0]]
            nodes.append(ours)
            continue
        if theirs is None:
            raise _longer(ours, "training")
        if not _same(ours, theirs) or [plain[node] for node in ours.inputs] != [place[node] for node in theirs.inputs]:
            raise ConversionError(
                f"the forward takes another way in training than in evaluation, or with another batch: "
                f"{ours.described()} in training, {theirs.described()} in evaluation; let it do the same in both "
                "(dropout and batch norm know by themselves)"
            )
        plain[number] = number
        place[len(place) - 1] = number
        nodes.append(_both_modes(ours, theirs))
        theirs = next(rest, None)
    if theirs is not None:
        raise _longer(theirs, "evaluation")
    return nodes


def _left_out(ours: Found, theirs: Found | None) -> bool:
    """Whether a dropout is only in the training run, as by ``if self.training: x = F.dropout(x)``."""
    if not isinstance(ours.layer, Dropout | Dropout2d) or not ours.training:
        return False
    return theirs is None or not _same(ours, theirs) or ours.where != theirs.where


def _drops(found: Found) -> bool:
    """Whether it is a dropout at work in its run."""
    return isinstance(found.layer, Dropout | Dropout2d) and bool(found.training) and found.layer.p > 0


def _same(ours: Found, theirs: Found) -> bool:
    """Whether two nodes do the same, be it in two modes; a dropout's probability belongs to its mode."""
    if isinstance(ours.layer, Dropout | Dropout2d):
        return type(ours.layer) is type(theirs.layer)
    return ours.row()[:2] == theirs.row()[:2] and ours.layer.fields() == theirs.layer.fields()


def _longer(extra: Found, mode: str) -> ConversionError:
    return ConversionError(
        f"the forward takes another way in training than in evaluation: only in {mode} it ends with "
        f"{extra.described()}; let it do the same in both, and the rest outside"
    )


def _both_modes(training: Found, evaluation: Found) -> Found:
    """A layer that follows the mode, or does the same in both."""
    if isinstance(training.layer, Dropout | Dropout2d):
        return _dropout_of(training, evaluation)
    modes = (training.training, evaluation.training)
    if modes in ((None, None), (True, False)):
        return training
    raise _own_mode(training, evaluation)


def _dropout_of(training: Found, evaluation: Found) -> Found:
    """A dropout that follows the mode, stays on in evaluation, or never drops."""
    layer, works = training.layer, (_drops(training), _drops(evaluation))
    if works == (True, False):
        return training
    if works == (False, False):
        return replace(training, layer=replace(layer, p=0.0), owner=None)  # type: ignore[type-var]
    if works == (True, True) and layer == evaluation.layer:
        return replace(training, layer=replace(layer, always=True), owner=None)  # type: ignore[type-var]
    if works == (True, True):
        raise ConversionError(
            f"{training.described()} drops {layer.p:g} in training and {evaluation.layer.p:g} in evaluation; mnistcnn "  # type: ignore[attr-defined]
            "knows one probability, in training only (training=self.training) or in both"
        )
    raise _own_mode(training, evaluation)


def _own_mode(training: Found, evaluation: Found) -> ConversionError:
    mode, whole = ("training", "evaluation") if training.training else ("evaluation", "training")
    return ConversionError(
        f"{training.described()} is in {mode} mode even where the whole module is in {whole} mode; mnistcnn knows "
        "layers that follow the module's mode"
    )
