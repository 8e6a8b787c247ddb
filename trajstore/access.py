"""From a location to the objects that lie there."""

from __future__ import annotations

from trajstore.buckets import Bucket
from trajstore.folders import Folder
from trajstore.locations import Location
from trajstore.objects import Objects


def open_objects(location: Location) -> Objects:
    """The objects at a location; nothing is created, and a folder need not exist.

    Parameters
    ----------
    location : Location
        A folder or a place in a bucket.

    Returns
    -------
    Objects
        What is there.

    Raises
    ------
    SpecError
        If a storage option is unknown.
    MissingExtraError
        If it is a bucket, and obstore is not installed.
    """
    if location.folder is not None:
        return Folder(location.folder)
    return Bucket(location)
