"""Loss layers of a net: whether their values are computed, or the net takes its deployed form."""

from __future__ import annotations

from collections.abc import Mapping

from .files import Layer, Net
from .layer_spec import spec_of, types_with

__all__ = ["DEPLOYED", "Deploy"]

DEPLOYED: dict[str, str] = {
    "SoftmaxWithLoss": "softmax", "InfogainLoss": "softmax", "SigmoidCrossEntropyLoss": "sigmoid", "EuclideanLoss": "",
    "ContrastiveLoss": "", "HingeLoss": "", "MultinomialLogisticLoss": "", "Accuracy": "", "MultiBoxLoss": "",
    "DetectionEvaluate": "",
}  # fmt: skip
"""Types a deployed net does not have, and the op that stays of them ("" for none)."""
_ONLY_TRAINING = ("MultiBoxLoss", "DetectionEvaluate")


class Deploy:
    """``dropped`` maps the index of a layer that goes to the op that stays ("" for none).

    ``auto`` deploys a loss whose labels come from a layer that reads data (a train_val net), and computes any other: a net that
    is fed its labels, or makes them up (DummyData), is run as it is.
    """

    def __init__(self, net: Net, mode: str) -> None:
        self.net = net
        self.dropped: dict[int, str] = {}
        self.notes: list[str] = []
        self.outputs: list[str] = []
        self.sources = {top for layer in net.layers if layer.type in {*types_with("source"), "Input"} for top in layer.tops}
        data = {top for layer in net.layers if layer.type in types_with("source") - {"DummyData"} for top in layer.tops}
        gone: set[str] = set()
        for i, layer in enumerate(net.layers):
            if layer.type not in DEPLOYED:
                fed_by_loss = bool(layer.bottoms) and any(b in gone for b in layer.bottoms)
                if fed_by_loss:
                    self._drop(i, layer, "", gone, "what it reads is left out")
                continue
            labels = layer.bottoms[1:]
            from_data = any(b in data for b in labels)
            if mode == "deploy" or layer.type in _ONLY_TRAINING or (mode == "auto" and from_data):
                op = DEPLOYED[layer.type]
                self._drop(i, layer, op, gone, f"becomes {op}" if op else "has no part in inference")
        read = {
            b for i, layer in enumerate(net.layers) if i not in self.dropped and layer.type != "Silence" for b in layer.bottoms
        }  # fmt: skip
        self.unused = {
            b for i in self.dropped for b in net.layers[i].bottoms if b not in read and not self._first(b)
        }  # fmt: skip
        self.single = sum(1 for op in self.dropped.values() if op) == 1

    def _drop(self, i: int, layer: Layer, op: str, gone: set[str], why: str) -> None:
        self.dropped[i] = op
        gone.update(layer.tops)
        kind = "loss layer" if spec_of(layer.type).loss else "layer"
        verb = "" if op else " is left out:"
        self.notes.append(f"{kind} {layer.name!r} ({layer.type}){verb} {why}")

    def _first(self, blob: str) -> bool:
        """Whether a dropped layer takes the blob as its prediction (first bottom)."""
        return any(self.net.layers[i].bottoms[:1] == [blob] for i in self.dropped)

    def output_name(self, layer: Layer) -> str:
        """The blob a loss layer's deployed form writes: ``prob`` if it is the only one."""
        tops = {t for other in self.net.layers for t in other.tops}
        if self.single and "prob" not in tops:
            return "prob"
        return f"{layer.bottoms[0]}/prob"

    def output_blobs(self, blobs: Mapping[str, object]) -> list[str]:
        """The net's outputs in Caffe's order: blobs that nothing left reads, byte-wise alphabetical."""
        if not self.dropped:
            return list(self.net.outputs)
        read = {b for i, layer in enumerate(self.net.layers) if i not in self.dropped for b in layer.bottoms}
        gone = {t for i in self.dropped for t in self.net.layers[i].tops}
        replaced = {self.net.layers[i].bottoms[0] for i, op in self.dropped.items() if op}
        candidates = [b for b in self.net.outputs if b not in gone]
        for i in self.dropped:
            for b in self.net.layers[i].bottoms:
                if b not in read and b not in replaced and b not in self.sources and b not in gone:
                    candidates.append(b)
        return sorted({*candidates, *self.outputs} & set(blobs), key=lambda n: n.encode())
