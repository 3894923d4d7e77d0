"""Equations of the gradient view: LoRA as an optimizer, its effective update, random and additive forms.  Floor 0."""

from lora_np.equations._entry import table

_KEXUE = "kexue.fm 9590, LoRA from a gradient perspective (seed 001)"

EQUATIONS = table(
    (
        "view-sgd",
        r"A_{t+1} = A_t - \eta\,s\,B_t^\top g_{W_t},\quad B_{t+1} = B_t - \eta\,s\,g_{W_t} A_t^\top",
        r"A_{t+1} = A_t - \eta\,s\,\frac{\partial\mathcal{L}}{\partial W_t} B_t^\top,\quad "
        r"B_{t+1} = B_t - \eta\,s\,A_t^\top\frac{\partial\mathcal{L}}{\partial W_t}",
        "LoRA as an optimizer: project the weight's full gradient onto each factor, and step the factors.",
        f"{_KEXUE}, Optimization Perspective, first line of the SGD updates",
    ),
    (
        "view-weight-step",
        r"W_{t+1} = W_0 + s\,B_{t+1} A_{t+1} = W_t + s\,(B_{t+1} A_{t+1} - B_t A_t)",
        r"W_{t+1} = W_0 + s\,A_{t+1} B_{t+1} = W_t + s\,(A_{t+1} B_{t+1} - A_t B_t)",
        "The weight moves by the change of the increment; the changes telescope over the steps.",
        f"{_KEXUE}, Optimization Perspective, second line of the SGD updates",
    ),
    (
        "view-adam",
        r"(B_{t+1}, A_{t+1}) = \mathrm{Adam}\big((B_t, A_t),\ (s\,g_{W_t} A_t^\top,\ s\,B_t^\top g_{W_t})\big)",
        r"(A_{t+1}, B_{t+1}) = \mathrm{Adam}\Big((A_t, B_t),\ \big(s\,\tfrac{\partial\mathcal{L}}{\partial W_t}"
        r" B_t^\top,\ s\,A_t^\top\tfrac{\partial\mathcal{L}}{\partial W_t}\big)\Big)",
        "An optimizer with moving averages keeps them of the projected gradients: 2 r (d + k) numbers, not 2 d k.",
        f"{_KEXUE}, Optimization Perspective, in words",
    ),
    (
        "view-update",
        r"s\,(B_{t+1}A_{t+1} - B_tA_t) = -\eta s^2\,(g_W A^\top A + B B^\top g_W) + \eta^2 s^3\,g_W A^\top B^\top g_W",
        r"s\,(A_{t+1}B_{t+1} - A_tB_t) = -\eta s^2\Big(\frac{\partial\mathcal{L}}{\partial W_t} B_t^\top B_t"
        r" + A_t A_t^\top\frac{\partial\mathcal{L}}{\partial W_t}\Big)"
        r" + \eta^2 s^3\,\frac{\partial\mathcal{L}}{\partial W_t} B_t^\top A_t^\top"
        r"\frac{\partial\mathcal{L}}{\partial W_t}",
        "What one SGD step on both factors does to the weight: an identity, with a term of second order in the rate.",
        f"{_KEXUE}, Random Projection, the expanded update; the powers of s follow from W = W_0 + s B A",
    ),
    (
        "view-first-order",
        r"-\eta s^2\,(g_W A^\top A + B B^\top g_W)",
        r"-\eta s^2\Big(\frac{\partial\mathcal{L}}{\partial W_t} B_t^\top B_t"
        r" + A_t A_t^\top\frac{\partial\mathcal{L}}{\partial W_t}\Big)",
        "To first order in the rate, LoRA replaces the full gradient by its projections onto the rows of A and the "
        "columns of B.",
        f"{_KEXUE}, Random Projection, after dropping the term in the squared rate",
    ),
    (
        "view-projected",
        r"g_B A + B\,g_A = s\,(g_W A^\top A + B B^\top g_W)",
        r"A\,g_B + g_A B = s\,\Big(A A^\top\frac{\partial\mathcal{L}}{\partial W}"
        r" + \frac{\partial\mathcal{L}}{\partial W} B^\top B\Big)",
        "The factors' own gradients know the effective gradient: no full gradient is needed to see it.",
        f"product rule on W = W_0 + s B A with {_KEXUE}, eq. grad-1; the first two terms of LoRAPrune's estimate",
    ),
    (
        "view-random",
        r"-\eta\,(g_W u u^\top + v^\top v\,g_W),\quad u \in \mathbb{R}^{k \times 1},\ v \in \mathbb{R}^{1 \times d},"
        r"\ u, v \sim \mathcal{N}(0, 1)",
        r"-\eta\Big(\frac{\partial\mathcal{L}}{\partial W_t} v^\top v + u u^\top"
        r"\frac{\partial\mathcal{L}}{\partial W_t}\Big),\quad "
        r"u \in \mathbb{R}^{n \times 1},\ v \in \mathbb{R}^{1 \times m},\ u, v \sim \mathcal{N}(0, 1)",
        "Rank-1 factors drawn afresh at every step, A = u^T and B = v^T here: each step changes the weight by rank 2 "
        "at most.",
        f"{_KEXUE}, Random Projection, the update with u and v",
    ),
    (
        "view-random-identity",
        r"\mathbb{E}[u u^\top] = I_{k \times k},\quad \mathbb{E}[v^\top v] = I_{d \times d}",
        r"\mathbb{E}[u u^\top] = I_{n \times n},\quad \mathbb{E}[v^\top v] = I_{m \times m}",
        "Independent entries of mean 0 and variance 1 make projections that are the identity on average; random signs "
        "do as well as Gaussians.",
        f"{_KEXUE}, Random Projection, the expectations",
    ),
    (
        "view-random-mean",
        r"\mathbb{E}\big[-\eta\,(g_W A^\top A + B B^\top g_W)\big] = -2r\,\eta\,g_W",
        r"\mathbb{E}\Big[-\eta\Big(\frac{\partial\mathcal{L}}{\partial W} B^\top B"
        r" + A A^\top\frac{\partial\mathcal{L}}{\partial W}\Big)\Big]"
        r" = -2r\,\eta\,\frac{\partial\mathcal{L}}{\partial W}",
        "On average this is full-rank SGD with 2r times the rate: both terms give the whole gradient. The source says "
        "only that it is equivalent to full-rank SGD; the factor, 2 at r = 1, is ours.",
        f"from {_KEXUE}, the expectations",
    ),
    (
        "additive-weight",
        r"W = W_0 + s\,(B\,\mathbf{1}_{1 \times k} + \mathbf{1}_{d \times 1}\,A),\quad "
        r"B \in \mathbb{R}^{d \times 1},\ A \in \mathbb{R}^{1 \times k}",
        r"W = W_0 + s\,(A\,\mathbf{1}_{1 \times m} + \mathbf{1}_{n \times 1}\,B),\quad "
        r"A \in \mathbb{R}^{n \times 1},\ B \in \mathbb{R}^{1 \times m}",
        "Sum instead of product: every entry gets one number of its row and one of its column, and the increment may "
        "have rank 2.",
        f"{_KEXUE}, A Variant, r = 1",
    ),
    (
        "additive-grad",
        r"g_B = s\,g_W\,\mathbf{1}_{k \times 1},\quad g_A = s\,\mathbf{1}_{1 \times d}\,g_W",
        r"\frac{\partial\mathcal{L}}{\partial A} ="
        r" s\,\frac{\partial\mathcal{L}}{\partial W}\mathbf{1}_{m \times 1},\quad "
        r"\frac{\partial\mathcal{L}}{\partial B} = s\,\mathbf{1}_{1 \times n}\frac{\partial\mathcal{L}}{\partial W}",
        "The gradients are the sums of the rows and of the columns of the full gradient.",
        f"{_KEXUE}, A Variant, the gradients for r = 1",
    ),
    (
        "additive-blocks",
        r"W = W_0 + s\,(B\,I_{r(1 \times k/r)} + I_{r(d/r \times 1)}\,A),\quad "
        r"B \in \mathbb{R}^{d \times r},\ A \in \mathbb{R}^{r \times k}",
        r"W = W_0 + s\,(A\,I_{r(1 \times m/r)} + I_{r(n/r \times 1)}\,B),\quad "
        r"A \in \mathbb{R}^{n \times r},\ B \in \mathbb{R}^{r \times m}",
        "The same for r > 1: rows of r by r identity blocks take the place of the ones; r must divide both sizes.",
        f"{_KEXUE}, A Variant, r > 1",
    ),
    (
        "additive-blocks-grad",
        r"g_B = s\,g_W\,I_{r(1 \times k/r)}^\top,\quad g_A = s\,I_{r(d/r \times 1)}^\top\,g_W",
        r"\frac{\partial\mathcal{L}}{\partial A} ="
        r" s\,\frac{\partial\mathcal{L}}{\partial W} I_{r(1 \times m/r)}^\top,\quad "
        r"\frac{\partial\mathcal{L}}{\partial B} = s\,I_{r(n/r \times 1)}^\top\frac{\partial\mathcal{L}}{\partial W}",
        "The gradients are sums of the full gradient over blocks of columns and over blocks of rows.",
        f"chain rule on {_KEXUE}, A Variant, r > 1",
    ),
    (
        "additive-gauge",
        r"(B,\ A) \to (B + I_{r(d/r \times 1)}\,C,\ A - C\,I_{r(1 \times k/r)}),\quad C \in \mathbb{R}^{r \times r}",
        r"(A,\ B) \to (A + I_{r(n/r \times 1)}\,C,\ B - C\,I_{r(1 \times m/r)}),\quad C \in \mathbb{R}^{r \times r}",
        "A constant may move from one factor to the other and the weight stays, so r squared of the numbers are free.",
        f"from {_KEXUE}, A Variant",
    ),
)
