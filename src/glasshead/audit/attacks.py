"""Adversarial images: each pixel value changes by at most epsilon, so that the classifier gives a wrong class.

Both attacks are captum's. They are white-box attacks (they use the classifier's gradients and the true label) and raise
the margin loss. Pixels stay in [0, 1] but are not rounded to bytes. Attacks are not random: results depend neither on a
seed nor on the batches.
"""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

# images (b, 3, h, w) in [0, 1] to raw logits (b, k), differentiable
Model = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]
# (model, images in [0, 1], labels) to the attacked images
Attack = Callable[[Model, Float[Tensor, "b 3 h w"], Int[Tensor, " b"]], Float[Tensor, "b 3 h w"]]
UNIT = "1/255"  # unit of epsilon in parameters and tables; the functions take epsilon as a fraction of the pixel range
REACH = 2.5  # sum of the step sizes of PGD, in epsilons


def margin_loss(logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the largest logit of a wrong class minus the label's logit; positive values are mistakes.

    The gradient of cross-entropy vanishes for confident classifiers, which would make them look robust; the gradient of
    the margin does not. Carlini and Wagner 2017, arXiv:1608.04644, f6.
    """
    columns = labels[:, None]
    own = logits.gather(1, columns)[:, 0]
    rivals = logits.scatter(1, columns, -torch.inf)
    return rivals.max(dim=1).values - own


def fgsm(
    model: Model, images: Float[Tensor, "b 3 h w"], labels: Int[Tensor, " b"], epsilon: float
) -> Float[Tensor, "b 3 h w"]:
    """Return `images` after one step of size `epsilon` along the sign of the loss gradient.

    Goodfellow et al. 2015, arXiv:1412.6572.
    """
    from captum.robust import FGSM

    attack = FGSM(model, margin_loss, lower_bound=0, upper_bound=1)
    attack.zero_thresh = 0
    return attack.perturb(images.detach().requires_grad_(), epsilon, labels).detach()


def pgd(
    model: Model,
    images: Float[Tensor, "b 3 h w"],
    labels: Int[Tensor, " b"],
    epsilon: float,
    steps: int,
) -> Float[Tensor, "b 3 h w"]:
    """Return `images` after `steps` steps of size `REACH` * epsilon / steps, each projected back to within `epsilon`.

    The attack starts at the image itself: Kurakin et al. 2017, arXiv:1607.02533; step size of Madry et al. 2018,
    arXiv:1706.06083.
    """
    from captum.robust import PGD

    attack = PGD(model, margin_loss, lower_bound=0, upper_bound=1)
    attack.fgsm.zero_thresh = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already require gradients")
        return attack.perturb(images.detach(), epsilon, REACH * epsilon / steps, steps, labels)
