"""Reading verdicts and drawing answers with the PyTorch network."""
import torch

from data import chat_ids, guard_ids


class Reader:
    """p(unsafe) of conversations: the constant prefix is computed once per role."""

    def __init__(self, model, tok):
        self.model, self.tok, self.kept = model, tok, {}
        self.pair = [tok.encode("safe")[0], tok.encode("unsafe")[0]]

    def prefix(self, role):
        if role not in self.kept:
            a, b = (guard_ids(self.tok, [("User", t)], role) for t in ("one", "2"))
            n = next(i for i in range(len(a)) if a[i] != b[i])
            self.kept[role] = (a[:n], self.model.hidden(torch.tensor([a[:n]]), want_past=True)[1])
        return self.kept[role]

    @torch.no_grad()
    def scores(self, items, limit=1700):
        """items: list of turns; the role is that of the last turn. Long texts keep their first tokens."""
        rows = []
        for i, turns in enumerate(items):
            role = turns[-1][0]
            pre = self.prefix(role)[0]
            p = guard_ids(self.tok, turns, role)
            assert p[:len(pre)] == pre
            p = p[len(pre):]
            if len(p) > limit:
                p = p[:limit - 80] + p[-80:]
            rows.append((role, len(p), i, p))
        rows.sort(key=lambda x: x[:3])
        out = [0.0] * len(items)
        at = 0
        while at < len(rows):
            n = at
            while n < len(rows) and n - at < 32 and rows[n][0] == rows[at][0] and (n - at + 1) * rows[n][1] < 6000:
                n += 1
            n = max(n, at + 1)
            batch = rows[at:n]
            width = batch[-1][1]
            x = torch.tensor([b[3] + [0] * (width - b[1]) for b in batch])
            h = self.model.hidden(x, self.prefix(batch[0][0])[1])
            h = h[range(len(batch)), [b[1] - 1 for b in batch]]
            two = h @ self.model.embed[self.pair].t()
            p = torch.sigmoid((two[:, 1] - two[:, 0]).double())
            for b, v in zip(batch, p.tolist()):
                out[b[2]] = v
            at = n
        return out


@torch.no_grad()
def answers(model, tok, talk, copies, length, temperature, gen, greedy=False):
    """Several answers to one conversation [(role, text)]: lists of ids, cut at the end token."""
    ids = torch.tensor([chat_ids(tok, talk)])
    h, past = model.hidden(ids, want_past=True)
    logits = model.logits(h[:, -1]).expand(copies, -1)
    past = [tuple(t.expand(copies, -1, -1, -1) for t in kv) for kv in past]
    ends = {tok.special[n] for n in ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>")}
    out, done = [[] for _ in range(copies)], [False] * copies
    for _ in range(length):
        if greedy:
            nxt = logits.argmax(-1)
        else:
            nxt = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=gen)[:, 0]
        for i, t in enumerate(nxt.tolist()):
            if t in ends:
                done[i] = True
            elif not done[i]:
                out[i].append(t)
        if all(done):
            break
        h, past = model.hidden(nxt[:, None], past, want_past=True)
        logits = model.logits(h[:, -1])
    return out
