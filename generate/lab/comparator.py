"""A verifier that starts from a language model and already holds each token against the model's prediction of it.

A causal model scores token t+1 at t, so whether token t was likely stands one place to the left of where token t is
known; by its top layer the base has even forgotten token t (a linear probe recovers 80 %). Trained from correctness, or
from the base's own probabilities, fresh layers of random weights did not find the comparison in 1 200 updates. Here the
first of them is given it: a wider residual stream carries the token past the copied layers, one head looks one place
back and brings the logits, and the feed-forward part marks a token that another one beat. The copied layers and this
comparator stay as they are; the layers above learn what the marks mean.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from generate.lab.problems import DELIMITER, NEXT_ATTEMPT
from generate.lab.tokenizer import DELIMITER_ID, EOS, PAD, SYMBOLS

TOKEN_AMPLITUDE = 0.05  # small beside the base's own stream, so that its norms hardly change
SHARPNESS = 200.0
PEAK = (1.0, 0.35, 0.35, 0.2)  # weights of the fastest rotary frequencies: their cosines agree one place back only
FLOOR = 1.45  # taken off by the slowest one, so that every other place scores below zero, whatever the norms there
MARK_SHARPNESS = 40.0
CAME = 1000.0  # shuts the neurons of tokens that did not come, however sure the base was that they would not
NEAR_TIE = 0.5  # a token that wins by less than this many nats is marked too, a little
ADDED = 40  # features behind the base's: token, constant, logits, and three results
COMPARED = tuple(index for index, symbol in enumerate(SYMBOLS) if symbol not in (PAD, NEXT_ATTEMPT))


def verifier_from_base(
    base: LlamaForCausalLM, typical_ids: Tensor, *, fresh_layers: int, seed: int
) -> LlamaForTokenClassification:
    """A token classifier: the base's layers below, `fresh_layers` new ones above, the first of them a comparator.

    The residual stream is wider: behind the base's features stand the token (one-hot), a constant, and room.
    `typical_ids` (rows, length) are any texts; the size of the stream on them sets the scale of the added features.
    """
    torch.manual_seed(seed)
    settings = base.config.to_dict()
    for name in ("architectures", "model_type", "layer_types", "id2label", "label2id"):
        settings.pop(name, None)
    narrow = base.config.hidden_size
    settings |= {
        "hidden_size": narrow + ADDED,
        "head_dim": narrow // base.config.num_attention_heads,
        "num_hidden_layers": base.config.num_hidden_layers + fresh_layers,
        "num_labels": 1,
        "classifier_dropout": 0.0,
    }
    model: LlamaForTokenClassification = LlamaForTokenClassification(LlamaConfig(**settings))  # type: ignore[no-untyped-call]
    model.to(base.device)  # type: ignore[arg-type]
    with torch.no_grad():
        copy_base(model, base)
        states = model.model(input_ids=typical_ids, output_hidden_states=True).hidden_states
        stream = states[base.config.num_hidden_layers][typical_ids != base.config.pad_token_id]
        gain = float(stream.square().mean(dim=-1).sqrt().mean()) / TOKEN_AMPLITUDE
        make_comparator(model.model.layers[base.config.num_hidden_layers], base, gain)
        for layer in model.model.layers[base.config.num_hidden_layers + 1 :]:
            scale_added(layer.input_layernorm.weight, narrow, base.config.vocab_size, gain)
            scale_added(layer.post_attention_layernorm.weight, narrow, base.config.vocab_size, gain)
        make_gatherer(model.model.layers[base.config.num_hidden_layers + 1], narrow, base.config.vocab_size)
        scale_added(model.model.norm.weight, narrow, base.config.vocab_size, gain)
    return model


def copy_base(model: LlamaForTokenClassification, base: LlamaForCausalLM) -> None:
    """Copy embeddings and layers; the added features pass the copied layers untouched and unseen."""
    narrow, vocabulary = base.config.hidden_size, base.config.vocab_size
    shrink = (narrow / model.config.hidden_size) ** 0.5
    for parameter in model.model.layers[: base.config.num_hidden_layers].parameters():
        parameter.zero_()
    for layer, source in zip(model.model.layers, base.model.layers, strict=False):
        for name, weight in source.named_parameters():
            target = layer.get_parameter(name)
            target[tuple(slice(size) for size in weight.shape)] = weight * shrink if weight.ndim == 1 else weight
    embedding = model.model.embed_tokens.weight
    embedding.zero_()
    embedding[:, :narrow] = base.model.embed_tokens.weight
    embedding[:, narrow : narrow + vocabulary] = TOKEN_AMPLITUDE * torch.eye(vocabulary)
    embedding[:, narrow + vocabulary] = TOKEN_AMPLITUDE


def make_comparator(layer: LlamaDecoderLayer, base: LlamaForCausalLM, gain: float) -> None:
    """Set the first head to fetch the logits from one place back, the feed-forward part to mark beaten tokens.

    A neuron for each pair of rivals: on where this one came and the other was likelier, by as much as it was likelier.
    """
    narrow, vocabulary = base.config.hidden_size, base.config.vocab_size
    constant = narrow + vocabulary
    logits = slice(constant + 1, constant + 1 + len(COMPARED))
    mark = constant + 1 + len(COMPARED)
    shrink = (narrow / layer.input_layernorm.weight.shape[0]) ** 0.5

    layer.input_layernorm.weight[:narrow] = base.model.norm.weight * shrink
    layer.input_layernorm.weight[narrow:] = gain
    attention = layer.self_attn
    size = attention.head_dim
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[:size] = 0.0
    angles = float(base.config.to_dict()["rope_parameters"]["rope_theta"]) ** (-torch.arange(0, size, 2) / size)
    sizes = torch.zeros(size // 2)
    sizes[: len(PEAK)] = (SHARPNESS * torch.tensor(PEAK)) ** 0.5
    floor = torch.zeros(size // 2)
    floor[-1] = (SHARPNESS * FLOOR) ** 0.5
    attention.q_proj.weight[:size, constant] = torch.cat(
        [sizes * torch.cos(angles) - floor, -sizes * torch.sin(angles)]
    )
    attention.k_proj.weight[:size, constant] = torch.cat([sizes + floor, 0 * sizes])
    attention.v_proj.weight[: len(COMPARED), :narrow] = base.lm_head.weight[list(COMPARED)]
    attention.o_proj.weight[:, :size] = 0.0
    attention.o_proj.weight[narrow:] = 0.0
    attention.o_proj.weight[logits, : len(COMPARED)] = TOKEN_AMPLITUDE * torch.eye(len(COMPARED))

    begun = mark + 1  # whether the solution has begun: the second head looks for any newline so far
    second = slice(size, 2 * size)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[second] = 0.0
    attention.q_proj.weight[2 * size - 1, constant] = SHARPNESS**0.5
    attention.k_proj.weight[2 * size - 1, narrow + DELIMITER_ID] = SHARPNESS**0.5
    attention.v_proj.weight[size, narrow + DELIMITER_ID] = 1.0
    attention.o_proj.weight[:, second] = 0.0
    attention.o_proj.weight[begun, size] = TOKEN_AMPLITUDE

    layer.post_attention_layernorm.weight[narrow:] = gain
    feed = layer.mlp
    feed.down_proj.weight[narrow:] = 0.0
    for row, (came, other) in enumerate(rivals()):
        feed.gate_proj.weight[row] = 0.0
        feed.gate_proj.weight[row, narrow + COMPARED[came]] = CAME
        feed.gate_proj.weight[row, constant] = NEAR_TIE - CAME
        feed.gate_proj.weight[row, logits.start + other] = 1.0
        feed.gate_proj.weight[row, logits.start + came] = -1.0
        feed.up_proj.weight[row] = 0.0
        feed.up_proj.weight[row, begun] = 1.0
        feed.down_proj.weight[:, row] = 0.0
        feed.down_proj.weight[mark, row] = 0.4 * TOKEN_AMPLITUDE


def make_gatherer(layer: LlamaDecoderLayer, narrow: int, vocabulary: int) -> None:
    """Set the first head to fetch the largest mark so far, into the last added feature."""
    constant = narrow + vocabulary
    mark = constant + 1 + len(COMPARED)
    attention = layer.self_attn
    size = attention.head_dim
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[:size] = 0.0
    attention.q_proj.weight[size - 1, constant] = MARK_SHARPNESS
    attention.k_proj.weight[size - 1, mark] = 1.0
    attention.v_proj.weight[0, mark] = 1.0
    attention.o_proj.weight[:, :size] = 0.0
    attention.o_proj.weight[-1, 0] = 1.0


def scale_added(weight: Tensor, narrow: int, vocabulary: int, gain: float) -> None:
    """Set the gains with which a layer above the comparator sees the added features: each about 1 in size."""
    weight[narrow : narrow + vocabulary + 1] = gain
    weight[narrow + vocabulary + 1 :] = gain / 20


def rivals() -> list[tuple[int, int]]:
    """Places in `COMPARED` of (the token that came, one that could have come instead): what a solution can confuse."""
    symbols = [SYMBOLS[index] for index in COMPARED]
    groups = ("0123456789=", "+-*", (EOS, DELIMITER))
    return [
        (symbols.index(came), symbols.index(other))
        for group in groups
        for came in group
        for other in group
        if came != other
    ]
