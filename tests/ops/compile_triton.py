"""Compile every Triton kernel to machine code of a Hopper GPU, which needs no GPU.

Run by ``test_backends_triton.py`` in a process of its own, where kernels are not interpreted.
"""

from types import ModuleType

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gsp_unroll.ops.backends import triton_graph, triton_grid

TARGET = GPUTarget("cuda", 90, 32)
INDICES = {"indptr", "row_node", "neighbours", "codes", "u", "v"}
CONSTANTS = {
    triton_grid: {"WINDOW": 3, "ROWS": 1, "STRIPS": 2, "COLUMNS": 64, "CHANNELS": 2},
    triton_graph: {"ROWS": 32, "NEIGHBOURS": 16, "EDGES": 256, "CHANNELS": 2},
}
VARIANTS = {"NORM": ("softmax", "symmetric", "directed"), "ON_EDGES": (False, True)}


def compile_all(module: ModuleType) -> None:
    for name, kernel in vars(module).items():
        # Those with sizes are launched, the others are their parts.
        if not (isinstance(kernel, triton.JITFunction) and kernel.do_not_specialize):
            continue
        constants = {p.name for p in kernel.params if p.is_constexpr}
        values = {c: CONSTANTS[module][c] for c in constants if c in CONSTANTS[module]}
        varied = next((c for c in VARIANTS if c in constants), None)
        for value in VARIANTS.get(varied, (None,)):
            if varied is not None:
                values[varied] = value
            signature = {p: kind(p, constants, kernel.do_not_specialize) for p in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs=values)
            options = {"num_warps": 4, "enable_fp_fusion": True}
            compiled = triton.compile(source, target=TARGET, options=options)
            assert compiled.asm["cubin"]
            print(f"{module.__name__}.{name}")


def kind(argument: str, constants: set[str], sizes: list[str]) -> str:
    if argument in constants:
        return "constexpr"
    return "i32" if argument in sizes else "*i32" if argument in INDICES else "*fp32"


for module in CONSTANTS:
    compile_all(module)
