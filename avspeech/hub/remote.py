"""Download from and upload to the Hugging Face hub; environment variables are huggingface_hub's (``HF_HOME``, ...)."""

import logging
from pathlib import Path
from typing import Any

import torch

from avspeech import __version__
from avspeech.hub.folder import CONFIG, FILES, WEIGHTS, check_folder, read_config
from avspeech.interop.official_files import load_any
from avspeech.models.files import Model, ModelFileError

log = logging.getLogger(__name__)

_LIBRARY: dict[str, Any] = {"library_name": "avspeech", "library_version": __version__}


def from_pretrained(
    name_or_folder: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    *,
    device: torch.device | str = "cpu",
    endpoint: str | None = None,
) -> Model:
    """Return a model of ``save_pretrained``, in evaluation mode.

    The model is a folder, or ``owner/name`` or ``owner/name@revision`` of the hub at ``endpoint``, where None is
    ``HF_ENDPOINT`` or the public one. ``revision`` is a branch, tag or commit, None: the main branch; ``cache_dir``
    None is huggingface_hub's; ``local_files_only`` uses the cache only. Raises ModelFileError if the model is missing,
    broken, another library's, or cannot be downloaded.
    """
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        folder = download(str(name_or_folder), revision, cache_dir, local_files_only, endpoint)
    return load_any(check_folder(folder), device)


def download(
    repository: str,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    endpoint: str | None = None,
) -> Path:
    """Return the cached folder of a model of the hub; see ``from_pretrained``."""
    from huggingface_hub import HfApi, hf_hub_download  # takes most of a second; a local file needs none of it
    from huggingface_hub.errors import OfflineModeIsEnabled

    if revision is None:
        repository, _, revision = repository.partition("@")
    revision = revision or None
    at = f"{repository}@{revision}" if revision else repository
    try:
        if not local_files_only:
            try:
                # Without a network this fails at once; the download's own retries take half a minute.
                HfApi(endpoint=endpoint, **_LIBRARY).model_info(repository, revision=revision, timeout=10.0)
            except Exception as error:
                if not (_is_unreachable(error) or isinstance(error, OfflineModeIsEnabled)):
                    raise
                log.info("%s is looked for in the cache only: %s", at, error)
                local_files_only = True
        options: dict[str, Any] = {"cache_dir": cache_dir, "endpoint": endpoint, "local_files_only": local_files_only}
        options |= _LIBRARY
        config = Path(hf_hub_download(repository, CONFIG, revision=revision, **options))
        read_config(config.parent)  # before the weights, which may be another library's
        # By the commit of the first file: the branch may move between the two downloads.
        return Path(hf_hub_download(repository, WEIGHTS, revision=config.parent.name, **options)).parent
    except ModelFileError as error:
        raise ModelFileError(f"{at} on the Hugging Face hub is no model of avspeech: {error}") from error
    except Exception as error:
        command = f"hf download {repository}" + (f" --revision {revision}" if revision else "") + " --local-dir FOLDER"
        advice = f"and is not in the cache: run `{command}` where there is a network, and give that folder as the name"
        raise _explained(error, at, advice) from error


def push_to_hub(
    repository: str,
    folder: str | Path,
    *,
    private: bool | None = None,
    message: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload a folder of ``save_pretrained`` to ``owner/name``, new or not; return the commit's address.

    Needs ``hf auth login`` or ``HF_TOKEN``. Raises ModelFileError if the folder is broken or the hub fails. ``private``
    is of a new repository, None: the account's default; ``message`` is the commit's, None: the version of avspeech;
    ``endpoint`` is of ``from_pretrained``.
    """
    from huggingface_hub import HfApi

    folder = Path(folder)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise ModelFileError(f"{folder} lacks {', '.join(missing)}; write it with save_pretrained first")
    check_folder(folder)
    api, message = HfApi(endpoint=endpoint, **_LIBRARY), message or f"Model of avspeech {__version__}"
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(FILES), commit_message=message
        )
    except Exception as error:
        raise _explained(error, repository, f"now; {folder} is whole and can be pushed later") from error
    return str(commit.commit_url)


def _explained(error: Exception, at: str, advice: str) -> Exception:
    """Return our error for one of huggingface_hub, else ``error``; ``advice`` ends "cannot be reached"."""
    from huggingface_hub import errors

    where = f"{at} on the Hugging Face hub"
    unknown = f"{at} is no local path, and the Hugging Face hub knows no such model, or a private one"
    unreachable = isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled) or _is_unreachable(
        error
    )
    cases: list[tuple[Any, str]] = [
        (errors.HFValidationError, f"{at!r} is no name of the Hugging Face hub: {error}"),
        (errors.GatedRepoError, f"{where} wants its terms accepted: open its page, accept them, then `hf auth login`"),
        (errors.RevisionNotFoundError, f"{where} has no such revision; its page lists branches, tags and commits"),
        (errors.RepositoryNotFoundError, f"{unknown}: check the spelling, or `hf auth login`"),
        (Exception if unreachable else (), f"{where} cannot be reached {advice}"),
        (errors.EntryNotFoundError, f"{where} is no model of avspeech: it lacks {CONFIG} or {WEIGHTS}"),
        ((errors.HfHubHTTPError, OSError), f"{where}: {type(error).__name__}: {error}"),
    ]
    return next((ModelFileError(message) for kind, message in cases if isinstance(error, kind)), error)


def _is_unreachable(error: Exception) -> bool:
    """Return True for a network error or a 5xx status."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code >= 500
    # its web client's, which changes with its version
    return isinstance(error, errors.HTTPError)  # pyright: ignore[reportPrivateImportUsage]
