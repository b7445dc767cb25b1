"""torchvision's ResNets in any width, and `resnet18` with a stem for small images: He et al. 2015, arXiv:1512.03385.

Blocks, arrangement and names are torchvision's, so that its weights fit. The stem for small images is one 3x3
convolution instead of the 7x7 one with stride 2 and the max-pool, which would reduce a 32-pixel image to one pixel
(sections 3.3 and 4.2).
"""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

CHANNELS = (64, 128, 256, 512)


class SmallImageResNet18(nn.Module):
    """Images (b, 3, h, w) → logits (b, k); features of the last stage are at an eighth of the input's side."""

    cam_layer = "layer4"

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(channels, width) for channels in CHANNELS)
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.layer1 = _stage(first, first, stride=1)
        self.layer2 = _stage(first, second, stride=2)
        self.layer3 = _stage(second, third, stride=2)
        self.layer4 = _stage(third, fourth, stride=2)
        self.fc = nn.Linear(fourth, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return logits of normalised images."""
        x = self.relu(self.bn1(self.conv1(images)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean(dim=(2, 3)))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride > 1:
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
    return nn.Sequential(
        BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs)
    )


MULTIPLE = 8  # what vector units divide evenly


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width` as the nearest positive multiple of 8."""
    return max(MULTIPLE, round(channels * width / MULTIPLE) * MULTIPLE)


SHAPES: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


class ScaledResNet(ResNet):  # type: ignore[misc]  # torchvision ships no types
    """A network of `SHAPES`; its modules have torchvision's names, so that at width 1 torchvision's weights fit."""

    def __init__(self, architecture: str, classes: int, width: float) -> None:
        nn.Module.__init__(self)
        block, blocks = SHAPES[architecture]
        channels = [scaled(64 * 2**stage, width) for stage in range(len(blocks))]
        self._norm_layer, self.groups, self.base_width, self.dilation = nn.BatchNorm2d, 1, 64, 1
        self.inplanes = channels[0]
        self.conv1 = nn.Conv2d(3, self.inplanes, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for stage, (planes, count) in enumerate(zip(channels, blocks, strict=True)):
            made = self._make_layer(block, planes, count, stride=2 if stage else 1)
            self.add_module(f"layer{stage + 1}", made)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[-1] * block.expansion, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
