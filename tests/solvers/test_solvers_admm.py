"""The three-tensor ADMM state against the nine variables of the paper, written out in NumPy."""

import numpy as np
import pytest
import torch
from helpers import close, dense_incidence, random_edges, random_weight

from gsp_unroll.solvers.admm import LPState, ShrinkState
from gsp_unroll.topology import Graph

# Penalty and weight of 1'z in each iteration; both change.
SCHEDULE = [(1.0, 1.0)] * 4 + [(3.0, 1.0)] * 5 + [(0.7, 0.4)] * 6 + [(2.0, 2.5)] * 15
NODES = 9


def problem():
    graph = Graph(random_edges(NODES, seed=4), NODES)
    incidence = dense_incidence(graph, random_weight(graph))
    y = torch.randn(NODES, dtype=torch.float64)
    mask = torch.zeros(NODES, dtype=torch.bool)
    mask[[0, 3, 7]] = True
    start = torch.where(mask, y, torch.randn(NODES, dtype=torch.float64))
    return incidence, y, mask, start


class NineVariables:
    """Eqs (17)-(22), literally: z, x, q1, q2, q~1, q~2 and unscaled multipliers mu_a ... mu_e."""

    def __init__(self, incidence, y, mask, start, constraint):
        self.C, self.H = incidence.numpy(), np.eye(len(y))[mask.numpy()]
        self.y = self.H @ y.numpy()
        self.x, self.constraint = start.numpy(), constraint
        c = self.C @ self.x
        self.t1, self.t2 = np.abs(c) - c, np.abs(c) + c  # q~ for z = |c|
        self.a, self.b, self.d, self.e = (np.zeros_like(c) for _ in range(4))
        self.m = np.zeros_like(self.y)

    def step(self, gamma, kappa):
        C, H = self.C, self.H
        pull = (
            C.T @ (self.a - self.b + self.d - self.e) / (2 * gamma) - C.T @ (self.t1 - self.t2) / 2
        )
        if self.constraint == "multiplier":
            right = pull - H.T @ self.m / gamma + H.T @ self.y
            self.x = np.linalg.solve(C.T @ C + H.T @ H, right)
        else:
            fixed = H.T @ self.y
            free = np.flatnonzero(H.sum(0) == 0)
            matrix, right = C.T @ C, pull - C.T @ C @ fixed
            self.x = fixed.copy()
            self.x[free] = np.linalg.solve(matrix[np.ix_(free, free)], right[free])
        c = C @ self.x
        total = self.a + self.b + self.d + self.e
        z = (self.t1 + self.t2) / 2 - kappa / gamma - total / (2 * gamma)
        q1 = (z - c + self.t1 + (self.a - self.d) / gamma) / 2
        q2 = (z + c + self.t2 + (self.b - self.e) / gamma) / 2
        self.t1 = np.maximum(q1 + self.d / gamma, 0)
        self.t2 = np.maximum(q2 + self.e / gamma, 0)
        self.a = self.a + gamma * (z - c - q1)
        self.b = self.b + gamma * (z + c - q2)
        self.m = self.m + gamma * (H @ self.x - self.y)
        self.d = self.d + gamma * (q1 - self.t1)
        self.e = self.e + gamma * (q2 - self.t2)


@pytest.mark.parametrize("constraint", ["eliminate", "multiplier"])
def test_three_tensors_follow_the_nine_variables(constraint):
    incidence, y, mask, start = problem()
    literal = NineVariables(incidence, y, mask, start, constraint)
    state = LPState.start(incidence @ start)
    normal, keep = incidence.T @ incidence, mask.double()
    u_c = torch.zeros_like(y)
    last = SCHEDULE[0][0]
    for gamma, kappa in SCHEDULE:
        state = state.rescale(torch.tensor(last / gamma, dtype=torch.float64))
        u_c = u_c * last / gamma
        last = gamma
        literal.step(gamma, kappa)
        pull = incidence.T @ state.edge_target()
        if constraint == "multiplier":
            x = torch.linalg.solve(normal + torch.diag(keep), pull + keep * y - u_c)
            u_c = u_c + keep * (x - y)
        else:
            x, free = keep * y, ~mask
            right = (pull - normal @ x)[free]
            x[free] = torch.linalg.solve(normal[free][:, free], right)
        state = state.update(incidence @ x, torch.tensor(kappa / gamma, dtype=torch.float64))
        recovered = {
            "x": x, "t1": state.v1.clamp(min=0), "t2": state.v2.clamp(min=0),
            "a": gamma * state.ua, "b": gamma * (state.sum_ab - state.ua),
            "d": gamma * state.v1.clamp(max=0), "e": gamma * state.v2.clamp(max=0),
        }  # fmt: skip
        for name, value in recovered.items():
            close(value, torch.from_numpy(getattr(literal, name)), 1e-10)
        if constraint == "multiplier":
            close(gamma * u_c[mask], torch.from_numpy(literal.m), 1e-10)


def test_an_iteration_is_the_joint_minimiser_of_the_augmented_lagrangian():
    """Stationarity of (17)-(20) for any q~ and multipliers, by autograd of the Lagrangian."""
    incidence, y, mask, _ = problem()
    H = torch.eye(NODES, dtype=torch.float64)[mask]
    gamma, kappa = 1.7, 0.6
    m = len(incidence)
    random = [torch.randn(m, dtype=torch.float64) for _ in range(3)]
    state = LPState(*random, torch.tensor(-0.3, dtype=torch.float64))
    u_c = torch.randn(len(H), dtype=torch.float64)
    # Steps of the library, and from its two states z, q1 and q2.
    matrix = incidence.T @ incidence + H.T @ H
    x = torch.linalg.solve(matrix, incidence.T @ state.edge_target() + H.T @ (y[mask] - u_c))
    after = state.update(incidence @ x, torch.tensor(kappa / gamma, dtype=torch.float64))
    u_d, u_e = state.v1.clamp(max=0), state.v2.clamp(max=0)
    q1, q2 = after.v1 - u_d, after.v2 - u_e
    z = after.ua - state.ua + incidence @ x + q1
    t1, t2 = state.v1.clamp(min=0), state.v2.clamp(min=0)
    u_a, u_b = state.ua, state.sum_ab - state.ua

    def lagrangian(z, x, q1, q2):
        c = incidence @ x
        blocks = [
            (u_a, z - c - q1), (u_b, z + c - q2), (u_c, H @ x - y[mask]),
            (u_d, q1 - t1), (u_e, q2 - t2),
        ]  # fmt: skip
        penalty = sum(gamma * (u @ r) + gamma / 2 * (r @ r) for u, r in blocks)
        return kappa * z.sum() + penalty

    variables = [value.detach().requires_grad_() for value in (z, x, q1, q2)]
    for gradient in torch.autograd.grad(lagrangian(*variables), variables):
        assert float(gradient.abs().max()) < 1e-12
    # The multipliers of the second state are those of (22), and u_a + u_b = -kappa / gamma.
    close(after.sum_ab - after.ua, u_b + z + incidence @ x - q2, 1e-12)
    close(after.sum_ab, torch.tensor(-kappa / gamma, dtype=torch.float64), 1e-15)


def test_start_agrees_with_its_signal():
    c = torch.randn(5)
    state = LPState.start(c)
    close(state.edge_target(), c, 1e-6)
    new = state.update(c, torch.tensor(0.0))
    close(new.v1.clamp(min=0), state.v1, 1e-6)
    primal, dual = new.residuals(state, c, torch.tensor(0.0))
    close(primal, torch.zeros(5), 1e-6)
    close(dual, torch.zeros(5), 1e-6)
    close(ShrinkState.start(c).edge_target(), c, 0)


def test_shrink_state_is_the_textbook_split():
    c, d, b = (torch.randn(6, dtype=torch.float64) for _ in range(3))
    after = ShrinkState(d, b).update(c, 0.4)
    close(after.d, torch.nn.functional.softshrink(c + b, 0.4), 1e-15)
    close(after.b, b + c - after.d, 1e-15)
    assert float(after.b.abs().max()) <= 0.4 + 1e-15
    primal, dual = after.residuals(ShrinkState(d, b), c, 0.4)
    close(primal, (c - after.d).abs(), 0)
    close(dual, (after.d - d).abs(), 0)


@pytest.mark.parametrize("kind", [LPState, ShrinkState])
def test_rescale_keeps_the_unscaled_multipliers_and_where_chooses(kind):
    state = kind.start(torch.randn(6, dtype=torch.float64))
    for _ in range(3):
        state = state.update(torch.randn(6, dtype=torch.float64), torch.tensor(0.3))
    there = state.rescale(torch.tensor(0.25))
    back = there.rescale(torch.tensor(4.0))
    condition = torch.tensor([True, False, True, False, True, False])
    mixed = there.where(condition, state)
    for name, value in vars(state).items():
        close(getattr(back, name), value, 1e-15)
        close(getattr(mixed, name), torch.where(condition, getattr(there, name), value), 0)
    if kind is LPState:
        close(there.v1.clamp(min=0), state.v1.clamp(min=0), 0)
        close(there.ua, 0.25 * state.ua, 0)
    else:
        close(there.d, state.d, 0)
        close(there.b, 0.25 * state.b, 0)
