#!/usr/bin/python3
"""test_model.py - the verbs of `sallyport model` on made-up models (and stories260K where it is there).
No time is tested, only that figures are there and what they are about.

Prints 'ok NAME' / 'not ok NAME'. Folders come from BUILDDIR, SRCDIR and SALLYPORT_SHARED, as make check sets them."""
import json
import math
import os
import shutil
import sys

sys.dont_write_bytecode = True  # the source folder may be read-only
from cli_kit import TMP, need, path, read, sp

STORIES = os.path.join(os.environ.get("SALLYPORT_SHARED", "/nonexistent"), "data/models/stories260K/stories260K.f32.gguf")
TEXT = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
VERBS = ("inspect", "logits", "generate", "tokenize", "import", "synth", "bench", "plan", "perplexity")


def model(*args, **kw):
    return sp("model", *args, **kw)


def model_json(*args):
    return json.loads(model(*args, "-o", "json").stdout)


def nano(kind):
    f = path("nano-%s.gguf" % kind)
    if not os.path.exists(f):
        model("synth", f, "--shape", "nano", "--type", kind)
    return f


def ids(xs):
    return ",".join(map(str, xs))


def every_verb_says_what_it_takes():
    everything = model("--help").stdout
    for v in VERBS:
        one = model(v, "--help").stdout
        need("  %s " % v in one and "  %s " % v in everything, v)
        need(model(v, code=2).stdout == "", "%s without a file is a usage error" % v)
    need("perplexity" in model("perplexitz", "x", code=2).stderr, "the nearest verb")


def made_up_models_are_the_same_for_a_seed_and_of_the_shape_asked_for():
    model("synth", path("a.gguf"), "--shape", "nano", "--type", "Q8_0", "--seed", "7")
    model("synth", path("b.gguf"), "--shape", "nano", "--type", "Q8_0", "--seed", "7")
    model("synth", path("c.gguf"), "--shape", "nano", "--type", "Q8_0", "--seed", "8")
    need(read(path("a.gguf")) == read(path("b.gguf")) != read(path("c.gguf")), "seeds")
    model("synth", path("a.gguf"), "--shape", "nano", "--type", "Q8_0", code=6)
    need("IQ4_NL" in model("synth", path("d.gguf"), "--shape", "nano", "--type", "IQ4NL", code=2).stderr, "nearest type")
    for shape, params in (("1b", 1235814400), ("8b", 8030261248), ("405b", 405853388800)):
        f = path(shape + ".gguf")
        model("synth", f, "--shape", shape, "--type", "Q4_K_M", "--headers")
        o = model_json("inspect", f)
        small = sum(math.prod(t["dims"]) for t in o["tensors"] if t["name"] == "rope_freqs.weight")
        need(o["params"] - small == params, "%s has %d parameters" % (shape, o["params"]))
        need(o["vocab"] == 128256 and o["context"] == 131072, shape)


def made_up_logits_are_sane_for_every_type():
    for kind in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q4_K_M", "Q5_K", "Q5_K_M", "Q6_K",
                 "IQ4_NL", "IQ4_XS", "BF16", "F16", "F32"):
        row = model_json("logits", nano(kind), "--tokens", "3,4,5")["logits"]
        need(None not in row, "%s: no number" % kind)
        mean = sum(row) / len(row)
        sd = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row))
        need(0.3 < sd < 3 and max(row) - mean < 8 * sd, "%s: deviation %g, mean %g" % (kind, sd, mean))


def logits_of_prompt_and_steps_are_near():
    """Steps are computed as drawn tokens are: int8 activations, but for F32 (doc/engine.md)."""
    for kind, bound in (("F32", 1e-3), ("Q8_0", 0.1)):
        a, b = (model_json("logits", nano(kind), "--tokens", "3,4,5", "--path", p)["logits"] for p in ("batch", "step"))
        need(max(abs(x - y) for x, y in zip(a, b)) < bound, kind)
    model("logits", nano("F32"), "--tokens", "3", "--path", "side", code=2)


def generation_from_text_is_generation_from_its_tokens():
    with open(path("t.txt"), "w") as f:
        f.write(TEXT)
    for f in [nano("Q4_K_M")] + [STORIES] * os.path.exists(STORIES):
        tokens = model_json("tokenize", f, "--text-file", path("t.txt"), "--bos")["ids"]
        a = model_json("generate", f, "--prompt", TEXT, "--n", "12", "--greedy")
        b = model_json("generate", f, "--tokens", ids(tokens), "--n", "12", "--greedy")
        need(a == b and a["prompt_tokens"] == len(tokens) and len(a["tokens"]) <= 12, "%s: %s\n%s" % (f, a, b))
        need(a["end"] in ("end", "length"), a["end"])
        s = [model_json("generate", f, "--prompt", TEXT, "--n", "12", "--seed", seed, "--temperature", "1")["tokens"]
             for seed in ("1", "1", "2")]
        need(s[0] == s[1] != s[2], "seeds")
    if os.path.exists(STORIES):
        text = model_json("generate", STORIES, "--prompt", "Once upon a time", "--n", "30", "--greedy")["text"]
        need(text.startswith(", there was a little girl named Lily."), text)
        need(model("generate", STORIES, "--prompt", "Once upon a time", "--n", "30", "--greedy").stdout == text + "\n",
             "the text is shown")
    model("generate", nano("Q8_0"), "--n", "3", code=2)
    model("generate", nano("Q8_0"), "--prompt", "a", "--tokens", "1", code=2)
    model("generate", nano("Q8_0"), "--prompt", "a", "--n", "4096", code=2)
    model("generate", nano("Q8_0"), "--prompt", "a", "--kernel", "abacus", code=2)


def surprise(row, token):
    top = max(row)
    return math.log(sum(math.exp(v - top) for v in row)) + top - row[token]


def plain_perplexity(f, text, bos, ctx, stride):
    """One call of logits for each token that counts."""
    room, done, total, n, start = ctx - len(bos), 0, 0.0, 0, 0
    while done < len(text):
        end = min(start + room, len(text))
        for t in range(done, end):
            row = model_json("logits", f, "--tokens", ids(bos + text[start:t]))["logits"]
            total += surprise(row, text[t])
            n += 1
        done, start = end, start + stride
    return total / n, n


def perplexity_is_what_logits_say():
    with open(path("t.txt"), "w") as f:
        f.write(TEXT[:60])
    for f in [nano("F32")] + [STORIES] * os.path.exists(STORIES):
        bos = model_json("tokenize", f, "--text-file", path("t.txt"), "--bos")["ids"][:1]
        text = model_json("tokenize", f, "--text-file", path("t.txt"))["ids"]
        for ctx, stride in ((8, 3), (16, 8)):
            o = model_json("perplexity", f, "--text-file", path("t.txt"), "--ctx", str(ctx), "--stride", str(stride))
            want, n = plain_perplexity(f, text, bos, ctx, stride)
            need(o["tokens"] == n == len(text), "%d tokens count, not %d" % (o["tokens"], n))
            need(abs(o["nll_per_token"] - want) < 1e-5, "%s ctx %d: %r, not %r" % (f, ctx, o, want))
            need(abs(o["perplexity"] - math.exp(want)) < 1e-4 * math.exp(want), o)
    model("perplexity", nano("F32"), "--text-file", path("nowhere"), code=3)
    model("perplexity", nano("F32"), "--text-file", path("t.txt"), "--ctx", "100000", code=2)


def bench_has_a_row_for_each_cell():
    o = model_json("bench", nano("Q4_K_M"), "-p", "8,16", "-n", "2", "-d", "0,20", "-b", "1,3", "-t", "1,2", "-r", "1")
    cells = {(r["test"], r["tokens"], r["batch"], r["depth"], r["threads"]) for r in o["rows"]}
    want = {("prefill", p, 1, 0, t) for p in (8, 16) for t in (1, 2)}
    want |= {("decode", 2, b, d, t) for b in (1, 3) for d in (0, 20) for t in (1, 2)}
    need(cells == want and len(o["rows"]) == len(want), cells ^ want)
    for r in o["rows"]:
        need(0 < r["lowest"] <= r["tokens_per_second"] <= r["highest"] and r["percent"] > 0, r)
        need(r["of"] == ("peak" if r["test"] == "prefill" else "bandwidth"), r)
    need([m["threads"] for m in o["machine"]] == [1, 2] and all(
        m["read_bytes_per_second"] > 0 and m["product_flops_per_second"] > 0 for m in o["machine"]), o["machine"])
    need(all(0 < x["resident_bytes"] for x in o["load"]) and o["schema_version"] == 1, o["load"])
    model("bench", nano("Q4_K_M"), "-b", "0", code=2)
    model("bench", nano("Q4_K_M"), "-t", "1,x", code=2)
    model("bench", nano("Q4_K_M"), "--kv", "q1", code=2)


def plan_needs_the_headers_alone():
    whole = nano("Q4_K_M")
    with open(path("cut.gguf"), "wb") as f:
        f.write(read(whole)[:len(read(whole)) // 2])
    a, b = (model_json("plan", f, "--seconds", "0") for f in (whole, path("cut.gguf")))
    need(not a.pop("headers_only") and b.pop("headers_only"), "which one is cut")
    a.pop("available_bytes"), b.pop("available_bytes")
    need(a == b, "%s\n%s" % (a, b))
    need(a["weights_bytes"] == sum(t["bytes"] for t in model_json("inspect", whole)["tensors"]), "weights")
    need(a["kv_bytes_per_token"] == 2 * 2 * 2 * 2 * 64, "2 layers x K and V x 2 heads of 64 x 2 bytes")
    need("expected" not in a, "nothing was measured")
    with open(path("cut.gguf"), "wb") as f:
        f.write(read(whole)[:100])
    model("plan", path("cut.gguf"), code=1)


def plan_foretells_speed_for_any_shape():
    for f in (nano("Q4_K_M"), path("405b.gguf")):
        o = model_json("plan", f, "--seconds", "0.05")["expected"]
        need([g["tokens"] for g in o["guard"]] == [100, 1000, 8000], o["guard"])
        s = [g["seconds"] for g in o["guard"]]
        need(0 < s[0] < s[1] < s[2], s)
        t = [d["tokens_per_second"] for d in o["decode"]]
        need(t[0] >= t[1] >= t[2] > 0, t)


TESTS = (every_verb_says_what_it_takes, made_up_models_are_the_same_for_a_seed_and_of_the_shape_asked_for,
         made_up_logits_are_sane_for_every_type, logits_of_prompt_and_steps_are_near,
         generation_from_text_is_generation_from_its_tokens, perplexity_is_what_logits_say,
         bench_has_a_row_for_each_cell, plan_needs_the_headers_alone, plan_foretells_speed_for_any_shape)


def main():
    bad = 0
    try:
        for t in TESTS:
            try:
                t()
                print("ok " + t.__name__, flush=True)
            except Exception as e:  # whatever it raised, it has failed
                bad += 1
                print("not ok " + t.__name__, flush=True)
                for line in (str(e) or repr(e)).splitlines()[-12:]:
                    print("#   " + line, flush=True)
    finally:
        shutil.rmtree(TMP, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
