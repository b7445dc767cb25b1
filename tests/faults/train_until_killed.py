"""Train a tiny network, be killed on the way, and train it again; run by test_training.py.

Prints what forks.py does, with how many steps the second try took, and the digest of its weights and curves.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from forks import try_failpoints
from glasshead.training.batches import TensorBatches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams


def train(root: Path) -> None:
    """Leave the count and the digest in `root/result.json`."""
    torch.manual_seed(0)
    steps = []

    def augment(images: Tensor, labels: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        steps.append(seed)
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
        return (images / 255 + noise) / 2, nn.functional.one_hot(labels, 2).float()

    labels = torch.arange(12) % 2
    images = torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 2)
    )
    history = fit(
        model,
        TensorBatches(images, labels),
        TensorBatches(images, labels),
        TrainingParams(epochs=2, batch_size=4, ema_decay=0.9, checkpoint_steps=2),
        seed=0,
        device="cpu",
        checkpoints=CheckpointFolder(root / "checkpoints"),
        augmentation=augment,
    )
    for row in history.epochs:
        del row["seconds"]
    digest = hashlib.sha256(save(model.state_dict()) + json.dumps(vars(history)).encode())
    result = {"steps": len(steps), "digest": digest.hexdigest()}
    (root / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    torch.set_num_threads(1)  # before the first operation, as threads do not survive a fork
    train(warm := Path(sys.argv[1]) / "warm")  # imports what torch imports late
    shutil.rmtree(warm)
    try_failpoints(train)
