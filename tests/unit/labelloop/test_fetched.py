"""Boxes that clicks have fetched are told from all others."""

from labelloop.fetched import is_fetched, is_moved


def test_what_the_backend_answers_a_click_is_told_from_drawn_boxes_and_proposals() -> None:
    answer = {"id": "a", "origin": "prediction", "meta": {"from": "click", "version": "v0001"}}
    assert is_fetched(answer) and not is_moved(answer)
    assert is_moved(answer | {"origin": "prediction-changed"})
    others = ({"origin": "manual"}, {"meta": {"from": "near-duplicate"}}, {"meta": None}, {"meta": []}, None)
    assert not any(map(is_fetched, others))
