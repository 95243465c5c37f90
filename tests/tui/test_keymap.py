from __future__ import annotations

import string

import pytest
from textual.keys import _character_to_key

from tui_runner.tui.actions import ACTIONS, BY_ID, DEFAULT_KEYS, shown_key
from tui_runner.tui.actions.keymap import resolve
from tui_runner.tui.actions.model import SCREENS


def test_no_two_actions_share_a_key_or_an_id() -> None:
    for places in SCREENS:
        keys = [key for action in ACTIONS if action.place in places for key in action.keys]
        assert len(keys) == len(set(keys)), places
    assert len(BY_ID) == len(ACTIONS)


def test_an_empty_keymap_changes_nothing() -> None:
    assert resolve({}) == (DEFAULT_KEYS, [])


def test_a_key_is_replaced_and_punctuation_may_be_written_as_it_is() -> None:
    keys, complaints = resolve({"pause_run": "F5, .", "help": "z"})
    assert keys["pause_run"] == ("f5", "full_stop")
    assert keys["help"] == ("z",)
    assert complaints == []


def test_two_actions_can_be_swapped() -> None:
    keys, complaints = resolve({"pause_chunk": "x", "cancel_chunk": "p"})
    assert (keys["pause_chunk"], keys["cancel_chunk"], complaints) == (("x",), ("p",), [])


def test_a_clash_is_reported_and_ignored() -> None:
    keys, complaints = resolve({"pause_chunk": "x"})
    assert keys == DEFAULT_KEYS
    assert complaints == ["keymap: pause_chunk cannot have x, which is cancel_chunk's"]


@pytest.mark.parametrize(
    ("keymap", "complaint"),
    [
        ({"pause_rum": "z"}, "keymap: there is no action 'pause_rum'; did you mean pause_run?"),
        ({"pause_run": " , "}, "keymap: no key for pause_run"),
        ({"query.run": "r"}, "keymap: query.run cannot have r, which the text that is typed there needs"),
        ({"query.export": "."}, "keymap: query.export cannot have full_stop, which the text that is typed there needs"),
        ({"query.run": "f9"}, "keymap: query.run cannot have f9, which is query.export's"),
        ({"grid.down": "g"}, "keymap: grid.down cannot have g, which is result.chart's"),
        ({"launcher.quit": "j"}, "keymap: launcher.quit cannot have j, which is cursor_down's"),
        ({"pause_run": "ctrl+c"}, "keymap: pause_run cannot have ctrl+c, which always quits"),
    ],
)
def test_impossible_keys_are_named(keymap: dict[str, str], complaint: str) -> None:
    assert resolve(keymap) == (DEFAULT_KEYS, [complaint])


@pytest.mark.parametrize(
    ("key", "shown"), [("question_mark", "?"), ("ctrl+p", "^p"), ("f1", "F1"), ("plus", "+"), ("G", "G")]
)
def test_keys_are_shown_as_people_know_them(key: str, shown: str) -> None:
    assert shown_key(key) == shown


@pytest.mark.parametrize("character", string.punctuation)
def test_punctuation_is_shown_as_it_is_typed(character: str) -> None:
    assert shown_key(_character_to_key(character)) == character
    assert shown_key(f"ctrl+{_character_to_key(character)}") == f"^{character}"


def test_no_key_of_an_action_is_shown_by_the_name_that_textual_has_for_it() -> None:
    shown = {shown_key(key) for action in ACTIONS for key in action.keys}
    assert not [key for key in shown if "_" in key.strip("_")]


def test_a_key_may_be_used_again_on_another_screen() -> None:
    keys, complaints = resolve({"retry_group": "m"})
    assert keys["retry_group"] == ("m",) and keys["map"] == ("m",) and not complaints
    keys, complaints = resolve({"retry_group": "c"})
    assert keys["retry_group"] == ("r",) and "which is copy's" in complaints[0]
