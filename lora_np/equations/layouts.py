"""Equations of LoRA on other layouts of a weight: transposed, embedding, stacked, convolution.  Floor 0."""

from lora_np.equations._entry import table

_LORALIB = "Hu et al., LoRA, arXiv 2106.09685, as its released code loralib has it"

EQUATIONS = table(
    (
        "layout-transposed",
        r"Y = X W_0 + s\,(X A^\top) B^\top, \qquad W = W_0 + s\,(B A)^\top",
        None,
        "A weight stored (k, d) gets the transposed increment; the factors stay as they are.",
        _LORALIB,
    ),
    (
        "layout-embedding",
        r"Y_n = E_{t_n} + s\, B A_{:, t_n}, \qquad W = E + s\,(B A)^\top",
        None,
        "Every token has a row of the table and a column of A, which B turns into an increment of the row.",
        _LORALIB,
    ),
    (
        "layout-embedding-grad",
        r"g_B = s\, g_Y^\top Z, \qquad g_{A_{:, t}} = s \sum_{n : t_n = t} B^\top g_{Y_n}, \qquad "
        r" g_{A_{:, padding}} = 0",
        None,
        "A token's column gathers what its occurrences say; the padding token's column is not trained.",
        "the chain rule through the look-up",
    ),
    (
        "layout-qkv",
        r"W_i = W_{0,i} + s\, B_i A_i \text{ where enabled}, \qquad W_i = W_{0,i} \text{ elsewhere}",
        None,
        "Of several weights stacked in one, each that is enabled has a pair of its own.",
        _LORALIB,
    ),
    (
        "layout-qkv-grad",
        r"g_{B_i} = s\, g_{Y_i}^\top Z_i, \qquad g_{A_i} = s\,(g_{Y_i} B_i)^\top X",
        None,
        "A pair learns from its own part of the output.",
        "the chain rule, part by part",
    ),
    (
        "layout-conv",
        r"Y = W_0 * X + s\, B *_{1 \times 1} (A * X)",
        None,
        "A kernel with r outputs, then a 1 x 1 kernel: the bottleneck of a convolution.",
        "PEFT, LoRA on Conv2d",
    ),
    (
        "layout-conv-grad",
        r"g_Z = s\, B^\top g_Y, \quad g_B = s \sum g_Y Z^\top, \quad g_A = \sum g_Z\, \mathrm{windows}(X)^\top, \quad "
        r" g_X = W_0^\top * g_Y + A^\top * g_Z",
        None,
        "Each window of the input is a row of a plain layer; its gradient is added back where it was read.",
        "the chain rule through the convolutions",
    ),
    (
        "layout-conv-merge",
        r"W_{o, c, i, j} = W_{0; o, c, i, j} + s \sum_q B_{o, q} A_{q, c, i, j}",
        None,
        "The two small kernels are one kernel: a product of matrices over the bottleneck.",
        "the convolution of kernels, one of them 1 x 1",
    ),
    (
        "layout-conv-reshaped",
        r"W = W_0 + s\, \operatorname{reshape}(B A), \quad B \in \mathbb R^{(d / g) k_h \times r k_h}, \;"
        r" A \in \mathbb R^{r k_h \times k k_h}",
        None,
        "A product of two matrices with as many numbers as the kernel, read as the kernel, row by row.",
        _LORALIB,
    ),
    (
        "count-layout",
        r"r (V + d), \quad r n_{on} (k + d / n), \quad r\, k\, k_h k_w + d\, r / g, \quad r\, k_h^2 (k + d / g)",
        None,
        "What LoRA trains beside a table of V rows, n stacked weights, and a kernel in g groups, factored both ways.",
        "the shapes of the factors",
    ),
)
