"""The models of a run, as they are to be loaded: by the recorder's own process, or by those of several devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from generate.devices import make_current
from generate.making import Maker, Making
from generate.settings import VerifierSettings, hardware
from generate.verifiers.registry import load_verifier

if TYPE_CHECKING:
    from generate.samplers.server import ServerSampler


class Loaded(NamedTuple):
    """What makes the draws, with the sizes of the sampler's model (None: not known) and of each verifier's."""

    maker: Making
    num_params: int | None
    verifier_params: tuple[int, ...]


@dataclass(frozen=True)
class ModelSet:
    """A language model and its verifiers: where they are (`path`, the verifiers' `model`), and how they are used.

    The fields are those of `load_sampler` and `load_verifier`.
    """

    path: str
    revision: str | None
    delimiter: str
    temperature: float
    top_p: float
    max_tokens: int
    verifiers: tuple[VerifierSettings, ...]
    dtype: str
    attention: str
    batch_rows: int
    sampler: str
    trust_remote_code: bool

    def load(self, device: str, *, where: str = "", say: Callable[[str], None] | None = None) -> Loaded:
        """All of them on one device; `where` and `say` as in Maker. Raises ValueError if one cannot be loaded."""
        from generate.samplers.transformers import load_sampler

        make_current(device)
        sampler = load_sampler(
            self.path,
            delimiter=self.delimiter,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            batch_rows=self.batch_rows,
            revision=self.revision,
            dtype=self.dtype,
            device=device,
            attention=self.attention,
            sampler=self.sampler,
        )
        machine = {
            "hardware": hardware(),
            "device": str(sampler.model.device),
            "dtype": str(sampler.model.dtype).removeprefix("torch."),
            "attention": sampler.model.config._attn_implementation,
            "batch_rows": self.batch_rows,
            "sampler": type(sampler).__name__,
        }
        verifiers = self._load_verifiers(device)
        maker = Maker(sampler, verifiers, where=where, say=say, machine=machine)
        return Loaded(maker, sampler.model.num_parameters(), _sizes(verifiers))

    def behind(self, server: ServerSampler, device: str) -> Loaded:
        """The server in the place of the language model, and the verifiers on the device."""
        verifiers = self._load_verifiers(device)
        machine = {"hardware": hardware(), "server": server.place.url, "connections": server.connections}
        return Loaded(Maker(server, verifiers, machine=machine), None, _sizes(verifiers))

    def _load_verifiers(self, device: str) -> list[Any]:
        return [
            load_verifier(
                one.model,
                verifier_id=one.verifier_id,
                format=one.format,
                kind=one.kind,
                dtype=self.dtype,
                device=device,
                trust_remote_code=self.trust_remote_code,
            )
            for one in self.verifiers
        ]


def _sizes(verifiers: list[Any]) -> tuple[int, ...]:
    return tuple(one.model.num_parameters() for one in verifiers)
