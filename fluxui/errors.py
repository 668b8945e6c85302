"""Every error that fluxui raises on purpose, as one tree.

    FluxuiError
    ├── InvalidRequest        422  a value that no generation can have
    ├── NotFound              404
    │   ├── GenerationNotFound
    │   ├── ImageNotFound
    │   ├── LoraNotFound
    │   ├── GridNotFound
    │   └── ObjectNotFound         a storage key that holds nothing
    ├── Conflict              409
    │   ├── IllegalTransition      the state does not allow it any more
    │   └── IdempotencyConflict    one key, two different requests
    ├── LoraError             422
    │   ├── LoraUnreadable         not a safetensors file that we open
    │   └── LoraMisfit             made for another base model, or for none
    ├── HubError              503
    │   ├── HubNotFound       404  no such repository, revision or file
    │   ├── HubRefused        403  the token, or a licence that was not accepted
    │   └── HubUnavailable         does not answer now
    ├── Unauthorized          401  no login, or a wrong one
    ├── Forbidden             403  a write that another site asked for
    ├── LoginFailed           502  Hugging Face did not say who it is
    ├── TooLarge              413  a body over the limit
    ├── TryLater              429  it says when
    │   ├── QueueFull
    │   ├── LimitReached           one visitor, or all of them, asked for too much
    │   └── Restarting        503  this process ends, and the next one goes on
    ├── StorageError          503
    │   ├── StorageRefused         no such bucket, or not with these keys
    │   ├── StorageUnavailable     does not answer now
    │   └── StorageFull       507
    ├── HistoryError          503
    │   ├── HistoryLocked          another process writes it
    │   ├── HistoryDamaged         the file is not ours, or not whole
    │   └── HistoryReadOnly        the disk took no more
    ├── RedisUnavailable      503  it does not answer now, or refuses us
    ├── PipelineError         500
    │   ├── BaseModelUnavailable 503  no weights, no token, no licence click
    │   ├── BaseModelDamaged       names, shapes or fingerprint changed
    │   ├── GpuRefused         503  no GPU is lent, or the quota is used up
    │   ├── OutOfMemory            too large for this device
    │   └── Cancelled              somebody asked to stop: not a failure
    ├── SpaceError            502
    │   ├── SpaceRefused           the Hub does not let us: token, name, hardware, network
    │   └── SpaceFailed            it was uploaded, but does not run
    ├── WorkerLost            500  the process died twice while painting
    └── ConfigurationError    500  the settings contradict each other, or the machine
        └── PortTaken

A leaf carries `status` (HTTP), `code` (for programs) and a default `hint` (the way out, for
people). This module knows nothing of doors; they turn `as_dict()` into their own answer.
"""

from __future__ import annotations

from typing import ClassVar


class FluxuiError(Exception):
    """The one class to catch. The message is one sentence that a user can read."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint

    def as_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InvalidRequest(FluxuiError):
    status = 422
    code = "invalid_request"
    default_hint = "Change the value and send it again. Nothing was queued."


class NotFound(FluxuiError):
    status = 404
    code = "not_found"


class GenerationNotFound(NotFound):
    code = "generation_not_found"
    default_hint = "It may have been deleted. GET /api/generate/ lists what there is."

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no generation {job_id[:64]!r}.")


class ImageNotFound(NotFound):
    code = "image_not_found"
    default_hint = "Images are counted from 1, and exist once the generation is completed."


class LoraNotFound(NotFound):
    code = "lora_not_found"
    default_hint = "GET /api/models/ lists the LoRAs that are here."

    def __init__(self, model_id: str) -> None:
        super().__init__(f"There is no LoRA {model_id[:200]!r}.")


class GridNotFound(NotFound):
    code = "grid_not_found"
    default_hint = "Its pictures may have been deleted."

    def __init__(self, grid_id: str) -> None:
        super().__init__(f"There is no grid {grid_id[:64]!r}.")


class ObjectNotFound(NotFound):
    code = "object_not_found"

    def __init__(self, key: str) -> None:
        super().__init__(f"The storage holds nothing under {key!r}.")


class Conflict(FluxuiError):
    status = 409
    code = "conflict"


class IllegalTransition(Conflict):
    code = "illegal_transition"


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"
    default_hint = "Use a new Idempotency-Key for a new request."


class LoraError(FluxuiError):
    status = 422
    code = "lora_error"


class LoraUnreadable(LoraError):
    code = "lora_unreadable"
    default_hint = "Only .safetensors files are opened. Download or save the file again."


class LoraMisfit(LoraError):
    code = "lora_misfit"
    default_hint = "Choose a LoRA that was trained for this base model."


class HubError(FluxuiError):
    status = 503
    code = "hub_error"


class HubNotFound(HubError):
    status = 404
    code = "hub_not_found"
    default_hint = "Check the name, or set HF_TOKEN if it is private."


class HubRefused(HubError):
    status = 403
    code = "hub_refused"
    default_hint = "Set HF_TOKEN: https://huggingface.co/settings/tokens"


class HubUnavailable(HubError):
    code = "hub_unavailable"
    default_hint = "Check the network, then try again. What was fetched so far is kept."


class Unauthorized(FluxuiError):
    status = 401
    code = "unauthorized"
    default_hint = "The password is in the terminal that started fluxui."


class Forbidden(FluxuiError):
    status = 403
    code = "forbidden"


class LoginFailed(FluxuiError):
    status = 502
    code = "login_failed"
    default_hint = "Try again later; until then you are a guest."


class TooLarge(FluxuiError):
    status = 413
    code = "too_large"


class TryLater(FluxuiError):
    """`retry_after` is in seconds."""

    status = 429
    code = "try_later"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(TryLater):
    code = "queue_full"
    default_hint = "Nothing was lost. Try again when a place is free."

    def __init__(self, size: int, retry_after: int) -> None:
        super().__init__(f"The queue is full ({size}).", retry_after)


class LimitReached(TryLater):
    code = "limit_reached"
    default_hint = "Nothing was lost. Fewer images, fewer steps or a smaller size cost less."


class Restarting(TryLater):
    status = 503
    code = "restarting"
    default_hint = "Ask again once fluxui is up."

    def __init__(self, kept: str) -> None:
        super().__init__(f"fluxui is being stopped. {kept}", retry_after=10)


class StorageError(FluxuiError):
    status = 503
    code = "storage_error"


class StorageRefused(StorageError):
    code = "storage_refused"
    default_hint = "Check the bucket's name and its keys: python -m fluxui doctor"


class StorageUnavailable(StorageError):
    code = "storage_unavailable"
    default_hint = "Check the endpoint and the network: python -m fluxui doctor"


class StorageFull(StorageError):
    status = 507
    code = "storage_full"
    default_hint = "Free some space, then try again. Nothing that was saved is lost."


class HistoryError(FluxuiError):
    status = 503
    code = "history_error"


class HistoryLocked(HistoryError):
    code = "history_locked"
    default_hint = "Stop the other fluxui, or start this one with its own --data-dir."


class HistoryDamaged(HistoryError):
    code = "history_damaged"


class HistoryReadOnly(HistoryError):
    code = "history_read_only"
    default_hint = "Check the disk of the data folder: fluxui goes on once it can be written."


class RedisUnavailable(FluxuiError):
    status = 503
    code = "redis_unavailable"
    default_hint = "Check REDIS_URL and that server. What was accepted is kept."


class PipelineError(FluxuiError):
    code = "pipeline_error"


class BaseModelUnavailable(PipelineError):
    status = 503
    code = "base_model_unavailable"
    default_hint = "python -m fluxui doctor says what is missing."


class BaseModelDamaged(PipelineError):
    code = "base_model_damaged"
    default_hint = "It is loaded again before the next generation."


class GpuRefused(PipelineError):
    status = 503
    code = "gpu_refused"
    default_hint = "Your settings are kept. Try again later, or log in to Hugging Face."


class OutOfMemory(PipelineError):
    code = "out_of_memory"
    default_hint = "Try a smaller size, or one image."


class Cancelled(PipelineError):
    """`step` is the last denoising step that was finished; 0 before the first."""

    status = 409
    code = "cancelled"

    def __init__(self, step: int = 0) -> None:
        super().__init__(f"Stopped at step {step}.")
        self.step = step


class SpaceError(FluxuiError):
    status = 502
    code = "space_error"


class SpaceRefused(SpaceError):
    code = "space_refused"


class SpaceFailed(SpaceError):
    code = "space_failed"


class WorkerLost(FluxuiError):
    code = "worker_lost"
    default_hint = "Your settings are kept. Try again."


class ConfigurationError(FluxuiError):
    code = "configuration_error"


class PortTaken(ConfigurationError):
    code = "port_taken"
    default_hint = "Stop the other program, or choose another port: python app.py --port 7861"
