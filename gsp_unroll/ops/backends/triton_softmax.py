"""What the edge softmax on grids and on graphs shares, in Triton."""

import triton
import triton.language as tl


@triton.jit
def finite_or_zero(top):
    """The largest score of a node, 0 where it has no edge."""
    return tl.where((top > -float("inf")) & (top < float("inf")), top, 0.0)


@triton.jit
def inverse_or_one(total):
    """One over a sum of exponentials, 1 where it has no terms."""
    return 1.0 / tl.where(total == 0, 1.0, total)


@triton.jit
def pointers(w, p_u, p_v, lead, edges, NORM: tl.constexpr):
    """Pointers to the weights, and to the shares of the edges at their ends, of one leading index.

    Directed weights are the two shares themselves; with softmax, ``p_v = 2 w - p_u`` is not held.
    """
    if NORM == "directed":
        w += 2 * lead * edges
        p_u = w
        p_v = w + edges
    else:
        w += lead * edges
        p_u += lead * edges
        p_v += lead * edges
    return w, p_u, p_v
