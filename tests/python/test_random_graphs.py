"""Random networks of all layers agree with torch.nn within the tolerances of random_graphs.py."""

from __future__ import annotations

import pytest

from mnistcnn._internal.native import core
from random_graphs import compare, random_graph

COUNT = {"aten": 150, "lanes": 1000}
CHUNK = 50


@pytest.mark.parametrize(
    ("engine", "first"), [(engine, first) for engine, count in COUNT.items() for first in range(0, count, CHUNK)]
)
def test_random_graphs_agree_with_torch(engine: str, first: int):
    ran = sum(compare(random_graph(seed), engine) for seed in range(first, first + CHUNK))
    assert ran >= 0.7 * CHUNK, f"{engine} ran only {ran} of the {CHUNK} graphs from seed {first}"


def test_random_graphs_contain_every_layer():
    found = set().union(*(random_graph(seed).ops() for seed in range(COUNT["aten"])))
    assert found == set(core.layer_kinds())


@pytest.mark.parametrize("seed", range(0, 150, 25))
def test_graph_is_determined_by_the_seed(seed: int):
    assert random_graph(seed) == random_graph(seed), f"seed {seed}"
    assert random_graph(seed) != random_graph(seed + 1), f"seed {seed}"
