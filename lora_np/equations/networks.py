"""Equations of small networks: neuron, dense layer, activations, loss, backward, the adapted layer.  Floor 0."""

from lora_np.equations._entry import table

_SEED = "LoRA: 0 to 100 (seed 004)"

EQUATIONS = table(
    (
        "net-neuron",
        r"y = w_1 \cdot x_1 + w_2 \cdot x_2 + w_3 \cdot x_3 + b",
        None,
        "A neuron weighs each of its inputs, adds them up, and adds its bias.",
        f"{_SEED}, Parameter Matrices",
    ),
    (
        "net-neuron-dot",
        r"y = \vec{w} \cdot \vec{x} + b",
        None,
        "The same neuron as one dot product of its weights with its inputs.",
        f"{_SEED}, Parameter Matrices",
    ),
    (
        "net-linear",
        r"Y = X W^\top + b",
        r"Y = X W + b",
        "All neurons of a layer at once, for all rows of a batch: one matrix product, and the bias on every row.",
        f"{_SEED}, Parameter Matrices",
    ),
    (
        "net-linear-matrix",
        r"Y = \begin{bmatrix} x_1 & x_2 & x_3 \end{bmatrix}"
        r"\begin{bmatrix} w_1 & w_2 & w_3 \\ \vdots & \vdots & \vdots \end{bmatrix}^\top"
        r" + \begin{bmatrix} b & \dots \end{bmatrix}",
        r"Y = \begin{bmatrix} x_1 & x_2 & x_3 \end{bmatrix}"
        r"\begin{bmatrix} w_1 & \dots \\ w_2 & \dots \\ w_3 & \dots \end{bmatrix}"
        r" + \begin{bmatrix} b & \dots \end{bmatrix}",
        "Each neuron's weights are one row of W here, and one column of the seed's W; each has one entry of b.",
        f"{_SEED}, Parameter Matrices",
    ),
    (
        "net-tanh",
        r"Y = \tanh(X W^\top + b)",
        r"Y = \tanh(X W + b)",
        "A function on every entry bends the layer's output, so that layers in a row are more than one layer.",
        f"{_SEED}, Parameter Matrices",
    ),
    (
        "net-relu",
        r"\operatorname{relu}(h) = \max(h, 0)",
        None,
        "What is positive passes; the rest becomes 0.",
        f"{_SEED}, Parameter Matrices (named there)",
    ),
    (
        "net-gelu",
        r"\operatorname{gelu}(h) = \tfrac{h}{2}\Big(1 + \tanh\big(\sqrt{2/\pi}\,(h + 0.044715\,h^3)\big)\Big)",
        None,
        "A smooth gate: h times an approximation by tanh of the normal distribution function at h.",
        "Hendrycks and Gimpel, GELU, arXiv 1606.08415, section 2 (the tanh form, which GPT-2 uses)",
    ),
    (
        "net-softmax",
        r"P_{nc} = \frac{e^{L_{nc} - m_n}}{\sum_{c'} e^{L_{nc'} - m_n}},\quad m_n = \max_c L_{nc}",
        None,
        "Logits become probabilities; subtracting the largest first changes nothing but keeps exp from overflowing.",
        "definition; the shift by m cancels",
    ),
    (
        "net-cross-entropy",
        r"\mathcal{L} = -\frac{1}{N}\sum_{n=1}^{N} \log P_{n,y_n},\qquad "
        r" \frac{\partial\mathcal{L}}{\partial L} = \frac{1}{N}\,(P - \mathrm{onehot}(y))",
        None,
        "The loss is the mean surprise at the true class; its gradient is probability minus truth, over N.",
        "definition, and the chain rule through softmax",
    ),
    (
        "net-squared-error",
        r"\mathcal{L} = \frac{1}{2N}\sum_{n=1}^{N} \lVert Y_n - T_n\rVert^2,\qquad "
        r" \frac{\partial\mathcal{L}}{\partial Y} = \frac{1}{N}\,(Y - T)",
        None,
        "The loss is half the mean squared distance from the targets; its gradient is the distance, over N.",
        "definition, and the chain rule",
    ),
    (
        "net-teacher",
        r"T = X\,(W_0 + \Delta W_\star)^\top + \nu\,E,\quad \operatorname{rank}\Delta W_\star = \rho,\quad "
        r"E_{nd} \sim \mathcal{N}(0, 1)",
        r"T = X\,(W_0 + \Delta W_\star) + \nu\,E,\quad \operatorname{rank}\Delta W_\star = \rho,\quad "
        r"E_{nd} \sim \mathcal{N}(0, 1)",
        "A teacher that differs from the frozen weight by a change of known rank makes the targets, with noise or "
        "without.",
        "definition (a teacher and a student)",
    ),
    (
        "net-backward",
        r"g_{X_\ell} = g_{H_\ell} W_\ell,\quad g_{W_\ell} = g_{H_\ell}^\top X_\ell,\quad "
        r" g_{b_\ell} = \sum_n (g_{H_\ell})_{n\cdot},\quad g_{H_{\ell-1}} = g_{X_\ell} \odot \sigma'(H_{\ell-1})",
        r"g_{X_\ell} = g_{H_\ell} W_\ell^\top,\quad g_{W_\ell} = X_\ell^\top g_{H_\ell},\quad "
        r" g_{b_\ell} = \sum_n (g_{H_\ell})_{n\cdot},\quad g_{H_{\ell-1}} = g_{X_\ell} \odot \sigma'(H_{\ell-1})",
        "Walk the layers back: each gives its parameters' gradient and hands the gradient of its input on.",
        f"chain rule on {_SEED}, Y = tanh(X W + b)",
    ),
    (
        "net-attention",
        r"P = \operatorname{softmax}\Big(\frac{Q K^\top}{\sqrt{d/h}}\Big),\quad Y = P\,V",
        None,
        "Every token asks (its row of Q) and every token answers (its row of K); the shares P say how much of whose "
        "value (row of V) it takes. Each of the h heads does so on its own d/h columns.",
        "Vaswani et al., Attention is all you need, arXiv 1706.03762, eq. 1 and section 3.2.2",
    ),
    (
        "net-attention-backward",
        r"g_V = P^\top g_Y,\quad g_P = g_Y V^\top,\quad "
        r"g_S = P \odot \big(g_P - \textstyle\sum_j g_P \odot P\big),\quad "
        r"g_Q = \frac{g_S K}{\sqrt{d/h}},\quad g_K = \frac{g_S^\top Q}{\sqrt{d/h}}",
        None,
        "The gradient of what was taken goes back to the values by the shares, and to queries and keys through the "
        "softmax.",
        "chain rule on net-attention, head by head",
    ),
    (
        "net-block",
        r"R = E + \operatorname{att}(E W_q^\top, E W_k^\top, E W_v^\top)\, W_o^\top,\quad "
        r" M = R + \operatorname{relu}(R W_1^\top)\, W_2^\top",
        r"R = E + \operatorname{att}(E W_q, E W_k, E W_v)\, W_o,\quad M = R + \operatorname{relu}(R W_1)\, W_2",
        "A block adds to every token first what it takes from the others, then what it makes of itself. Biases are "
        "left out here, not in the code.",
        "Vaswani et al., arXiv 1706.03762, section 3, one head or several, without layer normalization",
    ),
    (
        "net-block-backward",
        r"g_R = g_M + \overleftarrow{W_1}\big(\overleftarrow{W_2}(g_M)\big),\quad "
        r" g_E = g_R + \overleftarrow{W_q}(g_Q) + \overleftarrow{W_k}(g_K) + \overleftarrow{W_v}(g_V)",
        None,
        "A sum hands its gradient to both of its parts; an arrow pulls a gradient back through a layer.",
        "chain rule on net-block",
    ),
    (
        "net-mask",
        r"H = (X W_0^\top + s\,X A^\top B^\top + b) \odot m,\quad m \in \{0, 1\}^d",
        r"z = (x W_0 + s\,x A B + b) \odot M",
        "A pruned unit's output is multiplied by 0, the weight and its increment alike.",
        "Zhang et al., LoRAPrune, arXiv 2305.18403, eq. 13, with scale and bias",
    ),
    (
        "net-update",
        r"W' = W + \Delta W",
        None,
        "Every fine-tuned weight is the pre-trained weight plus what fine-tuning added.",
        f"{_SEED}, Key Insight",
    ),
    (
        "net-update-low-rank",
        r"W' = W + \Delta W = W + s\,B A",
        r"W' = W + \Delta W = W + M N",
        "LoRA's wager is that the update has low rank, so two thin factors hold it.",
        f"{_SEED}, Key Insight",
    ),
    (
        "net-lora",
        r"Y = X W^\top + b \ \to\ Y = X (W + \Delta W)^\top + b = X (W + s\,B A)^\top + b",
        r"Y = X W + b \ \to\ Y = X (W + \Delta W) + b = X (W + M N) + b",
        "The adapted layer is the layer with the updated weight.",
        f"{_SEED}, Key Insight",
    ),
    (
        "net-lora-distributed",
        r"Y = X W^\top + s\,(X A^\top) B^\top + b",
        r"Y = X W + X M N + b",
        "X distributes over the sum, so the pre-trained weight is never touched and the factors live beside it.",
        f"{_SEED}, Key Insight",
    ),
)
