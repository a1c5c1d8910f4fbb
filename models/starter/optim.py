"""Two worker processes, one set of weights in shared memory, Muon for matrices and Adam for the rest."""
import os
import time

import numpy as np
import torch
import torch.multiprocessing as mp

from model import Starter

WORKERS = 2


def orthogonal(g, steps=5):
    """Newton-Schulz: an approximately orthogonal matrix with g's row and column spaces."""
    x = g / (g.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.t()
    for _ in range(steps):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if tall else x) * max(1.0, g.shape[0] / g.shape[1]) ** 0.5


class Shared:
    """Weights, gradients and optimiser state as flat shared tensors."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        ref = Starter()
        n = sum(p.numel() for p in ref.parameters())
        self.weights = torch.cat([p.detach().reshape(-1) for p in ref.parameters()]).share_memory_()
        self.grads = [torch.zeros(n).share_memory_() for _ in range(WORKERS)]
        self.m = torch.zeros(n).share_memory_()
        self.v = torch.zeros(n).share_memory_()
        self.losses = torch.zeros(WORKERS, 8).share_memory_()
        self.barrier = mp.get_context("fork").Barrier(WORKERS)

    def bind(self, rank):
        model, at = Starter(), 0
        for p in model.parameters():
            p.data = self.weights[at:at + p.numel()].view(p.shape)
            p.grad = self.grads[rank][at:at + p.numel()].view(p.shape)
            at += p.numel()
        return model

    def save(self, path, step, extra):
        torch.save({"weights": self.weights, "m": self.m, "v": self.v, "step": step, "extra": extra}, path + ".new")
        os.replace(path + ".new", path)

    def load(self, path):
        d = torch.load(path)
        for k in ("weights", "m", "v"):
            getattr(self, k).copy_(d[k])
        return d["step"], d["extra"]


def pieces(model):
    """(offset, length, shape or None, owner): matrices of a layer belong to one worker, the rest is halved."""
    out, at = [], 0
    for name, p in model.named_parameters():
        n = p.numel()
        if p.dim() == 2 and name != "embed":
            out.append((at, n, tuple(p.shape), int(name.split(".")[1]) % WORKERS))
        else:
            for r in range(WORKERS):
                a, b = n * r // WORKERS, n * (r + 1) // WORKERS
                out.append((at + a, b - a, None, r))
        at += n
    return out


def update(sh, parts, rank, step, lr_matrix, lr_rest):
    """One optimiser step on the parts this worker owns."""
    for at, n, shape, owner in parts:
        if owner != rank:
            continue
        s = slice(at, at + n)
        g = sh.grads[0][s].clone()
        for r in range(1, WORKERS):
            g += sh.grads[r][s]
        if shape:
            m = sh.m[s].mul_(0.95).add_(g, alpha=0.05)
            d = orthogonal((g * 0.05 + m * 0.95).view(shape))
            sh.weights[s].view(shape).mul_(1 - lr_matrix * 0.02).add_(d, alpha=-lr_matrix)
        else:
            m = sh.m[s].mul_(0.9).add_(g, alpha=0.1)
            v = sh.v[s].mul_(0.97).addcmul_(g, g, value=0.03)
            d = m / (1 - 0.9 ** (step + 1)) / ((v / (1 - 0.97 ** (step + 1))).sqrt() + 1e-8)
            sh.weights[s].add_(d, alpha=-lr_rest)


def _work(rank, sh, start, steps, seconds, extra, make_loss, rate, path, log):
    torch.set_num_threads(1)
    model = sh.bind(rank)
    parts = pieces(model)
    t0, seen = time.time(), extra.get("tokens", 0)
    spent = extra.get("seconds", 0)
    for step in range(start, steps):
        lr_matrix, lr_rest = rate(step)
        sh.grads[rank].zero_()
        rng = np.random.default_rng([extra["seed"], step, rank])
        loss, stats, tokens = make_loss(model, rng, step, rank)
        loss.backward()
        sh.losses[rank, :len(stats)] = torch.tensor(stats)
        sh.losses[rank, 7] = tokens
        sh.barrier.wait()
        update(sh, parts, rank, step, lr_matrix, lr_rest)
        seen += int(sh.losses[:, 7].sum())
        stats = sh.losses.mean(0)
        late = bool(seconds and time.time() - t0 > seconds)
        sh.losses[rank, 6] = float(late)
        sh.barrier.wait()
        stop = bool(sh.losses[0, 6] > 0)
        if rank == 0:
            if step % 10 == 0:
                log("step %d lr %.4f stats %s tokens %d seconds %.0f" % (
                    step, lr_matrix, " ".join("%.3f" % x for x in stats[:6]), seen, spent + time.time() - t0))
            if step % 50 == 49 or stop or step + 1 == steps:
                sh.save(path, step + 1, dict(extra, tokens=seen, seconds=spent + time.time() - t0))
        if stop:
            break


def run(sh, start, steps, extra, make_loss, rate, path, log, seconds=0):
    """Train from step start to steps (or until seconds are over); checkpoints every 50 steps."""
    ctx = mp.get_context("fork")
    ps = [ctx.Process(target=_work, args=(r, sh, start, steps, seconds, extra, make_loss, rate, path, log))
          for r in range(WORKERS)]
    for p in ps:
        p.start()
    for p in ps:
        p.join()
    if any(p.exitcode for p in ps):
        raise SystemExit("a worker failed")
