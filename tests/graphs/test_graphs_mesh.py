"""Triangle meshes as graphs."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull, Delaunay
from torch_geometric.data import Data
from torch_geometric.transforms import FaceToEdge

from gsp_unroll import interpolate
from gsp_unroll.graphs import mesh_to_data
from gsp_unroll.topology import Graph

SQUARE = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
HALVES = torch.tensor([[0, 0], [1, 2], [2, 3]])


def flat_mesh(n=60, seed=0):
    """Delaunay triangles of random points in a square, and which vertices are at its border."""
    generator = np.random.default_rng(seed)
    points = generator.random((n, 2))
    triangles = Delaunay(points)
    border = torch.zeros(n, dtype=torch.bool)
    border[np.unique(triangles.convex_hull)] = True
    return torch.tensor(points), torch.tensor(triangles.simplices.T.astype(np.int64)), border


def sphere(n=80):
    points = np.random.default_rng(1).normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return torch.tensor(points), torch.tensor(ConvexHull(points).simplices.T.astype(np.int64))


def dense_weights(pos, face):
    """Sum over the triangles of half the cotangent of the angle, from arccos."""
    pos, total = pos.numpy(), np.zeros((len(pos), len(pos)))
    for triangle in face.T.tolist():
        for k in range(3):
            o, i, j = triangle[k], triangle[k - 1], triangle[k - 2]
            a, b = pos[i] - pos[o], pos[j] - pos[o]
            angle = math.acos(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
            total[i, j] += 0.5 / math.tan(angle)
            total[j, i] = total[i, j]
    return total


def dense(data):
    out = np.zeros((data.num_nodes, data.num_nodes))
    out[tuple(data.edge_index.numpy())] = data.edge_weight.numpy()
    return out


@pytest.mark.parametrize("mesh", [flat_mesh()[:2], sphere(), (SQUARE, HALVES)])
def test_cotangent_weights_by_the_formula(mesh):
    expected = dense_weights(*mesh)
    np.testing.assert_allclose(dense(mesh_to_data(*mesh)), expected.clip(min=0), atol=1e-9)


def test_square_by_hand():
    data = mesh_to_data(SQUARE, HALVES)
    # 45° opposite to the sides, 90° opposite to the diagonal.
    w = dense(data)
    assert w[0, 2] == pytest.approx(0, abs=1e-15)
    assert [w[0, 1], w[1, 2], w[2, 3], w[3, 0]] == pytest.approx([0.5] * 4)


def test_orientation_and_units_do_not_matter():
    pos, face = sphere()
    data = mesh_to_data(pos, face)
    turned = face.clone()
    turned[:, ::2] = turned[[1, 0, 2]][:, ::2]
    torch.testing.assert_close(mesh_to_data(1e6 * pos, turned).edge_weight, data.edge_weight)


@pytest.mark.parametrize("weights", ["uniform", "cotangent"])
def test_edges_are_those_of_the_triangles(weights):
    pos, face = sphere()
    data = mesh_to_data(pos, face, weights)
    expected = FaceToEdge(remove_faces=False)(Data(pos=pos, face=face)).edge_index
    assert torch.equal(data.edge_index, expected)
    graph = Graph(data.edge_index, data.num_nodes)
    assert graph.num_nodes - graph.num_edges + face.shape[1] == 2  # Euler, closed surface
    assert data.edge_weight.dtype == pos.dtype
    assert bool((data.edge_weight >= 0).all())
    if weights == "uniform":
        assert bool((data.edge_weight == 1).all())


def test_laplacian_of_a_linear_function_is_zero_inside():
    pos, face, border = flat_mesh()
    w = dense(mesh_to_data(pos, face))
    linear = 3 * pos[:, 0] - 2 * pos[:, 1] + 1
    residual = (np.diag(w.sum(1)) - w) @ linear.numpy()
    # At the border itself it is the flux, which is not zero.
    inside = ~border.numpy()
    assert np.abs(residual[inside]).max() < 1e-10 < np.abs(residual[~inside]).max()


def test_harmonic_interpolation_of_a_linear_function_is_exact():
    pos, face, border = flat_mesh(200, seed=3)
    linear = 3 * pos[:, 0] - 2 * pos[:, 1] + 1
    off = {}
    for weights in ("cotangent", "uniform"):
        data = mesh_to_data(pos, face, weights)
        data.x, data.mask = linear, border
        off[weights] = float((interpolate(data).x - linear).abs().max())
    assert off["cotangent"] < 1e-10 < 1e-3 < off["uniform"]


def test_negative_cotangents_become_zero():
    """A kite whose diagonal is the longer one, seen at two angles above 90°."""
    pos = torch.tensor([[0.0, 0], [4, 0], [2, 1], [2, -1]], dtype=torch.float64)
    face = torch.tensor([[0, 0], [1, 1], [2, 3]])
    assert dense_weights(pos, face)[0, 1] < 0
    assert dense(mesh_to_data(pos, face))[0, 1] == 0


FLAT = torch.tensor([[0.0, 0], [1, 0], [2, 0]])
FAN = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 3, 4]])


@pytest.mark.parametrize(
    ("pos", "face", "error", "message"),
    [
        (SQUARE.long(), HALVES, TypeError, "pos must be a floating-point tensor"),
        (SQUARE[:, :1], HALVES, ValueError, r"pos must have shape \[V, 2\] or \[V, 3\]"),
        (SQUARE / 0, HALVES, ValueError, "pos must be finite"),
        (SQUARE, HALVES.int(), TypeError, "face must be int64, got torch.int32"),
        (SQUARE, HALVES.T, ValueError, r"face must have shape \[3, F\], got \[2, 3\]"),
        (SQUARE, HALVES[:, :0], ValueError, "at least one triangle"),
        (SQUARE, HALVES + 1, ValueError, "face must be between 0 and 3, got 4"),
        (SQUARE, HALVES - 1, ValueError, "face must be between 0 and 3, got -1"),
        (SQUARE, HALVES % 3, ValueError, r"three different vertices .* \[0, 2, 0\] in triangle 1"),
        (SQUARE, HALVES[:, [0, 1, 0]], ValueError, r"each triangle once, .* \[0, 1, 2\] twice"),
        (SQUARE, HALVES[:, :1], ValueError, r"face must use every vertex, got none at vertex 3"),
        (torch.rand(5, 3), FAN, ValueError, r"edge \[0, 1\] in 3; the mesh is not manifold"),
        (FLAT, torch.tensor([[0], [1], [2]]), ValueError, "triangles with an area .* triangle 0"),
    ],
)
def test_wrong_meshes_are_named(pos, face, error, message):
    with pytest.raises(error, match=message):
        mesh_to_data(pos, face)


def test_uniform_weights_need_no_area_and_names_are_checked():
    assert mesh_to_data(FLAT, torch.tensor([[0], [1], [2]]), "uniform").num_edges == 6
    with pytest.raises(ValueError, match="did you mean 'cotangent'"):
        mesh_to_data(SQUARE, HALVES, "cotan")


@pytest.mark.parametrize("unit", [1e-30, 1e12, 1e30])
def test_cotangents_have_no_unit(unit):
    corner = torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    face = torch.tensor([[0], [1], [2]])
    expected = mesh_to_data(corner, face).edge_weight
    torch.testing.assert_close(mesh_to_data(corner * unit, face).edge_weight, expected)
    assert bool((expected > 0).any())
