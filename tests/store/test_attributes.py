"""What a store says about itself: who built it does not decide whether it opens, or whether it can be mended."""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support.faults import assert_same_bytes, flip_bit, tree
from support.stores import open_store

import trajstore
from trajstore.errors import SpecError, StoreError
from trajstore.integrity.metadata import salvage
from trajstore.store.attributes import (
    NAMESPACE,
    StoreAttributes,
    find_newer_version,
    find_readable,
    parse_attributes,
    salvage_attributes,
)
from trajstore.trajectories import FAMILIES

LOOKS, FLIPS = 600, 20
"""How many bits of the history are flipped, one at a time, to read the store and to repair it."""


def change_history(store: Path, history: Any) -> None:
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"][NAMESPACE]["history"] = history
    (store / "zarr.json").write_text(json.dumps(root, indent=2))


def read_history(store: Path) -> list[dict[str, Any]]:
    return json.loads((store / "zarr.json").read_text())["attributes"][NAMESPACE]["history"]


def find_history(root: bytes) -> range:
    """The places of the bytes of the history."""
    start = root.index(b'"history"')
    return range(start, root.index(b"]", start) + 1)


def test_a_class_of_a_process_that_is_gone_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.zarr"
    with monkeypatch.context() as patch:
        patch.setitem(FAMILIES, "Lissajous", FAMILIES["Circular"])
        trajstore.build(
            path, classes=["Linear", "Lissajous"], samples=2, frames=2, height=12, width=12, cameras=1
        )
    before = tree(path)
    for command in (trajstore.info, trajstore.verify, trajstore.repair, trajstore.build, trajstore.open):
        with pytest.raises(
            SpecError, match=r"a\.zarr: unknown class 'Lissajous': [^\n]*module:function"
        ) as error:
            command(path)
        assert "damage" not in str(error.value)
        assert error.value.exit_code == 2
    assert tree(path) == before
    text = (path / "zarr.json").read_text(encoding="utf-8")
    (path / "zarr.json").write_text(text.replace("Lissajous", "Lissajoos"), encoding="utf-8")
    with pytest.raises(StoreError, match="the attributes are damaged"):
        trajstore.info(path)


def test_no_bit_of_the_history_makes_a_store_useless(tiny_store: Path) -> None:
    """In a key, a value or the syntax: the store opens, or its root says what a repair needs."""
    store = open_store(tiny_store)
    attributes, location, whole = store.attributes, store.location, (tiny_store / "zarr.json").read_bytes()
    rng, opened = random.Random(5), 0
    for _ in range(LOOKS):
        offset, bit = rng.choice(find_history(whole)), rng.randrange(8)
        data = bytearray(whole)
        data[offset] ^= 1 << bit
        try:
            found: StoreAttributes | None = parse_attributes(json.loads(data), location)
            opened += 1
        except (ValueError, StoreError):
            found = salvage(store, bytes(data))
        assert found is not None, f"bit {bit} of byte {offset}"
        assert (found.spec, found.fingerprint) == (attributes.spec, attributes.fingerprint)
        assert any(event in attributes.history for event in found.history)
    assert 0 < opened < LOOKS


def test_flipped_bits_of_the_history_are_mended_without_the_spec(tiny_copy: Path, tiny_store: Path) -> None:
    whole = (tiny_store / "zarr.json").read_bytes()
    rng = random.Random(11)
    for _ in range(FLIPS):
        offset, bit = rng.choice(find_history(whole)), rng.randrange(8)
        flip_bit(tiny_copy / "zarr.json", offset, bit)
        trajstore.repair(tiny_copy)
        assert trajstore.verify(tiny_copy).findings == (), f"bit {bit} of byte {offset}"
        assert_same_bytes(tiny_copy, tiny_store)
        (tiny_copy / "zarr.json").write_bytes(whole)


@pytest.mark.parametrize(
    "odd",
    [{"event": "crEated"}, {"samples": 0}, {"host": "a"}, {"versions": ["numpy"]}, {"time": None}],
    ids=str,
)
def test_an_event_that_cannot_be_read_is_passed_over_found_and_left_out(
    odd: dict[str, Any], tiny_copy: Path, tiny_store: Path
) -> None:
    created, finished = read_history(tiny_copy)
    change_history(tiny_copy, [created | odd, finished])
    assert trajstore.info(tiny_copy).history == [finished]
    (finding,) = trajstore.verify(tiny_copy).findings
    assert (finding.key, finding.kind, finding.is_damage) == ("zarr.json", "different", True)
    assert "history" in finding.detail
    trajstore.repair(tiny_copy)
    assert read_history(tiny_copy) == [finished]
    assert trajstore.verify(tiny_copy).findings == ()
    assert_same_bytes(tiny_copy, tiny_store)


@pytest.mark.parametrize("history", [3, [], {}, None, ["created"], [{"event": "crEated"}]], ids=str)
def test_a_history_without_any_event_is_mended(history: Any, tiny_copy: Path, tiny_store: Path) -> None:
    change_history(tiny_copy, history)
    with pytest.raises(StoreError, match="mend them with: trajstore repair"):
        open_store(tiny_copy)
    trajstore.repair(tiny_copy)
    assert [event["event"] for event in read_history(tiny_copy)] == ["created", "finished"]
    assert trajstore.verify(tiny_copy).findings == ()
    assert_same_bytes(tiny_copy, tiny_store)


def mutate(history: list[dict[str, Any]], rng: random.Random) -> None:
    """Remove, rename or replace a part of a history, wherever."""
    parent: Any = history
    while True:
        place = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        inner = parent[place]
        if not isinstance(inner, dict) or rng.random() < 0.3:
            break
        parent = inner
    action = rng.choice(["remove", "rename", "replace"])
    if action == "remove":
        del parent[place]
    elif action == "rename" and isinstance(parent, dict):
        parent[place.upper()] = parent.pop(place)
    else:
        parent[place] = rng.choice([None, 3, "x", [], {}, True, 1e9])


def test_no_mutation_of_the_history_makes_a_store_useless(tiny_store: Path) -> None:
    """330 of them: the store opens, or its root says what a repair needs."""
    store, rng = open_store(tiny_store), random.Random(3)
    root = json.loads((tiny_store / "zarr.json").read_text())
    for _ in range(330):
        mutated = json.loads(json.dumps(root))
        mutate(mutated["attributes"][NAMESPACE]["history"], rng)
        try:
            found: StoreAttributes | None = parse_attributes(mutated, store.location)
        except StoreError:
            found = salvage(store, json.dumps(mutated, indent=2).encode())
        assert found is not None, mutated["attributes"][NAMESPACE]["history"]
        assert (found.spec, found.fingerprint) == (store.spec, store.attributes.fingerprint)


def test_an_unfinished_store_stays_unfinished(tmp_path: Path, tiny_fields: dict[str, Any]) -> None:
    path = tmp_path / "a.zarr"
    trajstore.build(path, part="1/2", **tiny_fields)
    change_history(path, 3)
    trajstore.repair(path)
    assert trajstore.verify(path).findings == ()
    assert [event["event"] for event in read_history(path)] == ["created"]
    assert trajstore.build(path).summary.is_complete


def test_each_event_of_a_torn_text_is_found_by_itself(tiny_store: Path) -> None:
    attributes = open_store(tiny_store).attributes
    text = json.dumps(attributes.to_json())
    assert salvage_attributes(text) == attributes
    assert salvage_attributes(text.replace('"history": [', '"history": [[;')) == attributes
    one = salvage_attributes(text[: text.index("finished") - 1])
    assert one is not None
    assert one.history == attributes.history[:1]


def test_a_spec_and_a_fingerprint_that_contradict_each_other_are_no_attributes(tiny_store: Path) -> None:
    attributes = open_store(tiny_store).attributes
    text = json.dumps(attributes.to_json())
    assert salvage_attributes(text.replace('"seed": 0', '"seed": 1')) is None
    assert salvage_attributes(text.replace(attributes.fingerprint, 64 * "0")) is None
    assert salvage_attributes(text.replace('"spec"', '"spek"')) is None
    assert salvage_attributes("") is None


def test_the_newest_version_is_found_by_its_numbers() -> None:
    def name(*versions: str) -> str:
        return json.dumps([{"versions": {"trajstore": number, "numpy": "9.9"}} for number in versions])

    assert find_newer_version(name("0.1.0")) is None
    assert find_newer_version(name("0.1.0", "0.0.17")) is None
    assert find_newer_version(name("0.9.1", "0.10.0", "0.2")) == "0.10.0"
    assert find_newer_version(name("unknown", "")) is None
    assert find_newer_version('{"trajstore": {"format_version": 1') is None
    # a closing quote that has become another character makes no other version of it
    assert find_newer_version(f'{{"trajstore": "{version("trajstore")}2,\n  "numpy": "9.9"}}') is None


def test_only_whole_events_are_readable(tiny_spec: Any) -> None:
    whole = StoreAttributes.created(tiny_spec).to_json()[NAMESPACE]["history"][0]
    assert list(find_readable([whole, 3, {}, whole | {"samples": "many"}])) == [whole]
    assert list(find_readable({"event": whole})) == []
