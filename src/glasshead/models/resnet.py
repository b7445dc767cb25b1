"""torchvision's ResNets in any width, and `resnet18` with a stem for small images: He et al. 2015, arXiv:1512.03385.

Blocks, arrangement and names are torchvision's, so that torchvision's weights fit. The stem for small images is one 3x3
convolution instead of the 7x7 one with stride 2 and the max-pool, which would reduce a 32-pixel image to one pixel
(sections 3.3 and 4.2).
"""

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

MULTIPLE = 8  # channel counts are multiples of it, which suits vector units
SHAPES: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width` as the nearest positive multiple of 8."""
    return max(MULTIPLE, round(channels * width / MULTIPLE) * MULTIPLE)


def initialise_filters(network: nn.Module) -> None:
    """Draw the filters of all convolutions anew, scaled for ReLU: He et al. 2015, arXiv:1502.01852."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ScaledResNet(ResNet):  # type: ignore[misc]  # torchvision ships no types
    """A network of `SHAPES`: normalised images (b, 3, h, w) to logits (b, k).

    Its modules have torchvision's names, so that at width 1 torchvision's weights fit.
    """

    def __init__(self, architecture: str, classes: int, width: float) -> None:
        nn.Module.__init__(self)
        block, blocks = SHAPES[architecture]
        channels = [scaled(64 * 2**stage, width) for stage in range(len(blocks))]
        self._norm_layer, self.groups, self.base_width, self.dilation = nn.BatchNorm2d, 1, 64, 1
        self.inplanes = channels[0]
        self.conv1, self.maxpool = self._stem(self.inplanes)
        self.bn1 = nn.BatchNorm2d(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        for stage, (planes, count) in enumerate(zip(channels, blocks, strict=True)):
            made = self._make_layer(block, planes, count, stride=2 if stage else 1)
            self.add_module(f"layer{stage + 1}", made)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[-1] * block.expansion, classes)
        initialise_filters(self)

    def _stem(self, channels: int) -> tuple[nn.Conv2d, nn.Module]:
        """Return the first convolution and the pooling after its activation."""
        convolution = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        return convolution, nn.MaxPool2d(3, stride=2, padding=1)


class SmallImageResNet18(ScaledResNet):
    """A `resnet18` for small images: the last feature map is an eighth as wide and high as the input."""

    cam_layers = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__("resnet18", classes, width)

    def _stem(self, channels: int) -> tuple[nn.Conv2d, nn.Module]:
        return nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.Sequential()  # no pooling
