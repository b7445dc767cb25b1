"""`compact_cnn`: the classic three blocks of 3x3 convolutions, with global average pooling.

Simonyan and Zisserman 2014 (arXiv:1409.1556) for the blocks, with the batch norm of Ioffe and Szegedy 2015
(arXiv:1502.03167) and the pooling of Lin et al. 2013 (arXiv:1312.4400).
"""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn

from glasshead.models.resnet import initialise_filters, scaled

BLOCKS = ((64, 2), (128, 2), (256, 3))  # channels and number of convolutions of each block
HIDDEN = 512
DROPOUT = 0.5


class CompactCNN(nn.Module):
    """Images (b, 3, h, w) → logits (b, k); the side is at least 8. About 1.9 million parameters at width 1, k = 10."""

    cam_layers = tuple(
        f"blocks.{block}.convolutions" for block in range(3)
    )  # down to a quarter of the input's side

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        channels = [3, *(scaled(outputs, width) for outputs, _ in BLOCKS)]
        self.blocks = nn.Sequential(
            *(
                _Block(channels[index], channels[index + 1], count)
                for index, (_, count) in enumerate(BLOCKS)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)  # a module, as relevance propagation needs
        hidden = scaled(HIDDEN, width)
        self.head = nn.Sequential(
            nn.Linear(channels[-1], hidden),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, classes),
        )
        initialise_filters(self)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return logits of normalised images."""
        return self.head(self.pool(self.blocks(images)).flatten(1))


class _Block(nn.Module):
    """Convolutions, each with batch norm and ReLU, and a max-pool that halves the side."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*_convolutions(inputs, outputs, count))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o hh ww"]:
        return self.pool(self.convolutions(x))


def _convolutions(inputs: int, outputs: int, count: int) -> Iterator[nn.Module]:
    for index in range(count):
        yield nn.Conv2d(outputs if index else inputs, outputs, 3, padding=1, bias=False)
        yield nn.BatchNorm2d(outputs)
        yield nn.ReLU()
