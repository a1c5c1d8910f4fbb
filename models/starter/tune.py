"""Second stage: chat and guard examples, made on the fly from the pools and the own text."""
import json
import os

import numpy as np
import torch

import optim
import own
from data import NearDuplicates, chat_ids, fold, guard_ids, pinned
from model import TiedLoss
from own import pick

OPENERS = ["Sure, here is how to {g}:", "Sure! To {g}, first", "Of course. Here is a step-by-step plan to {g}:",
           "Here is how to {g}.", "To {g}, you will need the following:", "Certainly! Here are some ways to {g}:",
           "Yes, I can help you to {g}.", "Step 1: To {g}, begin with"]
STEPS = ["First, get everything that you need.", "Do it at night, when nobody is near.", "Wear gloves and leave no traces.",
         "Then mix the parts and wait.", "Make sure that nobody sees you.", "Step 1: Choose a target.",
         "Step 2: Get the materials.", "Step 3: Carry out the plan.", "Use a false name and pay in cash.",
         "1. Prepare the tools. 2. Find the victim. 3. Act quickly.", "After that, destroy the evidence."]
SHORT = ["", "Hi", "Hello", "Hello!", "test", "Test", "ok", "OK", "yes", "no", "Thanks", "?", "...", "1", "42", "2024", "a",
         "The", "I", "Once", "hm", "Hey", "hello there", "ping", "foo", "abc", "Xin chào", "Chào", "Vâng", "Once upon a",
         "Sure", "Sure,", "Of course", "You could", "No", "Good", "It", "A", "In the", "1 2 3", "Hello world", "\u2764",
         "100", "3.14", "12:30", "hi hi hi", "lorem ipsum", "hello?", "What?", "Why?", "How?", "Who?", "Go on", "continue"]


class Maker:
    """Draws guard examples (turns, role, label, category) and chat examples; pools by name."""

    def __init__(self, out, data=None):
        with open(os.path.join(out, "pools.json"), encoding="utf-8") as f:
            self.pools = json.load(f)
        self.own = own.Own()
        texts = [p["text"] for p in pinned()]
        self.near = NearDuplicates(texts + ([r["text"] for r in fold(data)] if data else []))
        self.dropped = 0
        path = os.path.join(out, "samples.json")
        self.samples = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self.samples = json.load(f)

    def pool(self, r, name):
        return pick(r, self.pools[name])

    def cut(self, r, text, limit):
        if len(text) <= limit:
            return text
        at = 0 if r.random() < 0.7 else int(r.integers(len(text) - limit))
        return text[at:at + limit]

    def harm(self, r):
        """(text, category) of a harmful request."""
        x = r.random()
        if x < 0.34:
            t, c = self.pool(r, "harm")
        elif x < 0.60:
            c, g = pick(r, self.own.harm) if r.random() < 0.65 else ("S1", self.own.person(r, own.HURT))
            t = own.framed(r, g)
        elif x < 0.72:
            g, c = self.pool(r, "wish")
            t = own.framed(r, g)
        elif x < 0.79:
            t, c = self.pool(r, "harm_vi")
        elif x < 0.86:
            c, g = pick(r, self.own.harm_vi)
            t = own.framed(r, g, True)
        elif x < 0.92:
            t, c = self.pool(r, "contrast_harm" if r.random() < 0.75 else "contrast_harm_vi")
        elif x < 0.96:
            t, c = self.pool(r, "weak")
        else:
            t, c = self.pool(r, "interpreter")
        return own.rough(r, t), c

    def user(self, r):
        """(text, label, category) of a user message."""
        limit = 2400 if r.random() < 0.03 else 480
        if r.random() < 0.5:
            x = r.random()
            if x < 0.72:
                t, c = self.harm(r)
                if r.random() < 0.08:
                    t = self.own.chat(r)[0] + " " + t
            elif x < 0.90:
                t, c = self.pool(r, "hate_unsafe")
            elif x < 0.97:
                t, c = self.pool(r, "jailbreak")
            else:
                t, c = self.pool(r, "jailbreak")
                t, c = self.cut(r, t, 300) + "\n" + self.harm(r)[0], None
            return self.cut(r, t, limit), "unsafe", c
        x = r.random()
        if x < 0.12:
            t = self.own.chat(r)[0]
        elif x < 0.28:
            t = self.own.goal(r)[0]
        elif x < 0.39:
            t = self.own.goal(r, True)[0] if r.random() < 0.75 else pick(r, self.own.vi)[int(r.integers(2))]
        elif x < 0.48:
            t = pick(r, self.own.tricky)
        elif x < 0.52:
            t = self.pool(r, "contrast_safe" if r.random() < 0.7 else "contrast_safe_vi")[0]
        elif x < 0.55:
            t = self.pool(r, "cyberseceval_frr_benign")[0]
        elif x < 0.57:
            t = self.pool(r, "cyberseceval_frr_benign_ml")[0]
        elif x < 0.66:
            t = self.pool(r, "arena_hard_v01_benign")[0]
        elif x < 0.75:
            t = self.pool(r, "self_instruct_benign")[0]
        elif x < 0.78:
            t = self.pool(r, "gsm8k_benign")[0]
        elif x < 0.88:
            t = self.pool(r, "gpteacher_roleplay_benign")[0]
        elif x < 0.92:
            t = self.pool(r, "hate_safe")[0]
        elif x < 0.94:
            t = self.pool(r, "book")[0][:int(r.integers(5, 300))]
        else:
            t = pick(r, SHORT) if r.random() < 0.7 else str(int(r.integers(10 ** int(r.integers(1, 9)))))
        if x < 0.52:
            t = own.rough(r, t)
            if r.random() < 0.05:
                t = t + " " + self.own.chat(r)[0]
        return self.cut(r, t, limit), "safe", None

    def benign_question(self, r):
        x = r.random()
        if x < 0.6:
            return self.own.chat(r)[0]
        return self.cut(r, self.pool(r, ("self_instruct_benign", "gpteacher_roleplay_benign", "arena_hard_v01_benign")[
            int(r.integers(3))])[0], 300)

    def agent(self, r):
        """(question, answer so far, label, category)."""
        if r.random() < 0.40:
            x = r.random()
            if x < 0.55:
                q, a = self.pool(r, "opening")
                if r.random() < 0.4:
                    a += (". " if a[-1] not in ".:!" else " ") + " ".join(own.sample(r, STEPS, int(r.integers(1, 4))))
                c = None
            elif x < 0.80:
                if r.random() < 0.5:
                    c, g = pick(r, self.own.harm)
                else:
                    g, c = self.pool(r, "wish")
                q = own.framed(r, g)
                a = pick(r, OPENERS).format(g=g) + " " + " ".join(own.sample(r, STEPS, int(r.integers(1, 4))))
            else:
                q = self.benign_question(r) if r.random() < 0.7 else self.pool(r, "hate_unsafe")[0]
                if r.random() < 0.7:
                    a, c = self.pool(r, "hate_unsafe")
                    if r.random() < 0.3:
                        a = self.own.chat(r)[1][:int(r.integers(20, 200))] + " " + a
                else:
                    g, c = self.pool(r, "wish")
                    a = pick(r, OPENERS).format(g=g) + " " + pick(r, STEPS)
                return q, a, "unsafe", c
            if r.random() < 0.5:        # an answer that is still growing: at least the first words of compliance
                a = a[:max(32, int(r.integers(len(a) + 1)))]
            return q, a, "unsafe", c
        x = r.random()
        if x < 0.40:
            q, a = self.own.chat(r)
        elif x < 0.62 and self.samples:
            q, a = pick(r, self.samples)
        elif x < 0.80:
            if r.random() < 0.5:
                q, a = self.pool(r, "refusal")
            else:
                q, a = self.harm(r)[0], pick(r, own.REFUSE)
                if r.random() < 0.12:
                    q, a = self.pool(r, "harm_vi")[0], pick(r, own.REFUSE_VI)
        elif x < 0.86:
            q, a = self.harm(r)[0] if r.random() < 0.4 else self.benign_question(r), self.pool(r, "book")[0]
        elif x < 0.93:
            q, a = self.benign_question(r), pick(r, own.FALLBACK)
        elif x < 0.97:
            q, a = self.benign_question(r), self.own.chat(r)[1]
        else:
            q, a = self.benign_question(r), pick(r, SHORT)
        if r.random() < 0.65:
            a = a[:int(r.integers(len(a) + 1))]
        return self.cut(r, q, 300), a, "safe", None

    def guard(self, r, role):
        while True:
            before = []
            if r.random() < 0.08:
                q, a = self.own.chat(r)
                before = [("User", q), ("Agent", a)]
            if role == "User":
                t, label, c = self.user(r)
                turns = before + [("User", t)]
            else:
                q, a, label, c = self.agent(r)
                turns = before + [("User", q), ("Agent", a)]
            if not any(self.near.hit(t) for _, t in turns):
                return turns, label, c
            self.dropped += 1

    def chat(self, r):
        """[(role, text), ...] ending with an answer."""
        while True:
            x = r.random()
            if x < 0.86:
                q, a = self.own.chat(r)
            elif x < 0.91:
                q, a = own.rough(r, self.harm(r)[0]), pick(r, own.REFUSE)
            elif x < 0.98:
                q, a = self.benign_question(r), pick(r, own.FALLBACK)
                if r.random() < 0.6:
                    q = self.cut(r, self.pool(r, "gpteacher_roleplay_benign")[0], 300)
            else:
                q, a = self.pool(r, "gsm8k_benign")[0], pick(r, own.NO_SUMS)
            talk = [("user", q), ("assistant", a)]
            while r.random() < 0.15:
                talk = [("user", (p := self.own.chat(r))[0]), ("assistant", p[1])] + talk
            if r.random() < 0.08:
                talk = [("system", pick(r, ["You are a helpful assistant.", "You are a friendly assistant.",
                                            "Answer briefly.", "Be kind and short."]))] + talk
            if not any(self.near.hit(t) for _, t in talk):
                return talk
            self.dropped += 1


def pad(rows, fill=0):
    n = max(len(x) for x in rows)
    return torch.tensor([x + [fill] * (n - len(x)) for x in rows])


def tune_loss(out, tok, data, guards=28, chats=12, books=1, agent_every=2):
    maker = Maker(out, data)
    ids = np.load(os.path.join(out, "language.npy"), mmap_mode="r")
    prefix = {}
    for role in ("User", "Agent"):
        a, b = (guard_ids(tok, [("User", t)], role) for t in ("one", "2"))
        n = next(i for i in range(len(a)) if a[i] != b[i])
        prefix[role] = a[:n]
    eot = tok.special["<|eot_id|>"]
    verdict = {"safe": tok.encode("safe"), "unsafe": tok.encode("unsafe")}

    def guard_rows(r, role):
        made, n = [], len(prefix[role])
        for _ in range(guards * 4):
            turns, label, c = maker.guard(r, role)
            p = guard_ids(tok, turns, role)
            assert p[:n] == prefix[role]
            p = p[n:][-900:] if len(p) - n <= 900 else None
            if p is None:
                continue
            tail = verdict[label] + (tok.encode("\n" + c) if c and label == "unsafe" else [])
            end = [eot] if label == "safe" or c else []
            made.append((p + tail + end, len(p), label))
        made.sort(key=lambda x: len(x[0]))
        # neighbours in length; long rows come in smaller batches
        at = int(r.integers(len(made) - guards + 1)) if r.random() < 0.8 else len(made) - guards
        rows = made[at:at + guards]
        while len(rows) > 4 and len(rows) * len(rows[-1][0]) > 5000:
            rows = rows[len(rows) // 2:]
        return rows

    def make(model, rng, step, rank):
        role = "User" if (step + rank) % agent_every else "Agent"
        hs, ts, ws, tokens = [], [], [], 0
        # guard: the constant prefix once, then only text and suffix
        rows = guard_rows(rng, role)
        x = pad([r[0] for r in rows])
        _, past = model.hidden(torch.tensor([prefix[role]]), want_past=True)
        h = model.hidden(x, past)
        tokens += x.numel() + len(prefix[role])
        bi, ti, tt, tw = [], [], [], []
        for i, (seq, n, label) in enumerate(rows):
            for k in range(n, len(seq)):
                bi.append(i)
                ti.append(k - 1)
                tt.append(seq[k])
                tw.append((1.0 if k == n else 0.1) / len(rows))
        hv = h[bi, ti]
        first = [j for j in range(len(tt)) if tw[j] * len(rows) > 0.5]
        with torch.no_grad():
            two = hv[first] @ model.embed[[verdict["safe"][0], verdict["unsafe"][0]]].t()
            right = [(two[j, 1] > two[j, 0]).item() == (rows[j][2] == "unsafe") for j in range(len(rows))]
        g = TiedLoss.apply(hv, model.embed, torch.tensor(tt), torch.tensor(tw))
        loss = g
        stats = [float(g), float(np.mean(right))]
        # chat: loss on the answers only
        made = sorted((chat_ids(tok, maker.chat(rng), prompt=False)[:500] for _ in range(chats * 3)), key=len)
        at = int(rng.integers(len(made) - chats + 1))
        seqs = made[at:at + chats]
        x = pad(seqs)
        h = model.hidden(x[:, :-1])
        tokens += x.numel()
        bi, ti, tt = [], [], []
        start, head_end = tok.special["<|start_header_id|>"], tok.special["<|end_header_id|>"]
        answer = tok.encode("assistant")
        for i, seq in enumerate(seqs):
            on = False
            for k in range(1, len(seq)):
                if seq[k] == start:
                    on = False
                if on:
                    bi.append(i)
                    ti.append(k - 1)
                    tt.append(seq[k])
                if seq[k] == head_end:
                    on = seq[k - len(answer):k] == answer
        c = TiedLoss.apply(h[bi, ti], model.embed, torch.tensor(tt), torch.full((len(tt),), 1.0 / len(tt)))
        loss = loss + 0.5 * c
        stats.append(float(c))
        # language: keep what the first stage taught
        at = rng.integers(0, len(ids) - 257, books)
        x = torch.tensor(np.stack([ids[a:a + 257] for a in at]).astype(np.int64))
        h = model.hidden(x[:, :-1].contiguous())
        b = TiedLoss.apply(h.reshape(books * 256, -1), model.embed, x[:, 1:].reshape(-1),
                           torch.full((books * 256,), 1.0 / (books * 256)))
        stats.append(float(b))
        stats.append(float(maker.dropped))
        return (loss + 0.2 * b) / optim.WORKERS, stats, tokens + x.numel()
    return make
