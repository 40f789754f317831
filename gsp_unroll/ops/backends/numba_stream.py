"""Stores of large results that go past the caches.

A store to memory that is not in the cache reads its line first. For a result that is too large to
stay in the cache and written only once, that is a third of all traffic, which non-temporal stores
do without. They take whole cache lines: a row is made in a line of its own, then stored.

Other threads see such stores in order only after a locked instruction or a fence. Each range of a
loop ends with one, as the thread takes Python's lock again.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from gsp_unroll.ops.backends.numba_rows import inner

# Bytes of a result from which on it is not kept in the cache: the last-level caches of common CPUs
# have about as many. Smaller ones are soon read again.
LARGE = 1 << 25
# Bytes of a cache line.
_LINE = 64


@inner
def streams(out):
    """Whether ``out [..., width]`` is large and all of its rows begin at a cache line."""
    row = out.shape[out.ndim - 1] * out.itemsize
    return out.nbytes >= LARGE and row % _LINE == 0 and out.ctypes.data % _LINE == 0


def stream(y, i, x):
    """``y[i + j] = x[j]`` for all of ``x``: whole cache lines, from the begin of one on."""
    y[i : i + x.shape[0]] = x


@intrinsic
def _store_line(typing: Any, y: Any, i: Any, x: Any, j: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_data_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(number)
        line = ir.VectorType(number, _LINE // size).as_pointer()

        def at(position: int) -> Any:
            array = context.make_array(signature.args[position])(
                context, builder, arguments[position]
            )
            return builder.bitcast(builder.gep(array.data, [arguments[position + 1]]), line)

        store = builder.store(builder.load(at(2), align=size), at(0), align=_LINE)
        mark = builder.module.add_metadata([ir.IntType(32)(1)])
        store.set_metadata("nontemporal", mark)
        return context.get_dummy_value()

    return types.void(y, i, x, j), codegen


@overload(stream)
def _compiled(y, i, x):
    def stream_lines(y, i, x):
        for j in range(0, x.shape[0], _LINE // x.itemsize):
            _store_line(y, i + j, x, j)

    return stream_lines
