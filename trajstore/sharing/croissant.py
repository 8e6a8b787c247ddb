"""The description for machines: Croissant 1.1 with its fields for responsible AI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from trajstore.sharing.checksums import CHECKSUM_FILE, Checksum
from trajstore.sharing.licenses import link_license
from trajstore.sharing.loading import list_groups
from trajstore.sharing.readme import INTENDED, LIMITS, describe, list_labels
from trajstore.sharing.shortcuts import Shortcut
from trajstore.sharing.subject import ZARR, Subject
from trajstore.spec import GENERATOR_VERSION

CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The names of the vocabulary, as the specification gives them."""

TYPES: Final = {
    "bool": "sc:Boolean", "int": "cr:Int64", "float": "cr:Float64", "text": "sc:Text",
    "uint8": "cr:UInt8", "uint16": "cr:UInt16", "int8": "cr:Int8", "int16": "cr:Int16", "int32": "cr:Int32",
    "int64": "cr:Int64", "float16": "cr:Float16", "float32": "cr:Float32", "float64": "cr:Float64",
}  # fmt: skip
"""Types by their names in a store and in labels."""


def write_croissant(
    subject: Subject,
    *,
    name: str,
    license: str,  # noqa: A002
    shortcut: Shortcut | None,
    checksums: Mapping[str, Checksum],
    proof: Checksum,
) -> bytes:
    """Describe a dataset; ``proof`` is of the file of checksums."""
    date = datetime.fromisoformat(subject.finished).date().isoformat()
    text = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": name,
        "description": describe(subject),
        "license": link_license(license),
        "version": f"{GENERATOR_VERSION}.0.0",
        "datePublished": date,
        "citeAs": f"@misc{{trajstore-{subject.fingerprint[:16]}, title = {{{_escape(name)}}}, year = {{{date[:4]}}}, "
        f"note = {{made by trajstore, fingerprint {subject.fingerprint}}}}}",
        "keywords": ["synthetic", "video", "multi-view", "trajectory", *subject.annotations],
        **_describe_responsibly(subject, shortcut),
        "distribution": _list_files(subject, checksums, proof),
        "recordSet": [_describe_classes(subject), _describe_samples(subject)],
    }
    return json.dumps(text, indent=2, ensure_ascii=False).encode() + b"\n"


def _describe_responsibly(subject: Subject, shortcut: Shortcut | None) -> dict[str, Any]:
    """The fields for responsible AI."""
    bias = (
        f"The position of the target at one moment tells the class in {shortcut.position:.0%} of the "
        f"samples, one picture in "
        f"{shortcut.picture:.0%}, chance {shortcut.chance:.0%}: {shortcut.method}."
        if shortcut
        else "How much a single still picture tells of the class was not measured: there are too few samples."
    )
    versions = subject.versions or {"trajstore": ""}
    return {
        "rai:dataCollection": "Computed: each sample is a pure function of a specification, a seed and its number. "
        f"Fingerprint {subject.fingerprint}.",
        "rai:dataCollectionType": ["Others: synthetic, drawn by a program"],
        "rai:dataCollectionMissingData": "None: every sample has every label.",
        "rai:dataAnnotationProtocol": [
            "Labels and pictures are computed from the same numbers; nobody annotates."
        ],
        "rai:machineAnnotationTools": [f"{tool} {number}".strip() for tool, number in versions.items()],
        "rai:dataBiases": [bias, "Classes and splits have the shares that the specification names."],
        "rai:dataLimitations": list(LIMITS),
        "rai:dataUseCases": [INTENDED],
        "rai:dataSocialImpact": "None is known: no person, place or thing of the world is shown.",
        "rai:personalSensitiveInformation": ["None: no person is involved."],
        "rai:dataReleaseMaintenancePlan": "It never changes: other rows have another fingerprint. "
        "Anyone can make it again "
        "from its specification, which is in README.md.",
    }


def _list_files(subject: Subject, checksums: Mapping[str, Checksum], proof: Checksum) -> list[dict[str, Any]]:
    """Files that stand alone, with their checksums, and sets of files of one kind, whose checksums are in a file."""
    files = [
        _describe_file(
            CHECKSUM_FILE, CHECKSUM_FILE, "text/plain", proof, "SHA-256 of every file of the dataset"
        )
    ]
    for group in list_groups(subject):
        if group.pattern in checksums:
            found = checksums[group.pattern]
            files.append(
                _describe_file(group.name, group.pattern, group.media_type, found, group.description)
            )
            continue
        files.append(
            {
                "@type": "cr:FileSet",
                "@id": group.name,
                "name": group.name,
                "description": f"{group.description}; checksums in {CHECKSUM_FILE}",
                "encodingFormat": group.media_type,
                "includes": group.pattern,
                **({"containedIn": {"@id": group.inside}} if group.inside else {}),
            }
        )
    root = "zarr.json" if subject.format == ZARR else "metadata.json"
    place = f"{subject.folder_name}/{root}" if subject.format == ZARR else root
    files.append(
        _describe_file("metadata", place, "application/json", checksums[root], "What the dataset is")
    )
    return files


def _describe_file(name: str, path: str, kind: str, found: Checksum, description: str) -> dict[str, Any]:
    """One file."""
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": path.rpartition("/")[-1],
        "description": description,
        "contentUrl": path,
        "contentSize": f"{found.size} B",
        "encodingFormat": kind,
        "sha256": found.digest,
    }


def _describe_classes(subject: Subject) -> dict[str, Any]:
    """The classes, by number."""
    fields = [("label", "cr:Int64", "Number of the class"), ("name", "sc:Text", "Name of the class")]
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "What class_label counts",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/label"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"classes/{name}",
                "name": name,
                "description": text,
                "dataType": kind,
            }
            for name, kind, text in fields
        ],
        "data": [
            {"classes/label": label, "classes/name": name}
            for label, name in enumerate(subject.spec.dataset.classes)
        ],
    }


def _describe_samples(subject: Subject) -> dict[str, Any]:
    """The samples, and what each has."""
    labels = "rows" if subject.format == "videofolder" else "labels"
    group = list_groups(subject)[0].name
    if subject.format in (ZARR, "hdf5"):
        fields = [
            _describe_field(
                column.name,
                column.dtype,
                tuple(
                    subject.cameras if dim == "camera" else size
                    for dim, size in zip(column.dims[1:], column.shape[1:], strict=True)
                ),
                "; ".join(
                    str(column.attributes[key])
                    for key in ("long_name", "units", "comment", "flag_meanings")
                    if column.attributes.get(key)
                )
                + (f" ({', '.join(column.dims[1:])})" if len(column.dims) > 1 else ""),
            )
            for column in subject.columns
            if column.dims[0] == "sample"
        ]
        for field in fields:
            kind = "fileSet" if subject.format == ZARR else "fileObject"
            field["source"] = {kind: {"@id": group}, "extract": {"column": field["name"]}}
    else:
        fields = []
        for name, dims, shape, kind, units, text in list_labels(subject):
            sizes = tuple(int(size) for size in shape.split(" × ")) if shape else ()
            more = "; ".join(part for part in (units, dims) if part)
            field = _describe_field(name, kind, sizes, f"{text} ({more})" if more else text)
            field["source"] = {"fileSet": {"@id": labels}, "extract": {"jsonPath": f"$.{name}"}}
            fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": f"{len(subject.rows)} samples; frames are numbered from 1: array index = frame − 1",
        "field": fields,
    }


def _describe_field(name: str, kind: str, shape: tuple[int, ...], description: str) -> dict[str, Any]:
    """One field."""
    array = {"isArray": True, "arrayShape": ",".join(map(str, shape))} if shape else {}
    return {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": description,
        "dataType": TYPES[kind],
        **array,
    }


def _escape(text: str) -> str:
    """Text inside of braces."""
    return text.replace("{", "(").replace("}", ")")
