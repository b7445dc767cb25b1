"""Image towers: the vision model and the outputs of each kind of backbone.

- CLIP's vision transformer, Radford et al. 2021, arXiv:2103.00020. `pooled` is the class token after the last layer
  norm, `projected` its linear projection into the space shared with text.
- SigLIP's vision transformer, Zhai et al. 2023, arXiv:2303.15343. Its attention pool, without a projection, ends in
  the shared space: `projected` and `pooled` are the same vector.
- ViT, DeiT and DINOv2 of transformers (Dosovitskiy et al. 2021, arXiv:2010.11929; Touvron et al. 2021,
  arXiv:2012.12877; Oquab et al. 2024, arXiv:2304.07193). `pooled` is the class token after the last layer norm.
- The networks of torchvision (doi:10.1145/1873951.1874254). `pooled` is what the last layer reads.
- The networks of timm (Wightman 2019, doi:10.5281/zenodo.4414861). `pooled` is what a classifier's last layer reads.
  Only CLIP's ResNets have a `projected` output. Their attention pool ends with the projection, so `projected` and
  `pooled` are the same vector again.

`spatial` is the last hidden state: a transformer's patch tokens (rows · columns, d), row by row from the top left,
without the class token, or another network's last feature map (c, rows, columns). Patch tokens have gone through the
last layer norm, as in dense uses of CLIP: MaskCLIP (Zhou et al. 2022, arXiv:2112.01071), OWL-ViT (Minderer et al. 2022,
arXiv:2205.06230), and open_clip's `output_tokens`. They are not projected.

`attention_inputs` is the input of the last attention over places. For CLIP's transformer it is the patch tokens before
each of the last two layers, side by side (rows · columns, 2 d). Patch tokens after the last layer enter no loss, so
they may hold information unrelated to their place (Darcet et al. 2024, arXiv:2309.16588). Of a network of timm, but
not of CLIP's, whose stages have ever smaller maps, it is the maps of the last two stages side by side (c, rows,
columns). The last one is enlarged to the size of the other, so the resolution is twice that of `spatial`, as in
hypercolumns (Hariharan et al. 2015, arXiv:1411.5752). The pools of all others read the last hidden state, and their
`attention_inputs` is `spatial`.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glasshead.errors import BackboneError
from glasshead.models.backbone import kind_of, quiet_transformers
from glasshead.models.processor import CLIPImageProcessor, input_size, load_processor
from glasshead.models.vision_transformer import DAMAGED, load_vision_transformer

Output = Literal["projected", "pooled", "spatial", "attention_inputs"]
BY_PLACE: tuple[Output, ...] = ("spatial", "attention_inputs")
ATTENTION_INPUTS = 2  # last layers whose inputs make up `attention_inputs`
Outputs = Mapping[Output, tuple[tuple[int, ...], Callable[[Any, Tensor], Tensor]]]


@dataclass(frozen=True)
class Tower:
    """A vision model, float32 on the CPU, and its outputs.

    Attributes:
        vision: the model: our own class for CLIP's transformer, else the library's.
        processor: its image processor.
        outputs: for each output, its shape for one image and the function that computes it from the model and
            normalised images (b, 3, h, w).
        pools_class_token: whether `pooled` and `projected` depend only on the last layer's class token.
        map_layers: the names of the modules whose outputs are a convolutional network's feature maps, from the first to
            the last stage, as far as the library names them; the last map is always there.
    """

    vision: nn.Module
    processor: CLIPImageProcessor
    outputs: Outputs
    pools_class_token: bool = False
    map_layers: tuple[str, ...] = ()


def load_tower(folder: Path) -> Tower:
    """Return the image tower in `folder`.

    Raises BackboneError if it cannot be loaded, lacks weights, or its processor gives images of another size.
    """
    loaders = {
        "clip": _load_clip,
        "siglip": _load_siglip,
        "vit": _load_vit,
        "timm": _load_timm,
        "torchvision": _load_torchvision,
    }
    return loaders[kind_of(folder)](folder)


def read_config(folder: Path) -> Any:
    """Return the transformers configuration in `folder`; BackboneError where it is damaged."""
    from transformers import AutoConfig

    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(folder)
    except Exception as error:  # on damaged files it raises almost anything
        raise BackboneError(f"The backbone in {folder} cannot be loaded: {error}") from error


def from_pretrained(model: Any, folder: Path, config: Any) -> tuple[nn.Module, list[str]]:
    """Return a transformers `model` with the weights in `folder`, float32, and the names of missing weights."""
    try:
        with quiet_transformers():
            loaded, report = model.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # on damaged files and other models it raises almost anything
        raise BackboneError(
            f"The backbone in {folder} cannot be loaded as a {model.__name__}: {error}"
        ) from error
    return loaded, sorted(report["missing_keys"])


def refuse_gaps(folder: Path, missing: list[str]) -> None:
    """Raise BackboneError if any weights are `missing`."""
    if missing:
        raise BackboneError(
            f"The backbone in {folder} lacks weights ({', '.join(missing[:3])}, …) that its config.json implies. Write "
            "both again with `model.save_pretrained(folder)`."
        )


def _load_clip(folder: Path) -> Tower:
    try:
        vision, missing = load_vision_transformer(folder)
    except DAMAGED as error:
        raise BackboneError(
            f"The backbone in {folder} cannot be loaded as CLIP's vision transformer: {error}"
        ) from error
    refuse_gaps(folder, missing)
    width = vision.config.hidden_size
    patches, layers = vision.config.patches, vision.config.num_hidden_layers
    outputs: Outputs = {
        "pooled": ((width,), _clip_pooled),
        "spatial": ((patches, width), _clip_spatial),
        "attention_inputs": (
            (patches, width * min(ATTENTION_INPUTS, layers)),
            _clip_attention_inputs,
        ),
    }
    if vision.projection_dim is not None:  # which a CLIPVisionModel saved alone lacks
        outputs = {"projected": ((vision.projection_dim,), _clip_projected), **outputs}
    processor = _checked_processor(folder, vision.config.image_size)
    return Tower(vision, processor, outputs, pools_class_token=True)


def _clip_projected(vision: Any, pixels: Tensor) -> Tensor:
    return vision(pixels)


def _clip_pooled(vision: Any, pixels: Tensor) -> Tensor:
    return vision.pooled(pixels)


def _clip_spatial(vision: Any, pixels: Tensor) -> Tensor:
    return vision.post_layernorm(vision.tokens(pixels)[:, 1:])


def _clip_attention_inputs(vision: Any, pixels: Tensor) -> Tensor:
    read = deque(vision.states(pixels, layers=-1), maxlen=ATTENTION_INPUTS)
    return torch.cat(list(read), dim=2)[:, 1:]


def _load_siglip(folder: Path) -> Tower:
    from transformers import SiglipVisionModel

    whole = read_config(folder)
    config = getattr(whole, "vision_config", whole)
    vision, missing = from_pretrained(SiglipVisionModel, folder, config)
    refuse_gaps(folder, missing)
    spatial = ((_patches(config), config.hidden_size), _siglip_spatial)
    outputs: Outputs = {"spatial": spatial, "attention_inputs": spatial}
    if config.vision_use_head:
        pooled = ((config.hidden_size,), _siglip_pooled)
        outputs = {"projected": pooled, "pooled": pooled, **outputs}
    return Tower(vision, _checked_processor(folder, config.image_size), outputs)


def _siglip_pooled(vision: Any, pixels: Tensor) -> Tensor:
    return vision(pixel_values=pixels).pooler_output


def _siglip_spatial(vision: Any, pixels: Tensor) -> Tensor:
    return vision(pixel_values=pixels).last_hidden_state  # after post_layernorm


def _load_vit(folder: Path) -> Tower:
    from transformers import AutoModel

    config = read_config(folder)
    vision: Any
    vision, missing = from_pretrained(AutoModel, folder, config)
    # classifiers are saved without this layer, which no output reads
    refuse_gaps(folder, [name for name in missing if not name.startswith("pooler.")])
    before = 1 + (config.model_type == "deit") + getattr(config, "num_register_tokens", 0)

    def patches(vision: Any, pixels: Tensor) -> Tensor:
        return vision(pixel_values=pixels).last_hidden_state[:, before:]

    processor = load_processor(folder)
    if config.model_type in ("vit", "deit"):
        processor = _checked_processor(folder, config.image_size)
    count = (input_size(processor) // config.patch_size) ** 2
    spatial = ((count, config.hidden_size), patches)
    outputs: Outputs = {
        "pooled": ((config.hidden_size,), _class_token),
        "spatial": spatial,
        "attention_inputs": spatial,
    }
    return Tower(vision, processor, outputs)


def _class_token(vision: Any, pixels: Tensor) -> Tensor:
    return vision(pixel_values=pixels).last_hidden_state[:, 0]  # after the last layer norm


def _patches(config: Any) -> int:
    return (config.image_size // config.patch_size) ** 2


def _checked_processor(folder: Path, image_size: int) -> CLIPImageProcessor:
    processor = load_processor(folder)
    if input_size(processor) != image_size:
        raise BackboneError(
            f"The processor in {folder} crops to {input_size(processor)} pixels, but the model reads {image_size}. "
            "Write the model's own processor there with `processor.save_pretrained(folder)`."
        )
    return processor


def _load_timm(folder: Path) -> Tower:
    import timm
    from timm.layers.attention_pool2d import AttentionPool2d, RotAttentionPool2d

    if not (folder / "model.safetensors").is_file():  # or timm would read a pickle there
        raise BackboneError(
            f"The backbone folder {folder} has no model.safetensors. Write it with timm's "
            "`save_for_hf(model, folder, safe_serialization=True)`."
        )
    try:
        vision: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except Exception as error:  # as in `from_pretrained`
        raise BackboneError(
            f"The backbone in {folder} cannot be loaded as a model of timm: {error}"
        ) from error
    processor = load_processor(folder)
    spatial = (_shape_of(_timm_spatial, vision, processor, folder), _timm_spatial)
    outputs: dict[Output, Any] = {"spatial": spatial, "attention_inputs": spatial}
    if not isinstance(getattr(vision, "head", None), AttentionPool2d | RotAttentionPool2d):
        shape = _shape_of(_timm_pooled, vision, processor, folder)
        stages = getattr(vision, "feature_info", None) if len(spatial[0]) == 3 else None
        if stages and len({stage["reduction"] for stage in stages[-2:]}) == 2:
            maps = _shape_of(_timm_last_stages, vision, processor, folder)
            outputs["attention_inputs"] = (maps, _timm_last_stages)
        layers = tuple(stage["module"] for stage in stages or ())
        return Tower(
            vision, processor, {"pooled": (shape, _timm_pooled), **outputs}, map_layers=layers
        )
    pooled = ((vision.head.out_features,), _timm_attention)
    if vision.num_classes:  # which is what timm calls the width of the projection
        outputs = {"projected": pooled, **outputs}
    layers = tuple(stage["module"] for stage in vision.feature_info)
    return Tower(vision, processor, {"pooled": pooled, **outputs}, map_layers=layers)


def _load_torchvision(folder: Path) -> Tower:
    from safetensors.torch import load_file
    from torchvision.models import get_model

    from glasshead.models.torchvision_networks import TorchvisionNetwork

    processor = load_processor(folder)
    side = input_size(processor)
    config = json.loads((folder / "config.json").read_text())
    try:
        name = config["torchvision"]
        size = {"image_size": side} if name.startswith("vit_") else {}
        network = get_model(name, num_classes=config["num_classes"], **size)
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except Exception as error:  # as in `from_pretrained`
        raise BackboneError(
            f"The backbone in {folder} cannot be loaded as a network of torchvision: {error}"
        ) from error
    vision = TorchvisionNetwork(network, side)
    spatial = (_shape_of(_torchvision_map, vision, processor, folder), _torchvision_map)
    outputs: Outputs = {
        "pooled": (_shape_of(_torchvision_pooled, vision, processor, folder), _torchvision_pooled),
        "spatial": spatial,
        "attention_inputs": spatial,
    }
    return Tower(vision, processor, outputs, map_layers=vision.map_layers)


def _torchvision_pooled(vision: Any, pixels: Tensor) -> Tensor:
    return vision(pixels)


def _torchvision_map(vision: Any, pixels: Tensor) -> Tensor:
    return vision.feature_map(pixels)


def _shape_of(
    output: Callable[[Any, Tensor], Tensor],
    vision: Any,
    processor: CLIPImageProcessor,
    folder: Path,
) -> tuple[int, ...]:
    """Return the shape of an output for one image, from a pass of a black image."""
    side = input_size(processor)
    try:
        with torch.inference_mode():
            return tuple(output(vision, torch.zeros(1, 3, side, side)).shape[1:])
    except Exception as error:  # of more than a thousand networks, each has its own
        raise BackboneError(
            f"The {type(vision).__name__} in {folder} does not give the outputs of a backbone for images of {side} "
            f"pixels: {error}. Use another architecture."
        ) from error


def _timm_attention(vision: Any, pixels: Tensor) -> Tensor:
    return vision(pixels)


def _timm_pooled(vision: Any, pixels: Tensor) -> Tensor:
    return vision.forward_head(vision.forward_features(pixels), pre_logits=True)


def _timm_last_stages(vision: Any, pixels: Tensor) -> Tensor:
    stages = {"indices": 2, "intermediates_only": True, "output_fmt": "NCHW"}
    before, last = vision.forward_intermediates(pixels, **stages)
    enlarged = F.interpolate(last, before.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([before, enlarged], dim=1)


def _timm_spatial(vision: Any, pixels: Tensor) -> Tensor:
    features = vision.forward_features(pixels)
    if features.ndim == 3:
        return features[:, vision.num_prefix_tokens :]  # the patch tokens
    if str(getattr(vision, "output_fmt", "NCHW")).endswith("NHWC"):
        return features.permute(0, 3, 1, 2)
    return features
