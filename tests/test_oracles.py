"""The oracles themselves, against vectors worked by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import oracles

VECTORS = json.loads((Path(__file__).parent / "vectors" / "hand_vectors.json").read_text(encoding="utf-8"))
RULES: dict[str, Callable[..., np.ndarray]] = {
    "zero": oracles.zero,
    "alpha1_beta0_negative_bias": lambda *v: oracles.alpha_beta(*v, 1, 0),
    "alpha2_beta1_negative_bias": lambda *v: oracles.alpha_beta(*v, 2, 1),
    "z_plus": oracles.z_plus,
    "z_plus_negative_input": oracles.z_plus,
    "w_square_bias_ignored": oracles.w_square,
    "flat": oracles.flat,
}


@pytest.mark.parametrize("name", [name for name in VECTORS if name not in ("about", "max_pool_2x2_stride_1")])
def test_rule_equals_the_hand_vector(name: str) -> None:
    v = VECTORS[name]
    a, w, b, r = (np.array(v[key], dtype=float) for key in ("a", "W", "b", "R"))
    np.testing.assert_allclose(RULES[name](a, w.T, b, r), v["R_in"], rtol=1e-14, atol=0)


def test_max_pool_equals_the_hand_vector() -> None:
    v = VECTORS["max_pool_2x2_stride_1"]
    a, r, expected = (np.array(v[key], dtype=float)[..., None] for key in ("a", "R", "R_in"))
    np.testing.assert_allclose(oracles.max_pool(a, r, (2, 2), (1, 1)), expected, rtol=1e-14)


def test_max_pool_ties_go_to_the_first_in_row_major_order() -> None:
    won = oracles.max_pool(np.ones((2, 2, 1)), np.ones((1, 1, 1)), (2, 2), (2, 2))
    np.testing.assert_array_equal(won[..., 0], [[1, 0], [0, 0]])


def test_unroll_finds_the_matrix_of_a_strided_convolution() -> None:
    kernel = np.array([2.0, 3.0])

    def convolution(x: np.ndarray) -> np.ndarray:  # size 2, stride 2, no padding
        return x.reshape(len(x), 2, 2) @ kernel

    np.testing.assert_array_equal(oracles.unroll(convolution, (4,)), [[2, 0], [3, 0], [0, 2], [0, 3]])


def test_gamma_zero_is_epsilon_and_large_gamma_is_alpha_beta() -> None:
    a, w, b, r = np.array([1.0, 2.0, 3.0]), np.array([[1.0], [-0.5], [2.0]]), np.array([0.5]), np.array([2.0])
    np.testing.assert_allclose(oracles.gamma(a, w, b, r, 0), oracles.epsilon(a, w, b, r), rtol=1e-14)
    np.testing.assert_allclose(
        oracles.gamma(a, w, b, r, 1e9), oracles.alpha_beta(a, w, b, r, 1, 0), rtol=1e-8, atol=1e-8
    )


def test_z_box_of_a_hand_example() -> None:
    # c = a w - l w+ - h w- = (1*2 + 1*2, 0*-1 + 1) = (4, 1): shares 4/5 and 1/5
    r = oracles.z_box(np.array([1.0, 0.0]), np.array([[2.0], [-1.0]]), np.zeros(1), np.array([5.0]), -1, 1)
    np.testing.assert_allclose(r, [4, 1])
