"""A first layer that whitens: computed, never trained (Jordan 2024, arXiv 2404.00498, section 3.2).

Letters: B batch, C channels, H height, W width, P patches, D values of a patch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WHITENED_IMAGES = 5000
"""Images of the training split from which whitening layers are computed."""
KERNEL = 2
EPSILON = 5e-4
"""Added to eigenvalues, so that the directions of least variance are not all noise."""


class Whitening(nn.Conv2d):
    """Projections of 2x2 patches on their covariance's eigenvectors, at unit variance, and their negatives.

    Its weight is no parameter of the training; its bias is.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 2 * in_channels * KERNEL**2, KERNEL)
        self.weight.requires_grad = False

    @torch.no_grad()
    def fit(self, images_BCHW: Tensor) -> None:
        """Compute the weight from normalised images."""
        patches_PD = F.unfold(images_BCHW.double(), KERNEL).transpose(1, 2).flatten(0, 1)
        covariance_DD = patches_PD.T @ patches_PD / len(patches_PD)
        values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
        filters_DD = (vectors_DD / (values_D + EPSILON).sqrt()).T
        self.weight.copy_(torch.cat([filters_DD, -filters_DD]).view_as(self.weight))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]


def fit_whitening(model: nn.Module, images_BCHW: Tensor) -> None:
    """Compute every whitening layer of a new model, as its first layer, from normalised images."""
    for module in model.modules():
        if isinstance(module, Whitening):
            module.fit(images_BCHW)
