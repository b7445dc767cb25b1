"""torchvision's ResNets in any width: He et al. 2015, arXiv:1512.03385, with every channel count times a factor."""

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from glasshead.models.channels import scaled

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
