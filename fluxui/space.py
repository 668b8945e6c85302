"""The Hugging Face Space: put there as spaces.yaml says, looked at, and taken away.

Everything goes through huggingface_hub. Of what is secret only names are ever shown, whatever
the Hub answers. It knows nothing of what runs in the Space.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from httpx2 import HTTPError
from huggingface_hub import HfApi, SpaceHardware, SpaceRuntime, Volume
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from packaging.requirements import Requirement
from pydantic import SecretStr

from fluxui.errors import InvalidRequest, SpaceFailed, SpaceRefused
from fluxui.settings import Settings, variables

ROOT = Path(__file__).parent.parent
FILES = ("README.md", "LICENSE", "CHANGELOG.md", "app.py", "requirements.txt", "spaces.yaml")
FOLDERS = ("fluxui", "docs")
# What of spaces.yaml is ours; the rest is the front matter.
OURS = frozenset(
    {"hardware", "visibility", "sleep_seconds", "requirements", "secrets", "variables", "volumes"}
)
NEVER_SLEEPS = frozenset({"cpu-basic", "zero-a10g"})  # or when Hugging Face says so
MOVING = frozenset({"BUILDING", "APP_STARTING"})
POLL_SECONDS = 10.0
SETTLE_SECONDS = 30.0  # until the Hub has noticed what was uploaded
PATIENCE_SECONDS = 45 * 60.0
TAIL = 30
TOKENS = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True, repr=False)
class Plan:
    """All that a deployment will do. It holds secrets, so it shows in no repr."""

    name: str
    hardware: str
    visibility: str
    sleep_seconds: int | None
    secrets: dict[str, str]
    variables: dict[str, str]
    volumes: tuple[Volume, ...]
    front_matter: str
    requirements: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"Space      {self.name}, {self.visibility}"
        asleep = f", asleep after {self.sleep_seconds} s" if self.sleep_seconds else ""
        yield f"hardware   {self.hardware}{asleep}"
        for name in self.secrets:
            yield f"secret     {name}"
        for name, value in self.variables.items():
            yield f"variable   {name}={value}"
        for volume in self.volumes:
            yield f"volume     {volume.source} at {volume.mount_path}"
        for line in self.requirements:
            yield f"with       {line}"
        yield f"files      {', '.join((*FILES, *(f'{folder}/' for folder in FOLDERS)))}"


def read_descriptor() -> dict[str, Any]:
    """spaces.yaml."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "spaces.yaml").read_text(encoding="utf-8"))
    return loaded


def front_matter(space: dict[str, Any]) -> str:
    """The block on top of README.md, with the lines that mark it: what Hugging Face reads."""
    theirs = {name: value for name, value in space.items() if name not in OURS}
    return f"---\n{yaml.safe_dump(theirs, sort_keys=False, allow_unicode=True)}---\n"


def choose_plan(settings: Settings, name: str, hardware: str = "") -> Plan:
    """What spaces.yaml and the settings make of this Space. Raises InvalidRequest."""
    owner, slash, short = name.partition("/")
    if not (owner and slash and short) or "/" in short:
        raise InvalidRequest(f"{name!r} is not user/name.", "Name it like ann/fluxui.")
    space = read_descriptor()
    hardware = hardware or space["suggested_hardware"]
    known = [one.value for one in SpaceHardware]
    if hardware not in known:
        raise InvalidRequest(
            f"There is no hardware {hardware!r}.", f"Choose one of {', '.join(known)}."
        )
    given = _given(settings)
    return Plan(
        name=name,
        hardware=hardware,
        visibility=space["visibility"],
        sleep_seconds=None if hardware in NEVER_SLEEPS else space["sleep_seconds"],
        secrets={name: given[name] for name in space["secrets"] if name in given},
        variables={name: given[name] for name in space["variables"] if name in given},
        volumes=tuple(Volume(source=f"{name}-pictures", **volume) for volume in space["volumes"]),
        front_matter=front_matter(space | {"suggested_hardware": hardware}),
        requirements=tuple(space["requirements"].get(hardware, ())),
    )


def _given(settings: Settings) -> dict[str, str]:
    """Environment variable → value, of what somebody set to something."""
    given = {}
    for field, name in variables().items():
        value = getattr(settings, field)
        if field in settings.model_fields_set and value not in (None, ""):
            given[name] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return given


class Spaces:
    """The Hub, as the account of one token sees it. Every method may raise SpaceRefused."""

    def __init__(self, settings: Settings) -> None:
        token = settings.deploy_token
        self._api = HfApi(token=token.get_secret_value() if token else None)
        self._reader = settings.hf_token.get_secret_value() if settings.hf_token else ""
        secret = [getattr(settings, field) for field in variables()]
        self._secrets = [one.get_secret_value() for one in secret if isinstance(one, SecretStr)]

    def deploy(self, plan: Plan, say: Callable[[str], None]) -> str:
        """Create or renew the Space, wait until it runs, and give its address. May raise
        SpaceFailed. What is not set here stays as it is there."""
        with self._asking(plan.name):
            self._check_tokens(plan)
            there = self._api.repo_exists(plan.name, repo_type="space")
            if there:
                self._check_ours(plan.name)
            for volume in plan.volumes:
                self._api.create_bucket(volume.source, private=True, exist_ok=True)
            if there:
                say(f"Renewing {plan.name}, which is there already.")
                self._renew(plan)
            else:
                say(f"Creating {plan.name} on {plan.hardware}.")
                self._create(plan)
            say("Uploading.")
            commit = self._upload(plan)
            say("Waiting until it runs: the first time takes some minutes.")
            runtime = self._settled(plan.name, commit)
            if runtime.stage != "RUNNING":
                raise self._failed(plan.name, runtime)
        return self.address(plan.name)

    def address(self, name: str) -> str:
        return f"{self._api.endpoint}/spaces/{name}"

    def status(self, name: str) -> dict[str, str]:
        """Stage, hardware, volumes: plain words for people."""
        with self._asking(name):
            runtime = self._api.get_space_runtime(name)
        mounted = [f"{volume.source} at {volume.mount_path}" for volume in runtime.volumes or ()]
        facts = {
            "stage": str(runtime.stage),
            "hardware": runtime.hardware or "none yet",
            "asked for": runtime.requested_hardware or "nothing else",
            "sleeps": f"after {runtime.sleep_time} s" if runtime.sleep_time else "never",
            "volumes": ", ".join(mounted) or "none",
            "address": self.address(name),
        }
        problem = runtime.raw.get("errorMessage")
        return facts | ({"problem": self._hide(problem)} if problem else {})

    def logs(self, name: str, build: bool) -> Iterator[str]:
        """What it printed so far, or what its build did."""
        with self._asking(name):
            for line in self._api.fetch_space_logs(name, build=build):
                yield self._hide(line.rstrip("\n"))

    def delete(self, name: str) -> None:
        """The Space, not the bucket of its pictures. Only a Space that fluxui made."""
        with self._asking(name):
            self._check_ours(name)
            self._api.delete_repo(name, repo_type="space")

    def _check_tokens(self, plan: Plan) -> None:
        """A token that can write has no business in the Space."""
        self._api.whoami()
        if "HF_TOKEN" not in plan.secrets:
            return
        reader = self._api.whoami(token=self._reader)
        if reader.get("auth", {}).get("accessToken", {}).get("role") == "write":
            raise SpaceRefused(
                "HF_TOKEN can write to your account, so it does not go into a Space.",
                f"Make one that only reads ({TOKENS}), and give this one as FLUXUI_DEPLOY_TOKEN.",
            )

    def _check_ours(self, name: str) -> None:
        files = set(self._api.list_repo_files(name, repo_type="space"))
        if "fluxui/space.py" not in files and not files <= {".gitattributes", "README.md"}:
            raise SpaceRefused(
                f"There is another Space called {name}, which is not fluxui.",
                "Choose another name. Nothing was changed.",
            )

    def _create(self, plan: Plan) -> None:
        self._api.create_repo(
            plan.name,
            repo_type="space",
            visibility=plan.visibility,
            space_sdk="gradio",
            space_hardware=plan.hardware,
            space_sleep_time=plan.sleep_seconds,
            space_secrets=_pairs(plan.secrets),
            space_variables=_pairs(plan.variables),
            space_volumes=list(plan.volumes),
        )

    def _renew(self, plan: Plan) -> None:
        """In the order in which a refusal leaves the least behind."""
        api, name = self._api, plan.name
        api.request_space_hardware(name, plan.hardware, sleep_time=plan.sleep_seconds)
        api.set_space_volumes(name, list(plan.volumes))
        for key, value in plan.secrets.items():
            api.add_space_secret(name, key, value)
        for key, value in plan.variables.items():
            api.add_space_variable(name, key, value)

    def _upload(self, plan: Plan) -> str:
        """The commit's id."""
        with tempfile.TemporaryDirectory() as folder:
            stage(plan, Path(folder))
            commit = self._api.upload_folder(
                repo_id=plan.name,
                repo_type="space",
                folder_path=folder,
                commit_message="Deploy fluxui",
                delete_patterns=[f"{name}/*" for name in FOLDERS],  # what is no more
            )
        return str(commit.oid)

    def _settled(self, name: str, commit: str) -> SpaceRuntime:
        """How it stands once it moves no more. Raises SpaceFailed."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < PATIENCE_SECONDS:
            runtime = self._api.get_space_runtime(name)
            noticed = runtime.raw.get("sha") == commit or waited > SETTLE_SECONDS
            if noticed and str(runtime.stage).removeprefix("RUNNING_") not in MOVING:
                return runtime
            time.sleep(POLL_SECONDS)
        raise SpaceFailed(
            f"{name} is still {runtime.stage} after {PATIENCE_SECONDS / 60:.0f} minutes.",
            f"It goes on by itself: python -m fluxui space status {name}",
        )

    def _failed(self, name: str, runtime: SpaceRuntime) -> SpaceFailed:
        """With the end of the log shown before it."""
        build = runtime.stage in ("BUILD_ERROR", "CONFIG_ERROR", "NO_APP_FILE")
        for line in list(self.logs(name, build))[-TAIL:]:
            print(f"    {line}", file=sys.stderr)
        problem = self._hide(runtime.raw.get("errorMessage") or "")
        flag = " --build" if build else ""
        return SpaceFailed(
            f"{name} was uploaded, but does not run: {runtime.stage}. {problem}".rstrip(),
            f"All of its log: python -m fluxui space logs {name}{flag}",
        )

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Whatever the Hub refuses becomes one sentence with the way out."""
        try:
            yield
        except LocalTokenNotFoundError:
            raise SpaceRefused(
                "There is no Hugging Face token here.", f"Make one that writes: {TOKENS}"
            ) from None
        except HFValidationError:
            raise InvalidRequest(f"{name!r} can't be a Space's name.") from None
        except HfHubHTTPError as error:
            said = " ".join((error.server_message or "").split())
            raise _refusal(name, error.response.status_code, self._hide(said)) from None
        except (HTTPError, OfflineModeIsEnabled):
            raise SpaceRefused(
                "The Hub could not be reached.", "Check the network, then try again."
            ) from None


def _refusal(name: str, status: int, said: str) -> SpaceRefused:
    told = f" The Hub says: {said}" if said else ""
    if status == 401:
        return SpaceRefused("The Hub does not know this token.", f"Make a new one: {TOKENS}")
    if status == 402:
        return SpaceRefused(
            f"This account can't have that hardware.{told}",
            "Choose another with --hardware, or add a way to pay: huggingface.co/settings/billing",
        )
    if status == 403:
        return SpaceRefused(
            f"This token may not do that with {name}.{told}",
            f"It must be of {name.partition('/')[0]}, and able to write: {TOKENS}",
        )
    if status == 404:
        return SpaceRefused(f"There is no Space {name} that this token can see.")
    if status == 409:
        return SpaceRefused(f"The name {name} is taken.{told}", "Choose another name.")
    return SpaceRefused(f"The Hub refused ({status}).{told}", "Try again in a while.")


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def stage(plan: Plan, folder: Path) -> None:
    """Copy what a Space needs, and nothing else: no `.env`, no pictures."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    (folder / "README.md").write_text(plan.front_matter + readme, encoding="utf-8")
    narrowed = {Requirement(line).name: line for line in plan.requirements}
    path = folder / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [
        narrowed.get(Requirement(line).name, line) if line[:1].isalpha() else line for line in lines
    ]
    path.write_text("\n".join([*kept, ""]), encoding="utf-8")
