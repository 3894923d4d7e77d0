"""Equations of pruning: importance, its Taylor series, the gradients that feed it, schedule, masks.  Floor 0.

A bold product in the seed is the variable, a plain one its value; here the variable is V and the value is (BA)_S.
G is the loss's gradient with respect to the weight in use, W the weight in use unless the entry says W_0.
"""

from lora_np.equations._entry import table

_MAO = "Lei Mao, LoRA and LoRAPrune (seed 000)"
_PAPER = "Zhang et al., LoRAPrune, arXiv 2305.18403"
_CODE = "aim-uofa/LoRAPrune at 4da5272"
_OURS = "derived here"

EQUATIONS = table(
    # ---- what importance is ----
    (
        "prune-true",
        r"\mathcal{I}\big((BA)_{\mathcal{S}}\big) = \Big(\mathcal{L}(\mathcal{D}, BA)"
        r" - \mathcal{L}\big(\mathcal{D}, BA \,\big|\, (BA)_{\mathcal{S}} = -W_{0,\mathcal{S}}\big)\Big)^2",
        r"\mathcal{I}\big((AB)_{\mathcal{S}}\big) = \Big(\mathcal{L}(\mathcal{D}, AB)"
        r" - \mathcal{L}\big(\mathcal{D}, AB \,\big|\, (AB)_{\mathcal{S}} = -W_{0,\mathcal{S}}\big)\Big)^2",
        "A group is as important as the square of what removing it does to the loss; it is removed where the increment"
        " cancels the frozen weight.",
        f"{_MAO}; {_PAPER}, eq. 5",
    ),
    (
        "prune-f",
        r"f(V_{\mathcal{S}}) = \mathcal{L}(\mathcal{D}, BA) - \mathcal{L}(\mathcal{D}, BA \,|\, V_{\mathcal{S}})",
        r"f(V_{\mathcal{S}}) = \mathcal{L}(\mathcal{D}, AB) - \mathcal{L}(\mathcal{D}, AB \,|\, V_{\mathcal{S}})",
        "How much the loss falls when the group's part of the increment becomes V and the rest stays.",
        _MAO,
    ),
    (
        "prune-f-removed",
        r"f(-W_{0,\mathcal{S}}) = \mathcal{L}(\mathcal{D}, BA)"
        r" - \mathcal{L}\big(\mathcal{D}, BA \,\big|\, (BA)_{\mathcal{S}} = -W_{0,\mathcal{S}}\big)",
        r"f(-W_{0,\mathcal{S}}) = \mathcal{L}(\mathcal{D}, AB)"
        r" - \mathcal{L}\big(\mathcal{D}, AB \,\big|\, (AB)_{\mathcal{S}} = -W_{0,\mathcal{S}}\big)",
        "Removal is one value of f: the increment cancels the frozen weight, and the group's weight is zero.",
        _MAO,
    ),
    # ---- its Taylor series ----
    (
        "prune-taylor",
        r"f(V_{\mathcal{S}}) = f\big((BA)_{\mathcal{S}}\big)"
        r" + \nabla f\big((BA)_{\mathcal{S}}\big) \cdot \big(V_{\mathcal{S}} - (BA)_{\mathcal{S}}\big)"
        r" + \tfrac12 \big(V_{\mathcal{S}} - (BA)_{\mathcal{S}}\big)^\top"
        r" \nabla^2 f\big((BA)_{\mathcal{S}}\big) \big(V_{\mathcal{S}} - (BA)_{\mathcal{S}}\big) + \cdots",
        r"f(V_{\mathcal{S}}) = f\big((AB)_{\mathcal{S}}\big)"
        r" + \nabla f\big((AB)_{\mathcal{S}}\big) \cdot \big(V_{\mathcal{S}} - (AB)_{\mathcal{S}}\big)"
        r" + \tfrac12 \big(V_{\mathcal{S}} - (AB)_{\mathcal{S}}\big)^\top"
        r" \nabla^2 f\big((AB)_{\mathcal{S}}\big) \big(V_{\mathcal{S}} - (AB)_{\mathcal{S}}\big) + \cdots",
        "The Taylor series of f around the increment as it is.",
        _MAO,
    ),
    (
        "prune-taylor-zero",
        r"f\big((BA)_{\mathcal{S}}\big) = 0 \;\Rightarrow\; f(V_{\mathcal{S}})"
        r" = \nabla f \cdot \big(V_{\mathcal{S}} - (BA)_{\mathcal{S}}\big)"
        r" + \tfrac12 \big(V_{\mathcal{S}} - (BA)_{\mathcal{S}}\big)^\top"
        r" \nabla^2 f \, \big(V_{\mathcal{S}} - (BA)_{\mathcal{S}}\big) + \cdots",
        r"f\big((AB)_{\mathcal{S}}\big) = 0 \;\Rightarrow\; f(V_{\mathcal{S}})"
        r" = \nabla f \cdot \big(V_{\mathcal{S}} - (AB)_{\mathcal{S}}\big)"
        r" + \tfrac12 \big(V_{\mathcal{S}} - (AB)_{\mathcal{S}}\big)^\top"
        r" \nabla^2 f \, \big(V_{\mathcal{S}} - (AB)_{\mathcal{S}}\big) + \cdots",
        "Where nothing is changed the loss does not change, so the series has no constant term.",
        _MAO,
    ),
    (
        "prune-taylor-removed",
        r"f(-W_{0,\mathcal{S}}) = \nabla f \cdot \big(-W_{0,\mathcal{S}} - (BA)_{\mathcal{S}}\big)"
        r" + \tfrac12 \big(-W_{0,\mathcal{S}} - (BA)_{\mathcal{S}}\big)^\top"
        r" \nabla^2 f \, \big(-W_{0,\mathcal{S}} - (BA)_{\mathcal{S}}\big) + \cdots",
        r"f(-W_{0,\mathcal{S}}) = \nabla f \cdot \big(-W_{0,\mathcal{S}} - (AB)_{\mathcal{S}}\big)"
        r" + \tfrac12 \big(-W_{0,\mathcal{S}} - (AB)_{\mathcal{S}}\big)^\top"
        r" \nabla^2 f \, \big(-W_{0,\mathcal{S}} - (AB)_{\mathcal{S}}\big) + \cdots",
        "The series at removal: the step is minus the whole weight of the group.",
        _MAO,
    ),
    (
        "prune-grad-sign",
        r"\nabla f\big((BA)_{\mathcal{S}}\big) "
        r" = -\nabla\mathcal{L}\big(\mathcal{D}, BA \,\big|\, (BA)_{\mathcal{S}}\big)",
        r"\nabla f\big((AB)_{\mathcal{S}}\big) "
        r" = -\nabla\mathcal{L}\big(\mathcal{D}, AB \,\big|\, (AB)_{\mathcal{S}}\big)",
        "The gradient of f is minus the loss's gradient, which backward has computed already.",
        _MAO,
    ),
    (
        "prune-taylor-1",
        r"f(-W_{0,\mathcal{S}}) \approx \nabla\mathcal{L} \cdot \big(W_{0,\mathcal{S}} + (BA)_{\mathcal{S}}\big)"
        r" = \sum_{(i,j) \in \mathcal{S}} G_{ij} W_{ij}",
        r"f(-W_{0,\mathcal{S}}) \approx \nabla\mathcal{L} \cdot \big(W_{0,\mathcal{S}} + (AB)_{\mathcal{S}}\big)"
        r" = \sum_{(i,j) \in \mathcal{S}} G_{ij} W_{ij}",
        "To first order, removing a group lowers the loss by the inner product of its gradient and its weight. The"
        " seed prints the opposite sign, against its own gradient of f; the square hides it.",
        f"{_MAO}, sign corrected",
    ),
    (
        "prune-taylor-2",
        r"f(-W_{0,\mathcal{S}}) = G_{\mathcal{S}} \cdot W_{\mathcal{S}}"
        r" - \tfrac12\, W_{\mathcal{S}}^\top H\, W_{\mathcal{S}} + O\big(\|W_{\mathcal{S}}\|^3\big),"
        r"\quad W = W_0 + BA",
        r"f(-W_{0,\mathcal{S}}) = G_{\mathcal{S}} \cdot W_{\mathcal{S}}"
        r" - \tfrac12\, W_{\mathcal{S}}^\top H\, W_{\mathcal{S}} + O\big(\|W_{\mathcal{S}}\|^3\big),"
        r"\quad W = W_0 + AB",
        "The first two terms together: exact where the loss is quadratic in the weight.",
        f"{_OURS}, from {_MAO}",
    ),
    (
        "prune-importance",
        r"\mathcal{I}_{\mathcal{S}} \approx \Big(\nabla\mathcal{L}\cdot"
        r"\big(W_{0,\mathcal{S}} + (BA)_{\mathcal{S}}\big)\Big)^2",
        r"\mathcal{I}_{\mathcal{S}} \approx \Big(\nabla\mathcal{L}\cdot"
        r"\big(W_{0,\mathcal{S}} + (AB)_{\mathcal{S}}\big)\Big)^2",
        "Importance to first order is the square of one inner product over the whole group.",
        _MAO,
    ),
    (
        "prune-weightwise",
        r"\hat{\mathcal{I}}_{ij} = \Big(\tfrac{\partial\mathcal{L}}{\partial (BA)_{ij}}"
        r"\,\big((BA)_{ij} + W_{0,ij}\big)\Big)^2",
        r"\hat{\mathcal{I}}_{ij} = \Big(\tfrac{\partial\mathcal{L}}{\partial (AB)_{ij}}"
        r"\,\big((AB)_{ij} + W_{0,ij}\big)\Big)^2",
        "The first-order importance of a weight that leaves alone.",
        f"{_PAPER}, eqs. 3 and 6",
    ),
    (
        "prune-group-sum",
        r"\hat{\mathcal{G}} = \sum_{(i,j) \in \mathcal{S}} \hat{\mathcal{I}}_{ij}",
        None,
        "LoRAPrune adds up the squares of a group's weights, where the first-order term squares their sum.",
        f"{_PAPER}, eq. 4",
    ),
    # ---- the gradient ----
    (
        "prune-fwd-ba",
        r"h = (W_0 + \Delta W)\,x = (W_0 + BA)\,x = W_0 x + BA x = W_0 x + (BA)\,x",
        r"y = x\,(W_0 + \Delta W) = x\,(W_0 + AB) = x W_0 + x A B = x W_0 + x\,(AB)",
        "Read the forward pass as if B A had been computed: then B A has a gradient of its own.",
        _MAO,
    ),
    (
        "prune-exact",
        r"\nabla\mathcal{L}\big|_{(BA)_{\mathcal{S}}} = \Big(\tfrac{\partial\mathcal{L}}{\partial h}\, x^\top\Big)"
        r"_{\mathcal{S}}"
        r" = \Big(\tfrac{\partial\mathcal{L}}{\partial h}\Big)_{\mathcal{S}} \big(x^\top\big)_{\mathcal{S}},"
        r"\qquad G = g_Y^\top X",
        r"\nabla\mathcal{L}\big|_{(AB)_{\mathcal{S}}} = \Big(x^\top \tfrac{\partial\mathcal{L}}{\partial y}\Big)"
        r"_{\mathcal{S}} = \big(x^\top\big)_{\mathcal{S}}"
        r" \Big(\tfrac{\partial\mathcal{L}}{\partial y}\Big)_{\mathcal{S}},"
        r"\qquad G = X^\top g_Y",
        "The exact gradient of a group is a product of parts of two arrays that backward has at hand.",
        _MAO,
    ),
    (
        "prune-estimate",
        r"\hat G = g_B A + B g_A - g_B g_A",
        r"\hat G = g_A B + A g_B - g_A g_B",
        "LoRAPrune estimates the gradient from those of the two factors.",
        f"{_PAPER}, eq. 10",
    ),
    (
        "prune-estimate-sgd",
        r"\tfrac1\eta\big[BA - (B - \eta g_B)(A - \eta g_A)\big] = g_B A + B g_A - \eta\, g_B g_A",
        r"\tfrac1\eta\big[AB - (A - \eta g_A)(B - \eta g_B)\big] = g_A B + A g_B - \eta\, g_A g_B",
        "The estimate is what one step of SGD on the factors does to their product, per unit of learning rate;"
        " LoRAPrune sets the rate to 1.",
        f"{_PAPER}, eqs. 7 to 10",
    ),
    (
        "prune-projected",
        r"g_B A + B g_A = s\,\big(G A^\top A + B B^\top G\big)",
        r"g_A B + A g_B = s\,\big(G B^\top B + A A^\top G\big)",
        "The linear part of the estimate is the true gradient seen through the factors: a projection of it.",
        f"{_OURS}, from grad-1",
    ),
    (
        "prune-previous-step",
        r"\hat G = \tfrac{s}{\eta}\big(B_{t-1} A_{t-1} - B_t A_t\big)",
        r"\hat G = \tfrac{s}{\eta}\big(A_{t-1} B_{t-1} - A_t B_t\big)",
        "Keep the factors of the last step: how far their product moved, per unit of learning rate.",
        f"{_MAO}, last remark; {_PAPER}, eq. 7",
    ),
    (
        "prune-group-dot",
        r"\sum_j G_{ij} W_{ij} = \sum_n (g_Y)_{ni} (Y - b)_{ni},"
        r"\qquad \sum_i G_{ij} W_{ij} = \sum_n X_{nj} (g_Y W)_{nj} = \sum_n X_{nj} (g_X)_{nj}",
        r"\sum_i G_{ij} W_{ij} = \sum_n (g_Y)_{nj} (Y - b)_{nj},"
        r"\qquad \sum_j G_{ij} W_{ij} = \sum_n X_{ni} (g_Y W^\top)_{ni} = \sum_n X_{ni} (g_X)_{ni}",
        "The first-order term of an output or an input is an inner product of activations and their gradients.",
        f"{_OURS}, from prune-exact",
    ),
    # ---- deciding and removing ----
    (
        "prune-ema",
        r"\bar{\mathcal{G}}_t = \lambda\,\bar{\mathcal{G}}_{t-1} + (1 - \lambda)\,\hat{\mathcal{G}}_t,"
        r"\qquad \bar{\mathcal{G}}_0 = 0",
        None,
        "Scores of single batches are noisy, so their running average decides.",
        f"{_PAPER}, eq. 11; {_CODE} for the start at zero and the weight 0.9",
    ),
    (
        "prune-mask",
        r"M_g = \mathbb{1}\big[\bar{\mathcal{G}}_g > p\big],\qquad M_{t+1} \le M_t",
        None,
        "Keep the groups that score above a threshold, set so that the wanted number goes; what is gone stays gone.",
        f"{_PAPER}, eq. 12",
    ),
    (
        "prune-masked-fwd",
        r"z = (W_0 x + B A x) \odot M",
        r"z = (x W_0 + x A B) \odot M",
        "One mask silences an output of the frozen weight and of the increment together.",
        f"{_PAPER}, eq. 13",
    ),
    (
        "prune-cubic",
        r"s_t = s_f + (s_i - s_f)\Big(1 - \frac{t - w T}{T - (w + c)\,T}\Big)^3,\qquad w T \le t \le (1 - c)\,T",
        None,
        "Prune fast at first, while there is time to recover, and gently at the end.",
        f"{_CODE}; Zhu and Gupta, arXiv 1710.01878",
    ),
    (
        "prune-shrink",
        r"W_2\,\mathrm{diag}(M)\,\sigma(W_1 x) = (W_2)_{\cdot K}\;\sigma\big((W_1)_{K\cdot}\,x\big),"
        r"\qquad K = \{g : M_g = 1\}",
        r"\sigma(x W_1)\,\mathrm{diag}(M)\,W_2 = \sigma\big(x\,(W_1)_{\cdot K}\big)\,(W_2)_{K\cdot},"
        r"\qquad K = \{g : M_g = 1\}",
        "Taking a channel away, its row where it is made and its column where it is used, equals masking it.",
        _OURS,
    ),
    (
        "prune-released",
        r"\sigma_g = \sum_{(i,j) \in g} \big|(g_B A + B g_A - g_B g_A)_{ij}\,(W_0 + s\,BA)_{ij}\big|,"
        r"\qquad \hat{\mathcal{G}} = \sum_{\text{modules}} \sigma \,/\, \big(\|\sigma\|_2 + 10^{-8}\big)",
        r"\sigma_g = \sum_{(i,j) \in g} \big|(g_A B + A g_B - g_A g_B)_{ij}\,(W_0 + s\,AB)_{ij}\big|,"
        r"\qquad \hat{\mathcal{G}} = \sum_{\text{modules}} \sigma \,/\, \big(\|\sigma\|_2 + 10^{-8}\big)",
        "The released program adds up absolute values, scales each module's scores to norm one, and leaves the scale"
        " out of the gradient.",
        _CODE,
    ),
)
