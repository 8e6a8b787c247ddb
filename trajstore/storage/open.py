"""From a location to the objects that lie there."""

from __future__ import annotations

from trajstore.storage.bucket import Bucket
from trajstore.storage.folder import Folder
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location


def open_storage(location: Location) -> Storage:
    """The objects at a location; nothing is created, and a folder need not exist."""
    return Bucket(location) if location.folder is None else Folder(location)
