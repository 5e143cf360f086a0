"""Where instances go: never over what there is, in the order of the strategy, with a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.contracts.manager import Needs
from downstage.kernel.errors import InvalidField, NoCapacity
from downstage.manager.nodes.model import Node, Usage
from downstage.manager.placing import Waiting, make_room, refusal
from downstage.manager.scheduler import Choice, NoNode, Strategy, Wish, choose

pytestmark = pytest.mark.unit


def node_of(name: str = "a", **changes: Any) -> Node:
    values: dict[str, Any] = {"name": name, "places": 4, "cpus": 4, "memory_mb": 8192}
    return Node(**{**values, **changes})


def fill(
    nodes: list[Node], wishes: list[Wish], strategy: Strategy = "spread"
) -> tuple[dict[str, Usage], list[Choice | NoNode]]:
    """Place one after another, as the store does."""
    usage, choices = dict[str, Usage](), list[Choice | NoNode]()
    for wish in wishes:
        choice = choose(nodes, usage, wish, strategy)
        choices.append(choice)
        if isinstance(choice, Choice):
            before = usage.get(choice.node, Usage())
            usage[choice.node] = before.plus(wish.needs, choice.card)
    return usage, choices


nodes_at_random = st.lists(
    st.builds(
        Node,
        name=st.sampled_from("abcdef"),
        places=st.integers(1, 5),
        cpus=st.integers(1, 8),
        memory_mb=st.integers(256, 4096),
        gpus=st.lists(st.integers(1, 3), max_size=2).map(tuple),
        cpu_overcommit=st.sampled_from([1.0, 4.0]),
        memory_overcommit=st.sampled_from([1.0, 2.0]),
        cordoned=st.booleans(),
        status=st.sampled_from(["online", "online", "offline"]),
    ),
    max_size=5,
    unique_by=lambda node: node.name,
)
wishes_at_random = st.lists(
    st.builds(
        Wish,
        needs=st.builds(
            Needs,
            cpus=st.none() | st.floats(0.1, 6),
            memory_mb=st.none() | st.integers(64, 2048),
            gpu_slots=st.integers(0, 2),
        ),
        node=st.none() | st.sampled_from("abc"),
    ),
    max_size=20,
)


@given(nodes_at_random, wishes_at_random, st.sampled_from(["spread", "binpack"]))
def test_no_node_gets_more_than_it_has(
    nodes: list[Node], wishes: list[Wish], strategy: Strategy
) -> None:
    usage, choices = fill(nodes, wishes, strategy)
    for node in nodes:
        used = usage.get(node.name, Usage())
        assert used.places <= node.places
        assert used.cpus <= node.promised_cpus + 1e-6
        assert used.memory_mb <= node.promised_memory_mb
        assert all(used.of_card(card) <= slots for card, slots in enumerate(node.gpus))
        assert len(used.gpus) <= len(node.gpus)
        assert node.takes_more or used == Usage()
    for wish, choice in zip(wishes, choices, strict=True):
        if isinstance(choice, Choice):
            assert choice.reason
            assert wish.node in (None, choice.node)
            assert (choice.card is not None) == bool(wish.needs.gpu_slots)
        else:
            assert choice.why


@given(nodes_at_random, wishes_at_random)
def test_a_refusal_now_is_no_refusal_of_an_empty_fleet(
    nodes: list[Node], wishes: list[Wish]
) -> None:
    """`ever` says whether waiting helps: exactly where all nodes, back and empty, would take it."""
    back = [replace(node, cordoned=False, status="online") for node in nodes]
    for wish, choice in zip(wishes, fill(nodes, wishes)[1], strict=True):
        if isinstance(choice, NoNode):
            assert choice.ever == isinstance(choose(back, {}, wish, "spread"), Choice)


@given(nodes_at_random, wishes_at_random)
def test_the_same_question_has_the_same_answer(nodes: list[Node], wishes: list[Wish]) -> None:
    assert fill(nodes, wishes) == fill(nodes[::-1], wishes)


def test_spread_takes_turns_and_binpack_fills() -> None:
    nodes, wishes = [node_of("a"), node_of("b")], [Wish()] * 6
    spread = [choice.node for choice in fill(nodes, wishes)[1] if isinstance(choice, Choice)]
    assert spread == ["a", "b", "a", "b", "a", "b"]
    packed = fill(nodes, wishes, "binpack")[1]
    assert [c.node for c in packed if isinstance(c, Choice)] == ["a", "a", "a", "a", "b", "b"]


def test_the_emptiest_is_by_what_is_fullest_of_it() -> None:
    usage = {"a": Usage(places=1, memory_mb=14000), "b": Usage(places=2)}
    choice = choose([node_of("a"), node_of("b")], usage, Wish(), "spread")
    assert isinstance(choice, Choice)
    assert choice.node == "b"


def test_the_least_used_card_is_taken() -> None:
    node = node_of(gpus=(2, 2), places=9)
    wish = Wish(Needs(gpu_slots=1))
    choices = fill([node], [wish] * 5)[1]
    assert [c.card for c in choices if isinstance(c, Choice)] == [0, 1, 0, 1]
    last = choices[-1]
    assert isinstance(last, NoNode)
    assert "graphics card" in last.why
    assert isinstance(choose([node], {}, Wish(Needs(gpu_slots=3)), "spread"), NoNode), "one card"


def test_a_refusal_names_what_each_node_lacks() -> None:
    nodes = [
        node_of("cordoned", cordoned=True),
        node_of("drained", drain_by=datetime.now(UTC)),
        node_of("full"),
        node_of("off", status="offline"),
        node_of("plain", labels={"gpu": "no"}),
        node_of("small", cpus=0.2, labels={"gpu": "yes"}),
    ]
    labels = {node.name: {"gpu": "yes"} | node.labels for node in nodes}
    nodes = [replace(node, labels=labels[node.name]) for node in nodes]
    wish = Wish(Needs(cpus=1), {"gpu": "yes"})
    none = choose(nodes, {"full": Usage(places=4)}, wish, "spread")
    assert isinstance(none, NoNode)
    assert none.ever
    for text in (
        "cordoned: is cordoned",
        "drained: is drained",
        "full: all 4 places are taken",
        "off: does not answer",
        "plain: lacks the label gpu=yes",
        "small: has 0.8 cores",
    ):
        assert text in none.why
    refused = refusal(none)
    assert isinstance(refused, NoCapacity)
    assert "plain: lacks the label" in refused.detail


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (Wish(node="nowhere"), "node"),
        (Wish(labels={"gpu": "yes"}), "node_labels"),
        (Wish(image=True), "image"),
        (Wish(Needs(cpus=100)), "needs"),
    ],
)
def test_what_no_waiting_cures_is_refused_by_name(wish: Wish, field: str) -> None:
    none = choose([node_of()], {}, wish, "spread")
    assert isinstance(none, NoNode)
    refused = refusal(none)
    assert isinstance(refused, InvalidField)
    assert refused.context["field"] == field


def test_containers_go_where_an_engine_is() -> None:
    local, engine = node_of("local"), node_of("engine", spawner="container", engine="unix:///e")
    for wish, name in ((Wish(image=True), "engine"), (Wish(), "local")):
        choice = choose([local, engine], {}, wish, "spread")
        assert isinstance(choice, Choice)
        assert choice.node == name


def test_those_who_wait_give_way_and_no_more_than_must() -> None:
    nodes = [node_of("a", places=2), node_of("b", places=2)]
    waiting = [Waiting(f"w{n}", "ab"[n % 2], Needs(), None) for n in range(3)]
    usage = {"a": Usage(places=2), "b": Usage(places=2)}
    choice, gone = make_room(
        nodes, usage, waiting, lambda nodes, usage: choose(nodes, usage, Wish(), "spread")
    )
    assert isinstance(choice, Choice)
    assert choice.node == "a", "the two who wait there leave it the emptiest"
    assert [one.id for one in gone] == ["w0"], "the oldest, and it alone"
    full, nobody = make_room(
        nodes, usage, [], lambda nodes, usage: choose(nodes, usage, Wish(), "spread")
    )
    assert isinstance(full, NoNode)
    assert not nobody
