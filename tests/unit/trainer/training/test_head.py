from trainer.training.head import Rows


def test_the_rows_of_a_class() -> None:
    retinanet, ssd = Rows(3), Rows(2, after=1)
    assert retinanet.of_class(1, 4) == [1, 5, 9] and retinanet.of_none(4) == []
    assert ssd.of_class(1, 2) == [1, 4] and ssd.of_none(2) == [2, 5] and ssd.count(2) == 6
    assert Rows(1, width=4).of_class(2, 3) == [8, 9, 10, 11]
    assert Rows(2, before=5).of_class(0, 1) == [5, 11]
