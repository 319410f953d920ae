from itertools import combinations

from trainer.dashboard.captions import HEIGHT, WIDTH, Captioned, placed

SIZE, FONT = (400.0, 300.0), 16.0


def test_no_caption_lies_on_another_and_what_disagrees_comes_first() -> None:
    crowd = [Captioned(10 + 9 * n, 20 + 6 * n, 60, 60, f"{n} ball 0.9{n % 10}", n == 25) for n in range(30)]
    found = placed(crowd, SIZE, FONT)
    areas = [
        (c.x, c.y - 0.9 * FONT, c.x + WIDTH * FONT * len(c.text), c.y - 0.9 * FONT + HEIGHT * FONT)
        for c in found
    ]
    assert found[0].text == "25 ball 0.95" and 5 < len(found) < 30
    for one, other in combinations(areas, 2):
        assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
    assert all(
        x >= 0 and right <= SIZE[0] and top >= 0 and low <= SIZE[1] + 1e-9 for x, top, right, low in areas
    )


def test_a_caption_stands_on_its_box_where_there_is_room() -> None:
    [caption] = placed([Captioned(50, 100, 80, 40, "ball", False)], SIZE, FONT)
    assert (caption.x, caption.y) == (50, 100 - HEIGHT * FONT + 0.9 * FONT)
    [at_the_top] = placed([Captioned(50, 0, 80, 40, "ball", False)], SIZE, FONT)
    assert at_the_top.y == 0.9 * FONT
