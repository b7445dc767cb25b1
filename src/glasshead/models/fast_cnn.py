"""`fast_cnn`: a network of our own for short training, built from what helped in published CIFAR speed-runs.

- A first convolution of 2x2 patches with fixed filters that whiten them: the eigenvectors of the patches' covariance
  divided by the roots of their eigenvalues, with both signs (Page 2019, "How to train your ResNet"; Jordan 2024,
  airbench, arXiv:2404.00498, section 3.2).
- Three stages that pool before they normalise and activate, so that the costly elementwise steps see a quarter of the
  pixels. The later stages, where a convolution costs least, have one more, a residual one.
- Partial identity as initial weights (airbench, section 3.3), batch norm without scales, global max-pooling, and a
  head without bias whose logits are scaled down.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from glasshead.models.resnet import scaled

PATCH = 2
STAGES = ((64, 0), (256, 1), (256, 1))  # channels and residual convolutions of each stage
LOGIT_SCALE = 1 / 9
EIGENVALUE_FLOOR = 5e-4  # added to each, so that directions that hardly vary give no noise


class FastCNN(nn.Module):
    """Images (b, 3, h, w) → logits (b, k); the side is at least 16.

    The last feature map is an eighth as wide and high as the input, minus one pixel: 3 x 3 for 32 x 32.
    """

    cam_layers = ("stages.0", "stages.1", "stages.2")

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        self.whitening = Whitening(PATCH)
        channels = [self.whitening.channels, *(scaled(outputs, width) for outputs, _ in STAGES)]
        self.stages = nn.Sequential(
            *(
                _Stage(channels[index], channels[index + 1], residuals)
                for index, (_, residuals) in enumerate(STAGES)
            )
        )
        self.head = nn.Linear(channels[-1], classes, bias=False)

    def whiten(self, images: Float[Tensor, "n 3 h w"]) -> None:
        """Fit the first convolution's filters to normalised images; a few thousand are plenty."""
        self.whitening.fit(images)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return logits of normalised images."""
        features = self.stages(F.gelu(self.whitening(images)))
        return LOGIT_SCALE * self.head(features.amax(dim=(2, 3)))


class Whitening(nn.Module):
    """A convolution whose outputs on the patches it was fitted to are uncorrelated with variance 1.

    Its filters (6 p², 3, p, p), first with positive and then with negative sign, are not trained: they stay as fitted.
    Before `fit`, each filter passes on one value of the patch, which whitens white noise.
    """

    filters: Tensor

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.channels = 2 * 3 * patch**2
        identity = torch.eye(self.channels // 2).view(-1, 3, patch, patch)
        self.register_buffer("filters", torch.cat([identity, -identity]))
        self.bias = nn.Parameter(torch.zeros(self.channels))

    @torch.no_grad()
    def fit(self, images: Float[Tensor, "n 3 h w"]) -> None:
        """Compute the filters from all patches of `images`, on the scale that `forward` reads."""
        patches = F.unfold(images, self.patch).transpose(1, 2).flatten(0, 1)  # (n · places, 3 p²)
        values, vectors = torch.linalg.eigh(patches.T.cov().double())
        whitening = (vectors / (values + EIGENVALUE_FLOOR).sqrt()).T.flip(0)
        filters = whitening.view(-1, 3, self.patch, self.patch)
        self.filters.copy_(torch.cat([filters, -filters]))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c hh ww"]:
        return F.conv2d(images, self.filters, self.bias)


class _Stage(nn.Module):
    """Two convolutions, the first of them pooled to half the side, and then `residuals` residual convolutions."""

    def __init__(self, inputs: int, outputs: int, residuals: int) -> None:
        super().__init__()
        self.reduce = _convolution(inputs, outputs)
        self.norm = _BatchNorm(outputs)
        self.refine = nn.Sequential(_convolution(outputs, outputs), _BatchNorm(outputs))
        self.residuals = nn.ModuleList(
            nn.Sequential(_convolution(outputs, outputs), _BatchNorm(outputs))
            for _ in range(residuals)
        )

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o hh ww"]:
        x = F.gelu(self.norm(F.max_pool2d(self.reduce(x), 2)))
        x = F.gelu(self.refine(x))
        for residual in self.residuals:
            x = F.gelu(x + residual(x))
        return x


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm that learns a shift but no scale, with statistics that adapt within a few hundred steps."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=0.4)
        del self.weight
        self.register_buffer("weight", torch.ones(channels))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution whose first `inputs` channels copy its inputs; other filters are drawn at random."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:inputs])
    return convolution
