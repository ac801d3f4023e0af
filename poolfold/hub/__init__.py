"""Models and artifacts of the Hugging Face hub. Only this room knows huggingface_hub, the extra `hub`.

artifacts   an artifact by its directory or hub id
download    models into the hub's cache; its errors in a user's words
push        an artifact to the hub

The address of the hub, its cache, the token and whether there is a network are its own settings: HF_ENDPOINT, HF_HOME,
HF_TOKEN, HF_HUB_OFFLINE.
"""

from __future__ import annotations

from poolfold.hub.artifacts import artifact_or_none, find_artifact, lasting_name, require_own_place
from poolfold.hub.download import download, downloads_tell, full_name
from poolfold.hub.push import push, require_may_push

__all__ = [
    "artifact_or_none",
    "download",
    "downloads_tell",
    "find_artifact",
    "full_name",
    "lasting_name",
    "push",
    "require_may_push",
    "require_own_place",
]
