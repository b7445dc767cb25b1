"""A frozen image encoder: images in [0, 1] to one of a CLIP backbone's outputs.

`glasshead.models.towers` lists the outputs of each kind of backbone.
"""

import hashlib
import json
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from glasshead.errors import ArtifactError, BackboneError, ParameterError
from glasshead.models.backbone import BackboneParams, as_used, resolve_backbone, weights_hash
from glasshead.models.processor import describe, input_size, load_processor
from glasshead.models.towers import BY_PLACE, Output, Tower, load_tower

# Increase it when the numbers that `ImageEncoder` returns for one image and one set of weights change.
ENCODER_CODE_VERSION = 4


def processor_settings(backbone: BackboneParams) -> dict[str, Any]:
    """Return the settings of the backbone's image processor: input size in pixels, resize, crop, mean and std."""
    processor = load_processor(resolve_backbone(backbone))
    used = as_used(backbone)
    return {"backbone": used.name, "revision": used.revision, **describe(processor)}


def load_encoder(backbone: BackboneParams, output: Output | None = None) -> "ImageEncoder":
    """Return the frozen encoder of `backbone` that gives `output`, in evaluation mode, float32, on the CPU.

    Without `output`, it gives the projected output if the backbone has one, else the pooled one.

    Raises:
        BackboneError: as `resolve_backbone`, or the weights do not fit, or there is no such output.
    """
    folder = resolve_backbone(backbone)
    tower = load_tower(folder)
    output = output or ("projected" if "projected" in tower.outputs else "pooled")
    if output not in tower.outputs:
        raise BackboneError(
            f"The backbone in {folder} has no {output} output. Choose one of {', '.join(tower.outputs)}."
        )
    return ImageEncoder(tower, output, as_used(backbone), weights_hash(folder))


def load_encoder_with_key(backbone: BackboneParams, key: str) -> "ImageEncoder":
    """Return the encoder of `backbone` whose key is `key`, with the output that this key stands for.

    Raises:
        ArtifactError: no output of `backbone` gives `key`: it belongs to another backbone, or to another version.
        BackboneError: as `load_encoder`.
    """
    folder = resolve_backbone(backbone)
    tower, weights = load_tower(folder), weights_hash(folder)
    for output in tower.outputs:
        encoder = ImageEncoder(tower, output, as_used(backbone), weights)
        if encoder.key == key:
            return encoder
    raise ArtifactError(
        f"The stored embeddings come from another backbone (encoder key {key[:12]}…) than the configured "
        f"{backbone.name!r}. Run `kedro run --pipelines=embed` with the configured backbone."
    )


def load_described_encoder(settings: dict[str, Any], reader: str) -> "ImageEncoder":
    """Return the encoder that `settings` give by `backbone`, `output` and `encoder_key`.

    Errors call the trained part that reads its outputs `reader`, such as "heads".

    Raises BackboneError if the backbone of that name has changed.
    """
    backbone = BackboneParams(**settings["backbone"])
    # Heads trained before the output could be chosen do not name it.
    encoder = load_encoder(backbone, settings.get("output", "projected"))
    if encoder.key != settings["encoder_key"]:
        raise BackboneError(
            f"The backbone {backbone.name!r} has changed since these {reader} were trained on it: its weights, its "
            f"processor or our code differs (key {encoder.key[:12]}… instead of {settings['encoder_key'][:12]}…). "
            f"Train the {reader} again, or restore the old backbone."
        )
    return encoder


class ImageEncoder(nn.Module):
    """A module from images in [0, 1] to one output of a CLIP backbone, not L2-normalised.

    Parameters are frozen, but gradients flow to the images.

    Attributes:
        output: the name of the backbone's output.
        shape: that of one image's output: (d,), (rows * columns, d) for patch tokens, (c, rows, columns) for a ResNet.
        input_size: side of the square input in pixels.
        reads_class_token_alone: whether the output depends only on the class token of the last layer.
        backbone: the loaded backbone, with its revision if it has one.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, tower: Tower, output: Output, backbone: BackboneParams, weights: str
    ) -> None:
        super().__init__()
        self.vision = tower.vision.eval().requires_grad_(False)
        self.processor = tower.processor
        self.output = output
        self.shape, self._compute = tower.outputs[output]
        self._map_layers = tower.map_layers
        self.reads_class_token_alone = tower.pools_class_token and output not in BY_PLACE
        self.backbone = backbone
        self.weights = weights
        self.input_size = input_size(tower.processor)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(tower.processor, f"image_{name}")).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.eval()

    @property
    def dimension(self) -> int:
        """The number of features of the vector, of each patch token, or of each place of a ResNet's map."""
        return self.shape[0] if len(self.shape) == 3 else self.shape[-1]

    def transformer_layers(self) -> list[nn.Module]:
        """Return the layers of CLIP's vision transformer, first to last; none unless only the class token is read."""
        if not self.reads_class_token_alone:
            return []
        vision: Any = self.vision
        return list(vision.layers)

    def cam_layers(self) -> list[nn.Module]:
        """Return a convolutional network's stages, whose outputs are (b, c, rows, columns), the last one last.

        Raises ParameterError for transformers.
        """
        if not self._map_layers:
            raise ParameterError(
                f"The backbone {self.backbone.name!r} has no convolutional map for class activation maps. If it is a "
                "transformer of CLIP's, use patch_grad_cam or a method of attention, else a gradient method."
            )
        return [self.vision.get_submodule(name) for name in self._map_layers]

    @property
    def named(self) -> dict[str, Any]:
        """The settings for `load_described_encoder`."""
        backbone = self.backbone.model_dump()
        return {"backbone": backbone, "output": self.output, "encoder_key": self.key}

    @property
    def key(self) -> str:
        """Hex digest of what determines an output besides the image: weights, processor, output, dtype, code."""
        described = {
            "weights": self.weights,
            "processor": self.processor.to_json_string(),
            "output": self.output,
            "dtype": str(next(self.vision.parameters()).dtype),
            "code": ENCODER_CODE_VERSION,
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]

    def prepare(
        self, images: list[Image.Image] | UInt8[Tensor, "b 3 _ _"]
    ) -> UInt8[Tensor, "b 3 h w"]:
        """Resize and centre-crop RGB images of any size as the processor does; values stay 0 to 255.

        Tensors (b, 3, height, width) are prepared on their device.
        """
        return self.processor.prepare(images)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b ..."]:
        """Return the outputs (b, *shape) of images in [0, 1] at the input size."""
        return self._compute(self.vision, (images - self.mean) / self.std)
