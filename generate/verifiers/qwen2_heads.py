"""The heads of two published Qwen2 verifiers, by the names of their weights: no code from a hub is needed."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """Qwen2.5-Math-PRM: behind the model a head `score` of Linear(hidden, hidden), ReLU, Linear(hidden, labels).

    Weights: `model.*`, `score.0.{weight,bias}`, `score.2.{weight,bias}`; `lm_head.weight` is not used. Labels: two,
    whatever the config says of them. Source: the model's modeling_qwen2_rm.py.
    """

    def __init__(self, config: Any) -> None:
        config.num_labels = 2
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(), nn.Linear(config.hidden_size, 2)
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: Tensor, past_key_values: Any = None, **inputs: Any) -> TokenClassifierOutput:
        """Logits (rows, tokens, 2): a step is bad, a step is good."""
        states = self.model(input_ids, past_key_values=past_key_values, **inputs).last_hidden_state
        return TokenClassifierOutput(logits=self.score(states))


class _ValueHead(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.summary = nn.Linear(hidden_size, 1)


class Qwen2ForPrmModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """Skywork-o1-Open-PRM: behind the model a value head, Linear(hidden, 1); its dropout is off when scoring.

    Weights: `model.*`, `v_head.summary.{weight,bias}`; `lm_head.weight` is not used. Source: ValueHead of
    SkyworkAI/skywork-o1-prm-inference (TRL's AutoModelForCausalLMWithValueHead).
    """

    def __init__(self, config: Any) -> None:
        config.num_labels = 1
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.v_head = _ValueHead(config.hidden_size)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: Tensor, past_key_values: Any = None, **inputs: Any) -> TokenClassifierOutput:
        """Values (rows, tokens, 1): log-odds that what was read so far is good."""
        states = self.model(input_ids, past_key_values=past_key_values, **inputs).last_hidden_state
        summary = self.v_head.summary
        return TokenClassifierOutput(logits=summary(states.to(summary.weight.dtype)))
