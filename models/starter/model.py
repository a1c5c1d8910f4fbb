"""The starter network in PyTorch: Llama layout, fused projections, optional shared prefix."""
import math

import torch
import torch.nn.functional as F

CFG = dict(dim=256, layers=8, heads=4, kv_heads=2, head_dim=64, ffn=768, vocab=8192, context=2048,
           eps=1e-5, rope_base=10000.0)


def rope_table(cfg):
    d = cfg["head_dim"]
    freq = cfg["rope_base"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angle = torch.arange(cfg["context"], dtype=torch.float64)[:, None] * freq[None]
    return torch.cos(angle).float(), torch.sin(angle).float()


def rotate(x, cos, sin):
    """x: batch, heads, time, head_dim; neighbouring pairs turn together (GGUF llama order)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


class Layer(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        h, kv, d, n = cfg["heads"], cfg["kv_heads"], cfg["head_dim"], cfg["dim"]
        self.qkv = torch.nn.Parameter(torch.randn((h + 2 * kv) * d, n) * 0.02)
        self.out = torch.nn.Parameter(torch.randn(n, h * d) * 0.02 / math.sqrt(2 * cfg["layers"]))
        self.gate_up = torch.nn.Parameter(torch.randn(2 * cfg["ffn"], n) * 0.02)
        self.down = torch.nn.Parameter(torch.randn(n, cfg["ffn"]) * 0.02 / math.sqrt(2 * cfg["layers"]))
        self.attn_norm = torch.nn.Parameter(torch.ones(n))
        self.ffn_norm = torch.nn.Parameter(torch.ones(n))

    def norm(self, x, w):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.cfg["eps"]) * w

    def forward(self, x, cos, sin, mask, past=None):
        cfg = self.cfg
        h, kv, d = cfg["heads"], cfg["kv_heads"], cfg["head_dim"]
        b, t, _ = x.shape
        q, k, v = F.linear(self.norm(x, self.attn_norm), self.qkv).split([h * d, kv * d, kv * d], -1)
        q = rotate(q.view(b, t, h, d).transpose(1, 2), cos, sin)
        k = rotate(k.view(b, t, kv, d).transpose(1, 2), cos, sin)
        v = v.view(b, t, kv, d).transpose(1, 2)
        mine = (k, v)
        if past is not None:
            k = torch.cat((past[0].expand(b, -1, -1, -1), k), 2)
            v = torch.cat((past[1].expand(b, -1, -1, -1), v), 2)
        s = k.shape[2]
        # The two query heads of a KV head are stacked along time: no repetition of K and V.
        q = q.reshape(b, kv, h // kv * t, d)
        w = (q @ k.transpose(2, 3)) * (1.0 / math.sqrt(d))
        w = torch.softmax(w.view(b, kv, h // kv, t, s) + mask, -1).view(b, kv, h // kv * t, s)
        y = (w @ v).view(b, h, t, d).transpose(1, 2).reshape(b, t, h * d)
        x = x + F.linear(y, self.out)
        g, u = F.linear(self.norm(x, self.ffn_norm), self.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(g) * u, self.down), mine


class Starter(torch.nn.Module):
    def __init__(self, cfg=None):
        super().__init__()
        self.cfg = dict(cfg or CFG)
        self.embed = torch.nn.Parameter(torch.randn(self.cfg["vocab"], self.cfg["dim"]) * 0.02)
        self.layers = torch.nn.ModuleList([Layer(self.cfg) for _ in range(self.cfg["layers"])])
        self.last_norm = torch.nn.Parameter(torch.ones(self.cfg["dim"]))
        cos, sin = rope_table(self.cfg)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def hidden(self, ids, past=None, want_past=False):
        """ids: batch, time. past: per layer (k, v) of a prefix, batch 1 or equal batch."""
        b, t = ids.shape
        p = past[0][0].shape[2] if past else 0
        mask = torch.full((t, p + t), float("-inf")).triu(p + 1)
        cos, sin = self.cos[p:p + t], self.sin[p:p + t]
        x = F.embedding(ids, self.embed)
        kept = []
        for i, layer in enumerate(self.layers):
            x, kv = layer(x, cos, sin, mask, past[i] if past else None)
            if want_past:
                kept.append(kv if past is None else tuple(torch.cat((a.expand(b, -1, -1, -1), c), 2)
                                                          for a, c in zip(past[i], kv)))
        x = self.layers[0].norm(x, self.last_norm)
        return (x, kept) if want_past else x

    def logits(self, x):
        return F.linear(x, self.embed)


def to_tensors(model):
    """GGUF names -> float32 arrays."""
    c = model.cfg
    nq, nk = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]
    out = {"token_embd.weight": model.embed}
    for i, l in enumerate(model.layers):
        q, k, v = l.qkv.split([nq, nk, nk])
        g, u = l.gate_up.chunk(2)
        for name, x in (("attn_norm", l.attn_norm), ("attn_q", q), ("attn_k", k), ("attn_v", v),
                        ("attn_output", l.out), ("ffn_norm", l.ffn_norm), ("ffn_gate", g), ("ffn_up", u),
                        ("ffn_down", l.down)):
            out["blk.%d.%s.weight" % (i, name)] = x
    out["output_norm.weight"] = model.last_norm
    return {k: v.detach().numpy() for k, v in out.items()}


def from_tensors(tensors):
    """The model of a GGUF file's (dequantised) tensors."""
    model = Starter()
    t = {k: torch.tensor(v) for k, v in tensors.items()}
    with torch.no_grad():
        model.embed.copy_(t["token_embd.weight"])
        model.last_norm.copy_(t["output_norm.weight"])
        for i, l in enumerate(model.layers):
            b = "blk.%d." % i
            l.attn_norm.copy_(t[b + "attn_norm.weight"])
            l.ffn_norm.copy_(t[b + "ffn_norm.weight"])
            l.out.copy_(t[b + "attn_output.weight"])
            l.down.copy_(t[b + "ffn_down.weight"])
            l.qkv.copy_(torch.cat([t[b + "attn_%s.weight" % n] for n in "qkv"]))
            l.gate_up.copy_(torch.cat([t[b + "ffn_%s.weight" % n] for n in ("gate", "up")]))
    return model


class TiedLoss(torch.autograd.Function):
    """Weighted sum of cross-entropies over rows, logits never kept: gradients are made in the forward pass."""

    @staticmethod
    def forward(ctx, x, embed, target, weight):
        dx, de, total = torch.empty_like(x), torch.zeros_like(embed), 0.0
        for i in range(0, x.shape[0], 512):
            xs, ts, ws = x[i:i + 512], target[i:i + 512], weight[i:i + 512]
            p = xs @ embed.t()
            p -= p.max(-1, keepdim=True)[0]
            at = p.gather(1, ts[:, None])
            p.exp_()
            s = p.sum(-1, keepdim=True)
            total = total + ((s.log() - at)[:, 0] * ws).sum()
            p *= ws[:, None] / s
            p.scatter_add_(1, ts[:, None], -ws[:, None])
            torch.mm(p, embed, out=dx[i:i + 512])
            de.addmm_(p.t(), xs)
        ctx.save_for_backward(dx, de)
        return total

    @staticmethod
    def backward(ctx, g):
        dx, de = ctx.saved_tensors
        return dx * g, de * g, None, None
