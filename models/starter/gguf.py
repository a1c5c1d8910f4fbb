"""GGUF v3 for the starter: write, read back, Q8_0. No foreign package but numpy."""
import struct

import numpy as np

from tokenizer import SPECIALS, Tokenizer

U32, F32, BOOL, STR, ARR, I32 = 4, 6, 7, 8, 9, 5
ALIGN = 32
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}")


def q8_0(x):
    """float32 rows -> Q8_0 blocks of 32: a half-precision scale, then 32 signed bytes."""
    b = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    d = (np.abs(b).max(axis=1) / 127.0).astype(np.float32)
    inv = np.where(d > 0, 1.0 / np.maximum(d, 1e-30), 0).astype(np.float32)
    q = np.clip(np.rint(b * inv[:, None]), -127, 127).astype(np.int8)
    out = np.empty(len(b), dtype=[("d", "<f2"), ("q", "i1", 32)])
    out["d"], out["q"] = d.astype(np.float16), q
    return out.tobytes()


def from_q8_0(data, shape):
    b = np.frombuffer(data, dtype=[("d", "<f2"), ("q", "i1", 32)])
    return (b["q"].astype(np.float32) * b["d"].astype(np.float32)[:, None]).reshape(shape)


def quantised(x):
    return from_q8_0(q8_0(x), x.shape)


def _s(text):
    b = text.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def _kv(key, kind, value, item=None):
    out = _s(key) + struct.pack("<I", kind)
    if kind == ARR:
        out += struct.pack("<IQ", item, len(value))
        return out + b"".join(_s(v) if item == STR else struct.pack("<i", v) for v in value)
    if kind == STR:
        return out + _s(value)
    return out + struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], value)


def metadata(cfg, tok):
    sp = tok.special
    kinds = [3 if t in sp else 1 for t in tok.tokens]
    return [
        _kv("general.architecture", STR, "llama"),
        _kv("general.name", STR, "Sallyport Starter"),
        _kv("general.license", STR, "Apache-2.0"),
        _kv("general.alignment", U32, ALIGN),
        _kv("general.file_type", U32, 7),
        _kv("sallyport.starter", BOOL, True),
        _kv("llama.block_count", U32, cfg["layers"]),
        _kv("llama.context_length", U32, cfg["context"]),
        _kv("llama.embedding_length", U32, cfg["dim"]),
        _kv("llama.feed_forward_length", U32, cfg["ffn"]),
        _kv("llama.attention.head_count", U32, cfg["heads"]),
        _kv("llama.attention.head_count_kv", U32, cfg["kv_heads"]),
        _kv("llama.attention.key_length", U32, cfg["head_dim"]),
        _kv("llama.attention.value_length", U32, cfg["head_dim"]),
        _kv("llama.attention.layer_norm_rms_epsilon", F32, cfg["eps"]),
        _kv("llama.rope.dimension_count", U32, cfg["head_dim"]),
        _kv("llama.rope.freq_base", F32, cfg["rope_base"]),
        _kv("llama.vocab_size", U32, len(tok.tokens)),
        _kv("tokenizer.ggml.model", STR, "gpt2"),
        _kv("tokenizer.ggml.pre", STR, "llama-bpe"),
        _kv("tokenizer.ggml.tokens", ARR, tok.tokens, STR),
        _kv("tokenizer.ggml.token_type", ARR, kinds, I32),
        _kv("tokenizer.ggml.merges", ARR, [a + " " + b for a, b in tok.merges], STR),
        _kv("tokenizer.ggml.bos_token_id", U32, sp["<|begin_of_text|>"]),
        _kv("tokenizer.ggml.eos_token_id", U32, sp["<|eot_id|>"]),
        _kv("tokenizer.ggml.padding_token_id", U32, sp["<|finetune_right_pad_id|>"]),
        _kv("tokenizer.chat_template", STR, CHAT_TEMPLATE),
    ]


def write(path, cfg, tok, tensors):
    """tensors: {GGUF name: float32 array}; matrices become Q8_0, vectors stay F32."""
    kvs = metadata(cfg, tok)
    infos, blobs, offset = [], [], 0
    for name, x in tensors.items():
        x = np.asarray(x, np.float32)
        kind, blob = (8, q8_0(x)) if x.ndim == 2 else (0, x.astype("<f4").tobytes())
        info = _s(name) + struct.pack("<I", x.ndim)
        info += b"".join(struct.pack("<Q", n) for n in reversed(x.shape))    # GGUF: fastest dimension first
        infos.append(info + struct.pack("<IQ", kind, offset))
        blob += b"\0" * (-len(blob) % ALIGN)
        blobs.append(blob)
        offset += len(blob)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(kvs)) + b"".join(kvs) + b"".join(infos)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % ALIGN) + b"".join(blobs))


def read(path):
    """(metadata, {name: float32 array}) of a file as written above, Q8_0 dequantised."""
    with open(path, "rb") as f:
        data = f.read()
    pos = 4

    def take(fmt):
        nonlocal pos
        v = struct.unpack_from("<" + fmt, data, pos)
        pos += struct.calcsize("<" + fmt)
        return v[0]

    def text():
        nonlocal pos
        n = take("Q")
        pos += n
        return data[pos - n:pos].decode("utf-8")

    def value(kind):
        if kind == ARR:
            item, n = take("I"), take("Q")
            return [value(item) for _ in range(n)]
        return text() if kind == STR else take({U32: "I", F32: "f", BOOL: "?", I32: "i"}[kind])

    assert data[:4] == b"GGUF" and take("I") == 3
    n_tensors, n_kv = take("Q"), take("Q")
    meta = {}
    for _ in range(n_kv):
        key = text()
        meta[key] = value(take("I"))
    infos = []
    for _ in range(n_tensors):
        name = text()
        dims = [take("Q") for _ in range(take("I"))]
        infos.append((name, dims[::-1], take("I"), take("Q")))
    pos += -pos % ALIGN
    tensors = {}
    for name, shape, kind, offset in infos:
        n = int(np.prod(shape))
        blob = data[pos + offset:pos + offset + (n // 32 * 34 if kind == 8 else 4 * n)]
        tensors[name] = from_q8_0(blob, shape) if kind == 8 else np.frombuffer(blob, "<f4").reshape(shape)
    return meta, tensors


def tokenizer_of(meta):
    tok = Tokenizer([m.split(" ") for m in meta["tokenizer.ggml.merges"]])
    assert tok.tokens == meta["tokenizer.ggml.tokens"] and tok.tokens[-len(SPECIALS):] == SPECIALS
    return tok
