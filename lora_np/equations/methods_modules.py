"""Equations of the modules: bottleneck adapters, prefix tuning, prompt tuning.  Floor 0."""

from lora_np.equations._entry import table

_HOULSBY = "Houlsby et al., Parameter-Efficient Transfer Learning for NLP, arXiv 1902.00751"
_PFEIFFER = "Pfeiffer et al., AdapterFusion, arXiv 2005.00247"
_PREFIX = "Li and Liang, Prefix-Tuning, arXiv 2101.00190"
_PROMPT = "Lester et al., The Power of Scale for Parameter-Efficient Prompt Tuning, arXiv 2104.08691"

EQUATIONS = table(
    (
        "adapter-bottleneck",
        r"Y = X + f(U)\, W_{up}^\top + b_{up}, \qquad U = X W_{down}^\top + b_{down}",
        r"Y = X + f(U)\, W_{up} + b_{up}, \qquad U = X W_{down} + b_{down}",
        "An adapter squeezes its input to r numbers, bends them, widens them again, and adds what came in.",
        f"{_HOULSBY}, section 2.1 and figure 2",
    ),
    (
        "adapter-bottleneck-grad",
        r"g_U = (g_Y W_{up}) \circ f'(U), \quad g_X = g_Y + g_U W_{down}, \quad g_{W_{down}} = g_U^\top X, \quad "
        r" g_{W_{up}} = g_Y^\top f(U)",
        r"g_U = (g_Y W_{up}^\top) \circ f'(U), \quad g_X = g_Y + g_U W_{down}^\top, \quad g_{W_{down}} = X^\top g_U,"
        r" \quad g_{W_{up}} = f(U)^\top g_Y",
        "The gradient goes around the bottleneck and through it; the biases get the sums over the rows.",
        "the chain rule through the adapter",
    ),
    (
        "adapter-gelu-erf",
        r"\operatorname{gelu}(u) = u\, \Phi(u) = \tfrac u2 \big(1 + \operatorname{erf}(u / \sqrt 2)\big), \qquad "
        r" \operatorname{gelu}'(u) = \Phi(u) + u\, e^{-u^2 / 2} / \sqrt{2 \pi}",
        None,
        "The smooth gate itself: u times the share of a normal distribution that lies below u.",
        "Hendrycks and Gimpel, GELU, arXiv 1606.08415, section 2",
    ),
    (
        "adapter-init",
        r"W_{down}, W_{up} \sim \mathcal N(0, \sigma^2) \text{ within } \pm 2\sigma, \quad b_{down} = b_{up} = 0,"
        r" \quad \sigma = 10^{-2}",
        None,
        "Small enough that the adapter is nearly the identity, so training starts at the network as it was.",
        f"{_HOULSBY}, section 3.6",
    ),
    (
        "adapter-houlsby-place",
        r"\operatorname{norm}\big(H + \operatorname{adapter}(S)\big), \quad S = \operatorname{sublayer}(H)",
        None,
        "Both sub-layers of a block get an adapter, on their output, before the skip is added and the norm taken.",
        f"{_HOULSBY}, section 2.1",
    ),
    (
        "adapter-pfeiffer-place",
        r"\operatorname{norm}\big(H + S + \operatorname{branch}(\operatorname{norm}(H + S))\big)",
        None,
        "Only the feed-forward sub-layer gets an adapter; it reads the normed sum, and the norm is taken once more.",
        f"{_PFEIFFER}, appendix A.2 and figure 5; the skip as in the authors' library",
    ),
    (
        "prefix-attention",
        r"Y = S \begin{bmatrix} P_v \\ V \end{bmatrix}, \qquad "
        r" S = \operatorname{softmax}\!\Big(Q \begin{bmatrix} P_k \\ K \end{bmatrix}^\top \!/ \sqrt{d_h}\Big)",
        None,
        "Every query also looks at the keys and values of l tokens that are not there; only these are trained.",
        f"{_PREFIX}, section 4.2, in one head",
    ),
    (
        "prefix-attention-grad",
        r"g_S = g_Y \begin{bmatrix} P_v \\ V \end{bmatrix}^\top, \quad "
        r" g_L = S \circ (g_S - \textstyle\sum g_S \circ S) / \sqrt{d_h}, \quad "
        r" g_{[P_k; K]} = g_L^\top Q, \quad g_{[P_v; V]} = S^\top g_Y",
        None,
        "The prefix gets the first l rows of what all keys and values get.",
        "the chain rule through softmax",
    ),
    (
        "prefix-reparam",
        r"[P_k \; P_v] = \tanh(E W_1^\top + b_1)\, W_2^\top + b_2",
        r"[P_k \; P_v] = \tanh(E W_1 + b_1)\, W_2 + b_2",
        "While training, a smaller matrix and a network make the prefix; afterwards only the prefix is kept.",
        f"{_PREFIX}, section 4.3",
    ),
    (
        "prefix-reparam-grad",
        r"g_U = (g\, W_2) \circ (1 - T^2), \quad g_E = g_U W_1, \quad g_{W_1} = g_U^\top E, \quad g_{W_2} = g^\top T",
        r"g_U = (g\, W_2^\top) \circ (1 - T^2), \quad g_E = g_U W_1^\top, \quad g_{W_1} = E^\top g_U, \quad "
        r" g_{W_2} = T^\top g",
        "The prefix's gradient g = [gP_k gP_v] on its way back through the network that made it.",
        "the chain rule through the reparametrization",
    ),
    (
        "prompt-rows",
        r"Y = \begin{bmatrix} P \\ X \end{bmatrix} W_0^\top + b",
        r"Y = \begin{bmatrix} P \\ X \end{bmatrix} W_0 + b",
        "Trained rows stand before the input; the network behind them is frozen.",
        f"{_PROMPT}, section 2",
    ),
    (
        "prompt-grad",
        r"\begin{bmatrix} g_P \\ g_X \end{bmatrix} = g_Y W_0",
        r"\begin{bmatrix} g_P \\ g_X \end{bmatrix} = g_Y W_0^\top",
        "The prompt gets the first rows of the input's gradient, summed over the sequences that share it.",
        "the chain rule through the frozen layer",
    ),
)
