"""Equations of the optimizers: one step of each.  Floor 0."""

from lora_np.equations._entry import table

EQUATIONS = table(
    (
        "optim-sgd",
        r"\theta_{t+1} = \theta_t - \eta\,g_t",
        None,
        "Go against the gradient, a small step at a time.",
        "kexue.fm 9590, LoRA from a gradient perspective (seed 001)",
    ),
    (
        "optim-momentum",
        r"v_{t+1} = \mu\,v_t + g_t,\quad \theta_{t+1} = \theta_t - \eta\,v_{t+1}",
        None,
        "A heavy ball: the velocity gathers the gradients and forgets a part of them at every step.",
        "Polyak 1964; the rate outside the velocity, as in PyTorch",
    ),
    (
        "optim-adam",
        r"m_t = \beta_1 m_{t-1} + (1-\beta_1)\,g_t,\quad v_t = \beta_2 v_{t-1} + (1-\beta_2)\,g_t^2,\quad "
        r"\theta_t = \theta_{t-1} - \eta\,\frac{m_t/(1-\beta_1^t)}{\sqrt{v_t/(1-\beta_2^t)} + \epsilon}",
        None,
        "Divide the average gradient by the root of the average square; both averages start at zero, and the "
        "factors 1 - beta^t take that bias out.",
        "Kingma and Ba, Adam, arXiv 1412.6980, algorithm 1",
    ),
    (
        "optim-adamw",
        r"\theta_t = (1-\eta\lambda)\,\theta_{t-1}"
        r" - \eta\,\frac{m_t/(1-\beta_1^t)}{\sqrt{v_t/(1-\beta_2^t)} + \epsilon}",
        None,
        "Adam, with a decay of the parameters that stands beside the averages and not inside them.",
        "Loshchilov and Hutter, Decoupled weight decay, arXiv 1711.05101, algorithm 2; eta inside as in PyTorch",
    ),
    (
        "optim-lora-plus",
        r"\eta_A = \eta,\quad \eta_B = \lambda\,\eta,\quad \lambda \gg 1",
        None,
        "Let B, the factor that starts at zero and touches the output, learn faster than A.",
        "Hayou et al., LoRA+, arXiv 2402.12354; B touches the output in the row form too",
    ),
)
