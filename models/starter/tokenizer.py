"""Byte-level BPE of the starter model: training, encoding, decoding.

Encoding rule: split with the llama-bpe expression, take a piece that is a whole
token as it stands, else merge the pair of lowest rank until none is left.
Usage: python3 tokenizer.py --data FOLDER --out FOLDER --seed N  ->  OUT/tokenizer.json
"""
import argparse
import collections
import heapq
import json
import os

import regex

SPLIT = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")
VOCAB = 8192
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
            "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
            "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
            "<|reserved_special_token_3|>", "<|reserved_special_token_4|>", "<|reserved_special_token_5|>",
            "<|reserved_special_token_6|>", "<|reserved_special_token_7|>"]
REQUIRED = ["safe", "unsafe", "\n\n", "\n", "S", ",S"] + [str(i) for i in range(1, 15)]


def byte_alphabet():
    """The 256 printable characters that stand for bytes in a GGUF "gpt2" vocabulary."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


BYTE_TO_CHAR = byte_alphabet()
CHAR_TO_BYTE = {c: b for b, c in BYTE_TO_CHAR.items()}


def to_chars(data):
    return "".join(BYTE_TO_CHAR[b] for b in data)


def to_bytes(chars):
    return bytes(CHAR_TO_BYTE[c] for c in chars)


class Tokenizer:
    def __init__(self, merges):
        base = [BYTE_TO_CHAR[b] for b in sorted(BYTE_TO_CHAR, key=lambda b: BYTE_TO_CHAR[b])]
        self.merges = [tuple(m) for m in merges]
        self.tokens = list(dict.fromkeys(base + [a + b for a, b in self.merges]))   # two merges may make one token
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.special = {}
        for name in SPECIALS:
            self.special[name] = len(self.tokens)
            self.tokens.append(name)
        self.cache = {}
        self.bytes = [to_bytes(t) if i < len(self.ids) else b"" for i, t in enumerate(self.tokens)]

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            return cls(json.load(f)["merges"])

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"merges": self.merges}, f, ensure_ascii=False)

    def piece(self, text):
        chars = to_chars(text.encode("utf-8"))
        if chars in self.ids:
            return [self.ids[chars]]
        parts = list(chars)
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: (self.rank.get((parts[i], parts[i + 1]), 1 << 30), i))
            if (parts[best], parts[best + 1]) not in self.rank:
                break
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        """Ids of plain text; special tokens are never parsed."""
        out = []
        for m in SPLIT.finditer(text):
            p = m.group()
            got = self.cache.get(p)
            if got is None:
                got = self.piece(p)
                if len(self.cache) < 500000:
                    self.cache[p] = got
            out += got
        return out

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids).decode("utf-8", "replace")


def train_bpe(counts, tokens_wanted):
    """counts: {piece text: weight}. One merge per round, the most frequent pair; ties go to the smaller pair."""
    words = [(list(to_chars(w.encode("utf-8"))), c) for w, c in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (w, c) in enumerate(words):
        for p in zip(w, w[1:]):
            pairs[p] += c
            where[p].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    merges, made = [], set()
    while len(made) < tokens_wanted and heap:
        n, p = heapq.heappop(heap)
        if pairs.get(p, 0) != -n:
            if pairs.get(p, 0) > 0:
                heapq.heappush(heap, (-pairs[p], p))
            continue
        joined = p[0] + p[1]
        merges.append(p)
        made.add(joined)
        touched = set()
        for i in where.pop(p):
            w, c = words[i]
            old = collections.Counter(zip(w, w[1:]))
            new, k = [], 0
            while k < len(w):
                if k + 1 < len(w) and w[k] == p[0] and w[k + 1] == p[1]:
                    new.append(joined)
                    k += 2
                else:
                    new.append(w[k])
                    k += 1
            words[i] = (new, c)
            fresh = collections.Counter(zip(new, new[1:]))
            for q in set(old) | set(fresh):
                d = fresh[q] - old[q]
                if d:
                    pairs[q] += d * c
                    touched.add(q)
                if q in fresh:
                    where[q].add(i)
                else:
                    where[q].discard(i)
        pairs.pop(p, None)
        for q in touched:
            if pairs.get(q, 0) > 0:
                heapq.heappush(heap, (-pairs[q], q))
    return merges


def corpus_counts(data, own):
    """Piece counts of the allowed texts, weighted so that guard, chat and Vietnamese words get tokens too."""
    from data import GUARD_FILES, guard_body, read_rows
    counts = collections.Counter()

    def add(text, weight):
        for m in SPLIT.finditer(text):
            counts[m.group()] += weight

    for name, weight in (("books_children", 2), ("books_novels", 1), ("tinyshakespeare", 1)):
        with open(os.path.join(data, "corpus", name + ".txt"), encoding="utf-8") as f:
            add(f.read().replace("<|book_end|>", ""), weight)
    for name in GUARD_FILES:
        for row in read_rows(os.path.join(data, "guard", name + ".jsonl")):
            weight = 12 if row["lang"] == "vi" else 1 if row["lang"] != "en" else 4
            add(" " + row["text"], min(weight, 1 if len(row["text"]) > 2000 else 99))
    for row in read_rows(os.path.join(data, "conversations", "hh_harmless_pairs.jsonl")):
        add("\n\n".join(m["content"] for m in row["chosen"]), 2)
    for name in sorted(os.listdir(own)):
        with open(os.path.join(own, name), encoding="utf-8") as f:
            for line in f:
                add(" " + line.replace("\t", "\n ").replace("; ", " "), 30 if "_vi" in name else 10)
    for role in ("User", "Agent"):
        add(guard_body([("User", "x"), ("Agent", "y")], role), 20000)
    for t in REQUIRED + [str(i) for i in range(15, 100)]:
        for m in SPLIT.finditer(t):
            counts[m.group()] += 200000 if t in REQUIRED else 500
    # A byte string seen once or twice teaches nothing.
    return {w: c for w, c in counts.items() if c > 2 and len(w.encode("utf-8")) < 40}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--seed", type=int, default=1)     # the training of the tokenizer uses no randomness
    a = a.parse_args()
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own")
    merges = train_bpe(corpus_counts(a.data, own), VOCAB - 256 - len(SPECIALS))
    tok = Tokenizer(merges)
    assert len(tok.tokens) == VOCAB, len(tok.tokens)
    for t in REQUIRED:
        assert len(tok.encode(t)) == 1, t
        parts = [c for c in to_chars(t.encode())]
        assert tok.ids[to_chars(t.encode())] is not None, parts
    tok.save(os.path.join(a.out, "tokenizer.json"))
    print("tokens", len(tok.tokens), "verdict ids", tok.encode("safe"), tok.encode("unsafe"))


if __name__ == "__main__":
    main()
