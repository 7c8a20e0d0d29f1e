"""Columns by kind: what is stored comes back, and what is not of the kind is named."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from pipeline.data.fields.field import AnyField
from pipeline.data.fields.image import ImageField
from pipeline.data.fields.one_class import ClassField
from tests.support.data_samples import STRETCH

IMAGE = ImageField(height=2, width=3, channels=1, resize=STRETCH, sixteen_bit="refuse", mean=[0.5], std=[0.1])
KIND = ClassField(classes=["cat", "dog"])


def test_values_come_back_from_their_column() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8)
    assert np.array_equal(IMAGE.read(IMAGE.stored(pixels)), pixels)
    assert KIND.read(KIND.stored(np.array([1, 0, 1]))).tolist() == [1, 0, 1]


def test_a_field_is_told_by_its_kind() -> None:
    read: TypeAdapter[AnyField] = TypeAdapter(AnyField)
    for field in (IMAGE, KIND):
        assert read.validate_json(field.model_dump_json()) == field


def test_a_column_of_another_kind_is_named() -> None:
    with pytest.raises(ValueError, match="int64, but the manifest says 6 bytes"):
        IMAGE.read(pa.array([1, 2]))
    with pytest.raises(ValueError, match="string, but the manifest says int64"):
        KIND.read(pa.array(["cat"]))
    with pytest.raises(ValueError, match="row 1: label 2, but there are 2 classes"):
        KIND.read(pa.array([1, 2]))
