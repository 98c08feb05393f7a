"""A PyTorch module to ONNX, and that file as a module to train again. Usage: pytorch_both_ways.py [FOLDER FOR THE MODELS]"""

import importlib.util
import sys
from pathlib import Path

import torch
from torch import nn

import convcore

out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")


class Tagger(nn.Module):
    """Words to tags."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.rnn = nn.LSTM(8, 16, bidirectional=True, batch_first=True)
        self.tags = nn.Linear(32, 5)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.tags(self.rnn(self.words(words))[0])


torch.manual_seed(0)
source = Tagger().eval()
words = torch.randint(0, 50, (2, 7))

# Batch and length stay free; the conversion is checked in onnxruntime, where that is installed
shapes = {"words": ("batch", "time")}
convcore.convert(source, "onnx", out / "tagger.onnx", example_inputs=words, input_shapes=shapes)

# From PyTorch to PyTorch the state_dict has the same keys, in the same order, with the same weights
again = convcore.convert(source, "pytorch", example_inputs=words, input_shapes=shapes).model
same = list(again.state_dict()) == list(source.state_dict())
print(f"the keys are {'the same' if same else 'others'}")

# The ONNX file as code and weights: tagger.py is plain PyTorch and needs convcore no more
convcore.convert(out / "tagger.onnx", out=out / "tagger.py")
spec = importlib.util.spec_from_file_location("tagger", out / "tagger.py")
tagger = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tagger)
model = tagger.load()
longer = torch.randint(0, 50, (3, 11))
print(f"largest difference: {(model(longer) - source(longer)).abs().max().item():.1e}")

# It trains
wanted = torch.randint(0, 5, (3, 11))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for _ in range(5):
    loss = nn.functional.cross_entropy(model(longer).flatten(0, 1), wanted.flatten())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
print(f"the loss {'falls' if losses[-1] < losses[0] else 'does not fall'}: {losses[0]:.3f} to {losses[-1]:.3f}")
