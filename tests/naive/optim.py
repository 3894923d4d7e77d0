"""Optimizers in plain loops over flat lists, from the sums that the recursions unroll to.

They run on floats, on Fractions (gradient descent and momentum) and on Decimals (Adam, which needs a root).
`grads` holds one list for each step; the parameters after the last step come back.
"""


def sgd(p, grads, lr):
    """p − lr Σ_t g_t."""
    return [p[i] - lr * sum(g[i] for g in grads) for i in range(len(p))]


def momentum(p, grads, lr, mu):
    """The gradient of step t acts in every later step too: p − lr Σ_t g_t (1 + μ + … + μ^(T − t))."""
    T = len(grads)
    weights = [sum(mu**n for n in range(T - t)) for t in range(T)]
    return [p[i] - lr * sum(w * g[i] for w, g in zip(weights, grads, strict=True)) for i in range(len(p))]


def average(history, beta):
    """(1 − β) Σ_t β^(T − t) x_t / (1 − β^T), the moving average without its bias."""
    T = len(history)
    total = sum(beta ** (T - 1 - t) * x for t, x in enumerate(history))
    return (1 - beta) * total / (1 - beta**T)


def adam(p, grads, lr, beta1, beta2, eps, root, decay=0):
    """Adam, and AdamW where `decay` is not zero; `root` is the square root for the numbers in use."""
    after = []
    for i in range(len(p)):
        x = p[i]
        for t in range(1, len(grads) + 1):
            seen = [g[i] for g in grads[:t]]
            m = average(seen, beta1)
            v = average([value * value for value in seen], beta2)
            x = x - lr * decay * x - lr * m / (root(v) + eps)
        after.append(x)
    return after


def adam_size(p, grads, lr, beta1, beta2, eps, root):
    """The same with every term positive: |p| + Σ_t lr |m̂_t| / (√v̂_t + eps), to measure rounding errors by."""
    after = []
    for i in range(len(p)):
        x = abs(p[i])
        for t in range(1, len(grads) + 1):
            m = average([abs(g[i]) for g in grads[:t]], beta1)
            v = average([g[i] * g[i] for g in grads[:t]], beta2)
            x = x + lr * m / (root(v) + eps)
        after.append(x)
    return after
