"""Training of the starter. Stages: language (books), then tune (chat and guard together).

Usage: OPENBLAS_CORETYPE=SkylakeX nice -n 19 python3 train.py --data FOLDER --out FOLDER --seed N --stage language
OUT holds tokenizer.json (tokenizer.py) and the prepared examples (data.py). Resumes from OUT/STAGE.pt.
"""
import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if os.environ.get("MALLOC_TOP_PAD_") is None:       # large blocks stay mapped: page faults cost more than the matrices
    os.environ.update(MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="8589934592",
                      MALLOC_TOP_PAD_="268435456")
    os.execv(sys.executable, [sys.executable] + sys.argv)

import numpy as np
import torch

import gguf
import optim
from model import TiedLoss, to_tensors
from tokenizer import Tokenizer


def language_loss(out):
    ids = np.load(os.path.join(out, "language.npy"), mmap_mode="r")
    rows, width = 8, 256

    def make(model, rng, step, rank):
        at = rng.integers(0, len(ids) - width - 1, rows)
        x = torch.tensor(np.stack([ids[a:a + width + 1] for a in at]).astype(np.int64))
        h = model.hidden(x[:, :-1].contiguous())
        n = rows * width
        w = torch.full((n,), 1.0 / (n * optim.WORKERS))
        loss = TiedLoss.apply(h.reshape(n, -1), model.embed, x[:, 1:].reshape(-1), w)
        return loss, [float(loss) * optim.WORKERS], n
    return make


def export(out, tok, sh, name):
    model = sh.bind(0)
    path = os.path.join(out, name)
    gguf.write(path + ".new", model.cfg, tok, to_tensors(model))
    os.replace(path + ".new", path)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data")
    a.add_argument("--out", required=True)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--stage", choices=["language", "tune"], required=True)
    a.add_argument("--steps", type=int, required=True)
    a.add_argument("--decay-from", type=int, default=1 << 30, help="step at which the rate begins to fall to zero")
    a.add_argument("--init", help="checkpoint of an earlier stage")
    a.add_argument("--prompts", action="store_true", help="tune: fewer chats, more user prompts for the guard")
    a.add_argument("--rate", type=float, default=1.0, help="scale of both learning rates")
    a.add_argument("--seconds", type=float, default=0)
    a = a.parse_args()
    tok = Tokenizer.load(os.path.join(a.out, "tokenizer.json"))
    sh = optim.Shared(a.seed)
    path = os.path.join(a.out, a.stage + ".pt")
    start, extra = 0, {"seed": a.seed, "tokens": 0, "seconds": 0}
    if os.path.exists(path):
        start, extra = sh.load(path)
    elif a.init:
        extra = dict(sh.load(a.init)[1], seed=a.seed + 1)

    def rate(step):
        warm = min(1.0, (step + 1) / 60)
        fall = 1.0 if step < a.decay_from else max(0.02, (a.steps - step) / (a.steps - a.decay_from))
        return 0.02 * a.rate * warm * fall, 0.003 * a.rate * warm * fall

    if a.stage == "language":
        make = language_loss(a.out)
    else:
        from tune import tune_loss
        more = dict(chats=4, agent_every=3) if a.prompts else {}
        make = tune_loss(a.out, tok, a.data, **more)

    def log(line):
        with open(os.path.join(a.out, a.stage + ".log"), "a") as f:
            f.write(line + "\n")

    if start >= a.steps:
        return export(a.out, tok, sh, "starter-%s.gguf" % a.stage)
    optim.run(sh, start, a.steps, extra, make, rate, path, log, a.seconds)
    export(a.out, tok, sh, "starter-%s.gguf" % a.stage)


if __name__ == "__main__":
    main()
