"""Learn graphs from signals."""

from gsp_unroll.graph_learning.f_score import f_score
from gsp_unroll.graph_learning.half_vector import from_matrix, to_edge_index, to_matrix
from gsp_unroll.graph_learning.inpainting_driven import InpaintingDrivenGraph
from gsp_unroll.graph_learning.inpainting_driven_network import (
    INPAINTING_DRIVEN_PUBLISHED,
    InpaintingDrivenConfig,
    InpaintingDrivenNetwork,
    InpaintingDrivenOutput,
)
from gsp_unroll.graph_learning.joint_inpainting import inpaint
from gsp_unroll.graph_learning.l2g import L2G, l2g_loss, unrolling_loss
from gsp_unroll.graph_learning.l2g_config import (
    FitConfig,
    GraphsConfig,
    L2GConfig,
    L2GModelConfig,
    Pairs,
)
from gsp_unroll.graph_learning.metrics import edge_auc, edge_average_precision, gmse
from gsp_unroll.graph_learning.nearest_rows import nearest_rows
from gsp_unroll.graph_learning.pds import pds_step, safe_step, solve_pds
from gsp_unroll.graph_learning.smoothness import pairwise_distances
from gsp_unroll.graph_learning.topology_vae import GraphEncoder, Refined, TopologyVAE
from gsp_unroll.graph_learning.train_l2g import (
    Epoch,
    estimate_topologies,
    fit_topologies,
    load_topology_network,
    save_topology_network,
)
from gsp_unroll.graph_learning.tune import Tuned, tune_pds
from gsp_unroll.graph_learning.unrolled_pds import UnrolledPDS

__all__ = [
    "INPAINTING_DRIVEN_PUBLISHED",
    "L2G",
    "Epoch",
    "FitConfig",
    "GraphEncoder",
    "GraphsConfig",
    "InpaintingDrivenConfig",
    "InpaintingDrivenGraph",
    "InpaintingDrivenNetwork",
    "InpaintingDrivenOutput",
    "L2GConfig",
    "L2GModelConfig",
    "Pairs",
    "Refined",
    "TopologyVAE",
    "Tuned",
    "UnrolledPDS",
    "edge_auc",
    "edge_average_precision",
    "estimate_topologies",
    "f_score",
    "fit_topologies",
    "from_matrix",
    "gmse",
    "inpaint",
    "l2g_loss",
    "load_topology_network",
    "nearest_rows",
    "pairwise_distances",
    "pds_step",
    "safe_step",
    "save_topology_network",
    "solve_pds",
    "to_edge_index",
    "to_matrix",
    "tune_pds",
    "unrolling_loss",
]
