from __future__ import annotations

import os
import pickle
import threading

from hypothesis import given
from hypothesis import strategies as st

from trajstore.storage.caching import LoadingCache, PerProcess


@given(keys=st.lists(st.integers(0, 9), max_size=60), limit=st.integers(1, 12))
def test_cache_gives_what_was_loaded_and_never_weighs_more_than_its_limit(keys: list[int], limit: int):
    cache: LoadingCache[int, int] = LoadingCache(limit, weigh=lambda value: value % 4 + 1)
    held: list[int] = []
    for key in keys:
        assert cache.get(key, lambda key: key * 10) == key * 10
        if key * 10 % 4 + 1 > limit:  # heavier than all that may be kept
            continue
        held = [key, *(other for other in held if other != key)]
        while sum(other * 10 % 4 + 1 for other in held) > limit:
            held.pop()
        assert len(cache) == len(held)


def test_cache_loads_a_key_once_until_it_is_discarded():
    loads: list[str] = []
    cache: LoadingCache[str, str] = LoadingCache(4)

    def load(key: str) -> str:
        loads.append(key)
        return key

    for _ in range(3):
        cache.get("a", load)
    assert loads == ["a"]
    cache.discard("a")
    cache.discard("never there")
    cache.get("a", load)
    assert loads == ["a", "a"]


def test_cache_can_be_used_by_several_threads():
    cache: LoadingCache[int, int] = LoadingCache(3)
    wrong: list[int] = []

    def use(start: int) -> None:
        wrong.extend(
            key for key in range(start, start + 500) if cache.get(key % 7, lambda k: -k) != -(key % 7)
        )

    threads = [threading.Thread(target=use, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(cache) == 3


def test_value_per_process_is_neither_forked_nor_pickled():
    value: PerProcess[list[int]] = PerProcess(list)
    value.get().append(1)
    assert pickle.loads(pickle.dumps(value)).get() == []
    child = os.fork()
    if not child:
        os._exit(len(value.get()))
    assert os.waitpid(child, 0)[1] == 0
    assert value.get() == [1]
    value.drop()
    assert value.get() == []
