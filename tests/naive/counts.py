"""Parameter counts by the closed formulas of the papers, and by loops over blocks: the other road to each count."""

from functools import lru_cache


def gpt2(d, L, vocab=50257, context=1024):
    """L (12 d² + 13 d) + V d + C d + 2 d."""
    return L * (12 * d * d + 13 * d) + vocab * d + context * d + 2 * d


def bert(d, L, ff, vocab, context, types):
    """Embeddings with their norm, blocks, pooler."""
    embeddings = (vocab + context + types) * d + 2 * d
    block = 4 * d * d + 4 * d + 2 * d * ff + ff + d + 4 * d
    return embeddings + L * block + d * d + d


def deberta_v2(d, L, vocab, buckets=256, kernel=3):
    """A BERT without positions and pooler, plus relative positions and one convolution."""
    block = 12 * d * d + 13 * d
    return vocab * d + 2 * d + L * block + 2 * buckets * d + 2 * d + kernel * d * d + d + 2 * d


def vit(d, L, classes, patch=16, image=224):
    patches = (image // patch) ** 2
    return (
        (3 * patch**2 * d + d) + d + (patches + 1) * d + L * (12 * d * d + 13 * d) + 2 * d + classes * (d + 1)
    )


def llama(d, L, heads, kv, ff, vocab, qkv_bias=False):
    """L (2 d h hd + 2 d kv hd + 3 d ff + 2 d) + 2 V d + d, and biases of q, k and v."""
    hd = d // heads
    block = 2 * d * heads * hd + 2 * d * kv * hd + 3 * d * ff + 2 * d
    block += (heads * hd + 2 * kv * hd) * qkv_bias
    return L * block + 2 * vocab * d + d


def matrices(d, heads, kv, ff, gated):
    """(out, in) of every matrix of a block, by short name."""
    hd = d // heads
    shapes = {"q": (heads * hd, d), "k": (kv * hd, d), "v": (kv * hd, d), "o": (d, heads * hd)}
    if gated:
        return shapes | {"gate": (ff, d), "up": (ff, d), "down": (d, ff)}
    return shapes | {"fc1": (ff, d), "fc2": (d, ff)}


@lru_cache
def balanced(n):
    """The two factors of n nearest to each other, found by trying all pairs."""
    pairs = [(a, n // a) for a in range(1, n + 1) if n % a == 0 and a <= n // a]
    return min(pairs, key=lambda pair: pair[1] - pair[0])


def beside(method, d, k, r):
    """Trainable numbers that a method puts beside one (d, k) matrix."""
    if method == "lokr":
        (rows, m), (columns, p) = balanced(d), balanced(k)
        return rows * columns + (r * (m + p) if r < max(m, p) / 2 else m * p)
    return {
        "lora": r * d + r * k,
        "dora": r * d + r * k + d,
        "adalora": d * r + r + r * k,
        "lora-fa": d * r,
        "lora-xs": r * r,
        "vera": d + r,
        "loha": 2 * (r * d + r * k),
    }[method]


def trained(method, shapes, L, r, targets):
    """Add up over blocks and targets, one at a time."""
    total = 0
    for _ in range(L):
        for target in targets:
            total += beside(method, *shapes[target], r)
    return total


def adapter(d, r, adapters, norms):
    """L̂_Adpt (2 d r + r + d) + 2 L̂_LN d."""
    return adapters * (2 * d * r + r + d) + 2 * norms * d
