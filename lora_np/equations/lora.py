"""Equations of the LoRA layer: both forms, scale, initialization, merge.  Floor 0."""

from lora_np.equations._entry import table

_MAO = "Lei Mao, LoRA and LoRAPrune (seed 000)"
_KEXUE = "kexue.fm 9590, LoRA from a gradient perspective (seed 001)"
_LORA = "Hu et al., LoRA, arXiv 2106.09685"

EQUATIONS = table(
    (
        "lora-delta",
        r"\Delta W = s\,B A,\quad B \in \mathbb{R}^{d \times r},\ A \in \mathbb{R}^{r \times k}",
        r"\Delta W = s\,A B,\quad A \in \mathbb{R}^{n \times r},\ B \in \mathbb{R}^{r \times m}",
        "The increment is the product of two thin factors, so its rank is at most r.",
        f"{_MAO}; {_LORA}, eq. 3",
    ),
    (
        "lora-weight",
        r"W = W_0 + s\,B A",
        r"W = W_0 + s\,A B",
        "The adapted weight is the frozen weight plus the low-rank increment.",
        f"{_KEXUE}, eq. 1",
    ),
    (
        "lora-fwd",
        r"h = (W_0 + \Delta W)\,x = W_0 x + s\,B A x = W_0 x + s\,B\,(A x)",
        r"y = x\,(W_0 + \Delta W) = x W_0 + s\,x A B = x W_0 + s\,(x A)\,B",
        "Apply the frozen weight and the increment; go through the narrow bottleneck first, so B A is never formed.",
        f"{_MAO}; {_LORA}, eq. 3",
    ),
    (
        "lora-z",
        r"Z = X A^\top \in \mathbb{R}^{N \times r}",
        r"Z = X A \in \mathbb{R}^{b \times r}",
        "The bottleneck: the only activation, besides X, that backward needs.",
        f"{_KEXUE}, after eq. 2",
    ),
    (
        "lora-1",
        r"Y = X W^\top = X\,(W_0 + s\,B A)^\top",
        r"Y = X W = X\,(W_0 + s\,A B)",
        "The naive form: build the adapted weight, then apply it.",
        f"{_KEXUE}, eq. lora-1",
    ),
    (
        "lora-2",
        r"Y = X W_0^\top + s\,(X A^\top) B^\top",
        r"Y = X W_0 + s\,(X A)\,B = X W_0 + s\,Z B",
        "The cheap form: two thin products beside the frozen one.",
        f"{_KEXUE}, eq. lora-2",
    ),
    (
        "lora-packed",
        r"Y = [\,X\ \ Z\,]\,[\,W_0\ \ s B\,]^\top,\quad g_X = [\,g_Y\ \ g_Z\,]"
        r"\begin{bmatrix} W_0 \\ A \end{bmatrix},\quad g_Z = g_Y\,(s B)",
        r"Y = [\,X\ \ Z\,]\begin{bmatrix} W_0 \\ s B \end{bmatrix},\quad "
        r" \frac{\partial\mathcal{L}}{\partial X} = [\,g_Y\ \ g_Z\,]\,[\,W_0\ \ A\,]^\top",
        "Write the factors beside and below the weight, and each pass adds the adapter's share inside one product.",
        "block form of kexue.fm 9590, eq. lora-2 (seed 001)",
    ),
    (
        "grad-1",
        r"g_W = g_Y^\top X,\quad g_A = s\,B^\top g_W,\quad g_B = s\,g_W A^\top",
        r"\frac{\partial\mathcal{L}}{\partial A} = s\,\Big(X^\top \frac{\partial\mathcal{L}}{\partial Y}\Big) B^\top,"
        r"\quad\frac{\partial\mathcal{L}}{\partial B}"
        r" = s\,A^\top \Big(X^\top\frac{\partial\mathcal{L}}{\partial Y}\Big)",
        "Backward of the naive form: form the full gradient of the weight, then project it onto each factor.",
        f"{_KEXUE}, eq. grad-1",
    ),
    (
        "grad-2",
        r"g_Z = s\,g_Y B,\quad g_A = g_Z^\top X,\quad g_B = s\,g_Y^\top Z",
        r"\frac{\partial\mathcal{L}}{\partial A} = X^\top \Big(s\,\frac{\partial\mathcal{L}}{\partial Y} B^\top\Big),"
        r"\quad\frac{\partial\mathcal{L}}{\partial B} = s\,Z^\top \frac{\partial\mathcal{L}}{\partial Y}",
        "Backward of the cheap form: go back through the bottleneck; no (d, k) array is made.",
        f"{_KEXUE}, eq. grad-2",
    ),
    (
        "lora-grad-b",
        r"\frac{\partial\mathcal{L}}{\partial B} = s\,\frac{\partial\mathcal{L}}{\partial h}\,(A x)^\top",
        r"\frac{\partial\mathcal{L}}{\partial B} = s\,(x A)^\top \frac{\partial\mathcal{L}}{\partial y}",
        "The gradient of B is the output gradient times the bottleneck.",
        _MAO,
    ),
    (
        "lora-grad-a",
        r"\frac{\partial\mathcal{L}}{\partial A} = s\,B^\top \frac{\partial\mathcal{L}}{\partial h}\,x^\top",
        r"\frac{\partial\mathcal{L}}{\partial A} = s\,x^\top \frac{\partial\mathcal{L}}{\partial y}\,B^\top",
        "The gradient of A is the output gradient pulled through B, times the input.",
        _MAO,
    ),
    (
        "lora-grad-x",
        r"g_X = g_Y W_0 + s\,(g_Y B)\,A",
        r"\frac{\partial\mathcal{L}}{\partial X} = \frac{\partial\mathcal{L}}{\partial Y} W_0^\top"
        r" + s\,\Big(\frac{\partial\mathcal{L}}{\partial Y} B^\top\Big) A^\top",
        "The gradient of the input passes through the frozen weight and through the bottleneck.",
        f"chain rule on {_KEXUE}, eq. lora-2",
    ),
    (
        "lora-grad-bias",
        r"g_b = \sum_{n=1}^{N} (g_Y)_{n\cdot}",
        None,
        "The gradient of the bias is the output gradient summed over the batch.",
        "chain rule on Y = X W^T + b (seed 004)",
    ),
    (
        "lora-scale",
        r"s = \alpha / r",
        None,
        "The increment is scaled by alpha over the rank.",
        f"{_LORA}, section 4.1",
    ),
    (
        "lora-scale-rs",
        r"s = \alpha / \sqrt{r}",
        None,
        "The rank-stabilized scale divides by the root of the rank, so that the output keeps its size as r grows.",
        "Kalajdzievski, rsLoRA, arXiv 2312.03732",
    ),
    (
        "lora-init",
        r"B_0 = 0,\quad A_0 \sim \mathcal{U}\big(\pm 1/\sqrt{k}\big)\ \text{or}\ \mathcal{N}(0, \sigma^2)",
        r"A_0 \sim \mathcal{U}\big(\pm 1/\sqrt{n}\big)\ \text{or}\ \mathcal{N}(0, \sigma^2),\quad B_0 = 0",
        "One factor starts at zero, so training starts at the frozen weight; the other is random, so it can leave it.",
        f"{_LORA}, section 4.1; loralib and PEFT for the uniform draw",
    ),
    (
        "lora-symmetric",
        r"W = W_0 - s\,B_0 A_0 + s\,B A",
        r"W = W_0 - s\,A_0 B_0 + s\,A B",
        "Subtract the starting product from the frozen weight, and both factors may start away from zero.",
        f"{_KEXUE}, eq. for non-zero A_0 and B_0",
    ),
    (
        "lora-merge",
        r"W = W_0 + \Delta W = W_0 + s\,B A",
        r"W = W_0 + \Delta W = W_0 + s\,A B",
        "After training, add the increment to the weight: inference then costs what it did before.",
        _MAO,
    ),
    (
        "lora-unmerge",
        r"W_0 = W - s\,B A",
        r"W_0 = W - s\,A B",
        "Subtract the increment again; rounding loses the last bits, so keep the weight where they matter.",
        f"{_LORA}, section 4.1",
    ),
)
