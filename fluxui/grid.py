"""A grid: LoRAs down, and across weights, prompts or seeds, each cell a generation like any other.

What holds the cells together is one tag, the grid's id. Rows and columns are read back from the
requests, so a grid needs no record of its own and outlives restarts. A strip is a grid of one
LoRA and several weights. It knows no history and no queue.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxui.errors import InvalidRequest
from fluxui.generation import Generation
from fluxui.request import (
    GenerationForm,
    GenerationRequest,
    LoraRef,
    ModelId,
    Prompt,
    Seed,
    Weight,
    invalid_request,
    random_seed,
)

MAX_CELLS = 64

Kind = Literal["strip", "grid"]
Across = Literal["weights", "prompts", "seeds"]
Place = tuple[str, object]  # model id, and what stands above the column


class GridForm(BaseModel):
    """What a door hands in. Of prompts, weights and seeds only one has several entries.

    Without weights each LoRA has its default one, without seeds one is drawn for all cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    loras: Annotated[tuple[ModelId, ...], Field(min_length=1, max_length=MAX_CELLS)]
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=MAX_CELLS)]
    weights: Annotated[tuple[Weight, ...], Field(max_length=MAX_CELLS)] = ()
    seeds: Annotated[tuple[Seed, ...], Field(max_length=MAX_CELLS)] = ()
    num_inference_steps: int | None = None
    guidance_scale: Annotated[float, Field(allow_inf_nan=False)] | None = None
    width: int | None = None
    height: int | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> GridForm:
        """Check plain values. Raises InvalidRequest, naming every field that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise invalid_request(error.errors(include_url=False)) from None

    @property
    def kind(self) -> Kind:
        return "strip" if len(self.loras) == 1 and len(self.weights) > 1 else "grid"

    def cells(
        self, default_weight: Callable[[str], float], draw: Callable[[], int] = random_seed
    ) -> list[GenerationForm]:
        """One form for each cell, row by row. Raises InvalidRequest, and what `default_weight`
        raises for a LoRA that is not there."""
        loras, prompts = _once(self.loras), _once(self.prompts)
        weights, seeds = _once(self.weights), _once(self.seeds) or [draw()]
        if sum(len(several) > 1 for several in (prompts, weights, seeds)) > 1:
            raise InvalidRequest("Only one of prompts, weights and seeds can have several entries.")
        count = len(loras) * max(len(prompts), len(weights), len(seeds))
        if not 2 <= count <= MAX_CELLS:
            raise InvalidRequest(f"A grid has 2 to {MAX_CELLS} pictures, this one {count}.")
        return [
            self._cell(LoraRef(model_id=model_id, weight=weight), prompt, seed)
            for model_id in loras
            for weight in weights or [default_weight(model_id)]
            for prompt in prompts
            for seed in seeds
        ]

    def _cell(self, lora: LoraRef, prompt: str, seed: int) -> GenerationForm:
        return GenerationForm(
            prompt=prompt,
            loras=(lora,),
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            width=self.width,
            height=self.height,
            seed=seed,
        )


def _once(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def new_id(kind: Kind) -> str:
    """`strip-1b9d6bcd`: what the tags of its cells say."""
    return f"{kind}-{secrets.token_hex(4)}"


def is_id(tag: str) -> bool:
    return bool(re.fullmatch(r"(strip|grid)-[0-9a-f]{8}", tag))


@dataclass(frozen=True)
class Grid:
    """What there is of a grid now. `rows` are model ids, `columns` weights, prompts or seeds as
    text; a cell is None where its generation was deleted."""

    id: str
    across: Across
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Generation | None, ...], ...]

    @property
    def generations(self) -> list[Generation]:
        """Row by row."""
        return [cell for row in self.cells for cell in row if cell]

    @property
    def unfinished(self) -> list[Generation]:
        return [cell for cell in self.generations if not cell.status.ended]

    @property
    def request(self) -> GenerationRequest:
        """That of the first cell: what is not across is the same in all of them."""
        return self.generations[0].request

    def name(self, model_id: str) -> str:
        """What a LoRA was called when its row was asked for."""
        uses = (use for cell in self.generations for use in cell.loras)
        return next((use.name for use in uses if use.model_id == model_id), model_id)


def grid_of(grid_id: str, generations: Sequence[Generation]) -> Grid:
    """From its cells, at least one, in the order of asking, each with a LoRA. One that was asked
    for again has the place of the former one."""
    across = _across(generations)
    placed: dict[Place, Generation] = {_place(one, across): one for one in generations}
    rows, columns = _once([row for row, _ in placed]), _once([column for _, column in placed])
    return Grid(
        id=grid_id,
        across=across,
        rows=tuple(rows),
        columns=tuple(f"{one:g}" if isinstance(one, float) else str(one) for one in columns),
        cells=tuple(tuple(placed.get((row, column)) for column in columns) for row in rows),
    )


def _across(generations: Sequence[Generation]) -> Across:
    """What there are several of within a row."""
    several: tuple[Across, ...] = ("prompts", "seeds")
    for across in several:
        rows: dict[str, set[object]] = {}
        for one in generations:
            row, column = _place(one, across)
            rows.setdefault(row, set()).add(column)
        if any(len(columns) > 1 for columns in rows.values()):
            return across
    return "weights"


def _place(generation: Generation, across: Across) -> Place:
    request = generation.request
    lora = request.loras[0]
    columns = {"weights": lora.weight, "prompts": request.prompt, "seeds": request.seed}
    return lora.model_id, columns[across]
