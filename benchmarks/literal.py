"""Bayes-PFL inference as its formulas stand (METHODS A.1 to A.6): slow, plain, and independent of `medzsad.methods`.

One image at a time in float32, attention written out, all 77 text positions, a loop over samples and polarities, every
map at full size before the mean. It is the yardstick of `throughput.py` and the oracle of `tests/test_literal.py`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import open_clip
import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, softplus

from medzsad.clip.text import token_ids

_HEADS_OF_REFINEMENT = 4


class LiteralBayesPFL:
    """The program that the formulas describe.

    Args:
        clip: Tower whose weights are used; none of its code is run.
        prompts: State dict of `medzsad.methods.bayes_pfl.model.BayesPFL`.
        layers: Vision blocks that are read, counted from 1.
        stage: Training stage whose image head is used.

    Attributes:
        seconds: Time spent so far in "vision", "text", "head" and "maps".
    """

    def __init__(self, clip: open_clip.CLIP, prompts: dict[str, Tensor], layers: Sequence[int], stage: int) -> None:
        self.clip = {name: value.detach() for name, value in clip.state_dict().items()}
        self.heads = {
            "visual.": clip.visual.transformer.resblocks[0].attn.num_heads,
            "": clip.transformer.resblocks[0].attn.num_heads,
        }
        self.context_length = clip.context_length
        self.prompts, self.layers, self.stage = prompts, tuple(layers), stage
        self.seconds = dict.fromkeys(("vision", "text", "head", "maps"), 0.0)

    @torch.inference_mode()
    def score(self, image: Tensor, class_name: str, noise: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Map (H, W) and image score of one image (3, H, W).

        Args:
            image: CLIP-normalized.
            class_name: As it stands in the prompt.
            noise: Draws for this image: "context" (1, R, D), "normal" and "abnormal" (R, D).
        """
        with self._timed("vision", image):
            cls, patches = self._vision(image)
        with self._timed("text", image):
            text = self._text(cls, class_name, {name: draw.to(image) for name, draw in noise.items()})
        with self._timed("head", image):
            logits = [self._pixel_logits(layer, tokens, text) for layer, tokens in enumerate(patches)]
            score = self._image_score(cls, patches, text)
        with self._timed("maps", image):
            score_map = self._map(logits, image.shape[-1])
        return score_map, score

    @contextmanager
    def _timed(self, stage: str, image: Tensor) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if image.device.type == "cuda":
            torch.cuda.synchronize(image.device)
        self.seconds[stage] += time.perf_counter() - started

    def _vision(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Projected class token (D,) and the patch tokens (N, C) of each layer that is read."""
        weight = self.clip["visual.conv1.weight"]
        x = conv2d(image[None], weight, stride=weight.shape[-1])[0].flatten(1).T
        x = torch.cat((self.clip["visual.class_embedding"][None], x)) + self.clip["visual.positional_embedding"]
        x = self._norm(x, "visual.ln_pre")[None]
        patches = []
        for block in range(max(*self.layers, self._blocks("visual."))):
            x = self._block(x, "visual.", block, None)
            if block + 1 in self.layers:
                patches.append(x[0, 1:])
        return self._norm(x[0, 0], "visual.ln_post") @ self.clip["visual.proj"], patches

    def _blocks(self, tower: str) -> int:
        start = f"{tower}transformer.resblocks."
        return 1 + max(int(name[len(start) :].split(".")[0]) for name in self.clip if name.startswith(start))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], self.clip[f"{name}.weight"], self.clip[f"{name}.bias"])

    def _block(self, x: Tensor, tower: str, number: int, mask: Tensor | None) -> Tensor:
        """A residual attention block with the exact GELU on (b, n, C)."""
        name = f"{tower}transformer.resblocks.{number}"
        width, heads = x.shape[-1], self.heads[tower]
        qkv = self._linear(self._norm(x, f"{name}.ln_1"), f"{name}.attn.in_proj_weight", f"{name}.attn.in_proj_bias")
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.split(width, dim=-1))
        scores = query @ key.transpose(-1, -2) * (width // heads) ** -0.5
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        seen = (weights @ value).transpose(1, 2).flatten(-2)
        x = x + self._linear(seen, f"{name}.attn.out_proj.weight", f"{name}.attn.out_proj.bias")
        inner = self._linear(self._norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc.weight", f"{name}.mlp.c_fc.bias")
        return x + self._linear(gelu(inner), f"{name}.mlp.c_proj.weight", f"{name}.mlp.c_proj.bias")

    def _linear(self, x: Tensor, weight: str, bias: str) -> Tensor:
        return x @ self.clip[weight].T + self.clip[bias]

    def _text(self, cls: Tensor, class_name: str, noise: Mapping[str, Tensor]) -> Tensor:
        """(2, S, D) unit text features, normal before abnormal; sample by sample, each polarity on its own."""
        polarities: tuple[list[Tensor], list[Tensor]] = ([], [])
        for sample in range(noise["context"].shape[1]):
            context = self._flow("context_flow", cls, noise["context"][0, sample])
            for polarity, name in enumerate(("normal", "abnormal")):
                shift = self._flow(f"{name}_flow", None, noise[name][sample])
                words = self.prompts["prompt_context"] + context
                states = self.prompts[f"prompt_{name}"] + shift
                polarities[polarity].append(self._encoded(torch.cat((words, states), dim=1), class_name))
        return torch.stack([torch.cat(parts) for parts in polarities])

    def _flow(self, name: str, cls: Tensor | None, noise: Tensor) -> Tensor:
        """One sample (D,) of a distribution, from the class token or, without one, from the learned state."""
        w = self.prompts
        x = w[f"{name}.state"] if cls is None else cls
        encoder = "state_encoder" if cls is None else f"{name}.encoder"
        z = self._mlp(x, f"{encoder}.mean") + torch.exp(0.25 * self._mlp(x, f"{encoder}.spread")) * noise
        if cls is None:
            u, direction, beta = w[f"{name}.u"], w[f"{name}.w"], w[f"{name}.beta"]
        else:
            u, direction, beta = (cls @ w[f"{name}.{k}.weight"].T + w[f"{name}.{k}.bias"] for k in ("u", "w", "beta"))
            u, direction = u.reshape(len(beta), -1), direction.reshape(len(beta), -1)
        for step in range(len(beta)):
            z = z + u[step] * torch.tanh(direction[step] @ z + beta[step])
        return z

    def _mlp(self, x: Tensor, name: str) -> Tensor:
        for index in (0, 2, 4):
            x = x @ self.prompts[f"{name}.{index}.weight"].T + self.prompts[f"{name}.{index}.bias"]
            x = softplus(x) if index < 4 else x
        return x

    def _encoded(self, learned: Tensor, class_name: str) -> Tensor:
        """(B, D) unit features of the bank's prompts (B, P + Q, C) of one polarity, over the whole context length."""
        ids = token_ids(class_name)
        padded = torch.zeros(self.context_length - learned.shape[1], dtype=torch.int64)
        padded[: len(ids)] = ids
        words = self.clip["token_embedding.weight"][padded.to(learned.device)].expand(len(learned), -1, -1)
        x = torch.cat((words[:, :1], learned, words[:, 1:]), dim=1) + self.clip["positional_embedding"]
        mask = torch.full((self.context_length, self.context_length), -torch.inf, device=x.device).triu(1)
        for block in range(self._blocks("")):
            x = self._block(x, "", block, mask)
        end = len(ids) - 1 + learned.shape[1]
        features = self._norm(x, "ln_final")[:, end] @ self.clip["text_projection"]
        return features / features.norm(dim=-1, keepdim=True)

    def _pixel_logits(self, layer: int, tokens: Tensor, text: Tensor) -> Tensor:
        """(2, S, N) logits of one layer, the text first refined on its patches."""
        w = self.prompts
        features = tokens @ w[f"refinement.patches.{layer}.weight"].T
        features = features / features.norm(dim=-1, keepdim=True)
        flat = text.flatten(0, 1)
        query = flat @ w["refinement.query.weight"][:, :, 0].T + w["refinement.query.bias"]
        heads = [part.unflatten(-1, (_HEADS_OF_REFINEMENT, -1)).transpose(0, 1) for part in (query, features)]
        weights = (heads[0] @ heads[1].transpose(-1, -2) * flat.shape[-1] ** -0.5).softmax(dim=-1)
        refined = (weights @ heads[1]).transpose(0, 1).flatten(-2) + flat
        refined = refined / refined.norm(dim=-1, keepdim=True)
        return (w["log_scale_pixel"].exp() * features @ refined.T).T.unflatten(0, (2, -1))

    def _image_score(self, cls: Tensor, patches: list[Tensor], text: Tensor) -> Tensor:
        w = self.prompts
        image = cls
        if self.stage == 2:
            x = torch.cat(patches, dim=-1) @ w["summary.reduce.weight"].T + w["summary.reduce.bias"]
            alpha = (x @ w["summary.weigh.weight"].T + w["summary.weigh.bias"]).softmax(dim=0)
            summary = (alpha * x).sum(dim=0) @ w["summary.expand.weight"].T + w["summary.expand.bias"]
            image = (cls + summary) @ w["image_head.weight"].T + w["image_head.bias"]
        words = text @ w["text_head.weight"].T + w["text_head.bias"]
        words, image = words / words.norm(dim=-1, keepdim=True), image / image.norm()
        return (w["log_scale_image"].exp() * words @ image).softmax(dim=0)[1].mean()

    def _map(self, layers: list[Tensor], side: int) -> Tensor:
        """(side, side) mean over all layers and pairs, each of whose maps is made and kept at full size."""
        maps = []
        for logits in layers:
            grid = round(logits.shape[-1] ** 0.5)
            planes = logits.unflatten(-1, (grid, grid))
            upsampled = interpolate(planes, size=(side, side), mode="bilinear", align_corners=True)
            maps.append(upsampled.softmax(dim=0)[1])
        return torch.cat(maps).mean(dim=0)
