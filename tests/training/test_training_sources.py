from __future__ import annotations

import logging

import pytest
import torch
from training_helpers import tiny_config, write_photos

from gsp_unroll.data.images import ImageError, builtin_images
from gsp_unroll.evaluation import Source
from gsp_unroll.training.sources import (
    first_readable,
    load_held_out,
    report_sources,
    split_images,
)


def test_held_out_images_are_spread_and_never_trained_on(tmp_path):
    write_photos(tmp_path / "p", count=10, side=16)
    config = tiny_config(tmp_path / "p", data={"holdout": 3})
    train, held = split_images(config.data)
    assert [path.stem for path in held] == ["0", "3", "6"]
    assert len(train) == 7
    assert not set(train) & set(held)
    assert split_images(config.data) == (train, held)


def test_a_validation_folder_is_excluded_from_training(tmp_path):
    write_photos(tmp_path / "p", count=3, side=16)
    write_photos(tmp_path / "p" / "held", count=2, side=16)
    config = tiny_config(tmp_path / "p", data={"validation": str(tmp_path / "p" / "held")})
    train, held = split_images(config.data)
    assert len(train) == 3
    assert len(held) == 2
    assert not set(train) & set(held)
    config = tiny_config(tmp_path / "p", data={"validation": str(tmp_path / "p")})
    with pytest.raises(ValueError, match="nothing is left to train on"):
        split_images(config.data)


def test_holding_out_everything_is_refused(tmp_path):
    write_photos(tmp_path / "p", count=2, side=16)
    with pytest.raises(ValueError, match=r"data\.holdout must be less than the 2 images.*got 2"):
        split_images(tiny_config(tmp_path / "p", data={"holdout": 2}).data)
    train, held = split_images(tiny_config(tmp_path / "p", data={"holdout": 0}).data)
    assert (len(train), len(held)) == (2, 0)


def test_built_in_photographs_train_choose_and_test_on_different_ones():
    train, held = split_images(tiny_config().data)
    test = builtin_images("test")
    assert train
    assert held
    names = [*train, *held, *test]
    assert len(names) == len(set(names))


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match="nowhere"):
        split_images(tiny_config(tmp_path / "nowhere").data)


def test_validation_items_are_observed_central_squares(tmp_path):
    image = torch.rand(3, 21, 30)
    config = tiny_config(task={"noise_sigma": 0.1})
    (item,) = load_held_out({"a": image}, config)
    assert torch.equal(item.truth[0], image[:, 2:18, 7:23])
    assert item.mask.sum() == 16 * 16
    assert (item.y[~item.mask] == 0).all()
    (again,) = load_held_out({"a": image}, config)
    assert torch.equal(item.y, again.y)
    (small,) = load_held_out({"a": image[:, :5, :9]}, config)
    assert small.truth.shape == (1, 3, 5, 9)


def test_unreadable_validation_images_are_skipped_unless_all_are(tmp_path, caplog):
    write_photos(tmp_path, count=2, side=16)
    paths = sorted(tmp_path.glob("*.png"))
    paths[0].write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        items = load_held_out(paths, tiny_config())
    assert [item.name for item in items] == ["1"]
    assert "0.png" in caplog.text
    paths[1].write_bytes(b"broken")
    with pytest.raises(ImageError, match="none of the 2 validation images can be read"):
        load_held_out(paths, tiny_config())


def test_images_of_the_final_figures(tmp_path):
    write_photos(tmp_path / "p", count=4, side=16)
    config = tiny_config(tmp_path / "p", data={"holdout": 2})
    sources, name = report_sources(config.data)
    assert [source.name for source in sources] == ["0.png", "2.png"]
    assert name == "validation"
    # Files of two folders may have one name.
    for folder in ("a", "b"):
        write_photos(tmp_path / "two" / folder, count=2, side=16)
    both, _ = report_sources(tiny_config(tmp_path / "two", data={"holdout": 3}).data)
    assert [source.name for source in both] == ["a/0.png", "a/1.png", "b/0.png"]
    assert sources[1].load().shape == (3, 16, 16)
    sources, name = report_sources(config.data, tmp_path / "p")
    assert (len(sources), name) == (4, "p")
    sources, name = report_sources(tiny_config().data)
    assert {source.name for source in sources} == set(builtin_images("test"))
    with pytest.raises(ValueError, match="no image is held out to report on"):
        report_sources(tiny_config(tmp_path / "p", data={"holdout": 0}).data)


def test_the_picture_is_of_the_first_image_that_can_be_read(caplog):
    def broken():
        raise ImageError("cannot read image a.png: truncated")

    image = torch.rand(3, 4, 4)
    sources = [Source("a.png", broken), Source("b.png", lambda: image)]
    name, found = first_readable(sources)
    assert (name, found is image) == ("b.png", True)
    assert "a.png" in caplog.text
    with pytest.raises(ImageError, match=r"a\.png"):
        first_readable(sources[:1])
