"""The tiny corpus in shards of both profiles, and as the files that they unpack to."""

from pathlib import Path

import pytest

from data_prep import unpack_shards, write_shards


@pytest.fixture(scope="session")
def packed(corpus, tmp_path_factory) -> dict[str, Path]:
    """Return for each profile a folder with ``train`` and ``val`` in shards, and ``files`` that hold the same."""
    folders = {}
    for profile in ("fast", "small"):
        folders[profile] = folder = tmp_path_factory.mktemp(profile)
        for split in ("train", "val"):
            units = {"units": corpus / f"{split}.km"}
            options = {"profile": profile, "units": units, "clips_per_shard": 5, "workers": 0, "safe_decoding": False}
            write_shards.main(corpus / f"{split}.jsonl", folder / split, **options)
            unpack_shards.main(str(folder / split), folder / "files" / split)
    return folders
