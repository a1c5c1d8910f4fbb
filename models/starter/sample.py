"""Answers of a half-trained model to harmless prompts: later they are safe Agent texts for the guard.

Usage: python3 sample.py --data FOLDER --out FOLDER --seed N --model FILE.gguf [--prompts 500]  ->  OUT/samples.json
"""
import argparse
import json
import os

import numpy as np
import torch

import gguf
from infer import answers
from model import from_tensors
from tune import Maker


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--model", required=True)
    a.add_argument("--prompts", type=int, default=500)
    a = a.parse_args()
    torch.set_num_threads(1)
    meta, tensors = gguf.read(a.model)
    tok, model = gguf.tokenizer_of(meta), from_tensors(tensors)
    maker, r = Maker(a.out, a.data), np.random.default_rng([a.seed, 77])
    gen = torch.Generator().manual_seed(a.seed)
    out = []
    for i in range(a.prompts):
        q = maker.benign_question(r) if i % 2 else maker.own.goal(r)[0] if i % 4 == 0 else maker.own.chat(r)[0]
        if maker.near.hit(q):
            continue
        temperature = float(r.choice([0.6, 0.8, 1.0, 1.0, 1.3]))
        for ids in answers(model, tok, [("user", q)], 4, 96, temperature, gen):
            out.append([q, tok.decode(ids)])
    with open(os.path.join(a.out, "samples.json.new"), "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False)
    os.replace(os.path.join(a.out, "samples.json.new"), os.path.join(a.out, "samples.json"))
    print(len(out), "answers")
    for q, t in out[::max(1, len(out) // 12)]:
        print(repr(q[:100]), "->", repr(t[:300]))


if __name__ == "__main__":
    main()
