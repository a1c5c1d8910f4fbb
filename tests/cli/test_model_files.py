#!/usr/bin/python3
"""test_model_files.py - `sallyport model quantize`, and models in several files, on made-up models.

Prints 'ok NAME' / 'not ok NAME'. BUILDDIR and SRCDIR come from the environment, as make check sets them."""
import fcntl
import hashlib
import json
import os
import shutil
import struct
import sys

sys.dont_write_bytecode = True  # the source folder may be read-only
from cli_kit import TMP, need, path, read, sp

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def model(*args, **kw):
    return sp("model", *args, **kw)


def model_json(*args):
    return json.loads(model(*args, "-o", "json").stdout)


def nano(kind):
    f = path("nano-%s.gguf" % kind)
    if not os.path.exists(f):
        model("synth", f, "--shape", "nano", "--type", kind)
    return f


def logits(f):
    return model_json("logits", f, "--tokens", "3,4,5")["logits"]


def distance(a, b):
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)) ** 0.5


def quantised_models_come_near_the_one_they_were_made_of():
    want = logits(nano("F32"))
    mean = sum(want) / len(want)
    deviation = distance(want, [mean] * len(want))
    for kind, bound in (("Q8_0", 0.03), ("Q6_K", 0.08), ("Q4_K_M", 0.3), ("Q4_K", 0.3), ("Q4_0", 0.35)):
        f = path("q-%s.gguf" % kind)
        o = model_json("quantize", nano("F32"), f, "--type", kind)
        need(o["bytes_out"] == os.path.getsize(f) < o["bytes_in"] == os.path.getsize(nano("F32")), o)
        near = distance(logits(f), want) / deviation
        need(near < bound, "%s: %g" % (kind, near))
        a, b = model_json("inspect", f), model_json("inspect", nano("F32"))
        need([t["name"] for t in a["tensors"]] == [t["name"] for t in b["tensors"]], "the same tensors")
        need(a["name"] == b["name"] and a["vocab"] == b["vocab"] and a["context"] == b["context"], "metadata stays")
        need(not os.path.exists(f + ".part"), "nothing is left behind")


def files_that_are_there_stay_unless_forced():
    f = path("there.gguf")
    with open(f, "w") as o:
        o.write("mine")
    need("--force" in model("quantize", nano("F32"), f, "--type", "Q8_0", code=6).stderr, "says how")
    need(read(f) == b"mine", "untouched")
    model("quantize", nano("F32"), f, "--type", "Q8_0", "--force")
    model("quantize", f, f, "--type", "Q8_0", "--force", code=2)
    need("quantised already" in model("quantize", f, path("x.gguf"), "--type", "Q4_0", code=2).stderr, "says why")
    need(not os.path.exists(path("x.gguf")) and not os.path.exists(path("x.gguf.part")), "no half file")
    model("quantize", f, path("x.gguf"), "--type", "Q4_0", "--requantize")
    model("quantize", nano("F32"), path("y.gguf"), "--type", "Q9", code=2)
    model("quantize", path("nowhere"), path("y.gguf"), "--type", "Q8_0", code=3)
    model("quantize", nano("F32"), path("nofolder/y.gguf"), "--type", "Q8_0", code=1)


def the_file_that_is_read_is_never_written():
    part = path("z.gguf.part")
    shutil.copy(nano("F32"), part)
    need("being read" in model("quantize", part, path("z.gguf"), "--type", "Q8_0", code=2).stderr, "says why")
    need(read(part) == read(nano("F32")) and not os.path.exists(path("z.gguf")), "the input stays")
    os.rename(part, path("z.gguf"))
    os.link(path("z.gguf"), part)
    model("quantize", path("z.gguf"), path("z.gguf"), "--type", "Q8_0", "--force", code=2)
    need(read(part) == read(nano("F32")), "another name of the input")
    with open(path("w.gguf.part"), "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"half")
        other.flush()
        need("being written" in model("quantize", nano("F32"), path("w.gguf"), "--type", "Q8_0", code=2).stderr, "why")
        need(read(path("w.gguf.part")) == b"half" and not os.path.exists(path("w.gguf")), "left to the other one")
    model("quantize", nano("F32"), path("w.gguf"), "--type", "Q8_0")


# ---- several files ----

class Gguf:
    """A file's keys as bytes, and its tensors."""
    def __init__(self, data):
        self.d, self.p = data, 24
        n_tensors, self.n_keys = struct.unpack("<QQ", data[8:24])
        for _ in range(self.n_keys):
            self.text()
            self.value(self.number("I"))
        self.keys = data[24:self.p]
        heads = [(self.text(), [self.number("Q") for _ in range(self.number("I"))], self.number("I"), self.number("Q"))
                 for _ in range(n_tensors)]
        base = (self.p + 31) // 32 * 32
        ends = sorted(h[3] for h in heads)[1:] + [len(data) - base]
        self.tensors = [(n, dims, kind, data[base + at:base + min(e for e in ends if e > at)]) for n, dims, kind, at in heads]

    def number(self, kind):
        v, = struct.unpack_from("<" + kind, self.d, self.p)
        self.p += struct.calcsize("<" + kind)
        return v

    def text(self):
        n = self.number("Q")
        self.p += n
        return self.d[self.p - n:self.p]

    def value(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            kind, n = self.number("I"), self.number("Q")
            for _ in range(n):
                self.value(kind)
        else:
            self.p += SIZES[kind]


def text(b):
    return struct.pack("<Q", len(b)) + b


def write_part(f, keys, n_keys, tensors):
    heads = data = b""
    for name, dims, kind, weights in tensors:
        data += b"\0" * (-len(data) % 32)
        heads += text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, len(data))
        data += weights
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), n_keys) + keys + heads
    with open(f, "wb") as o:
        o.write(head + b"\0" * (-len(head) % 32) + data)


def split(f, stem, n):
    g = Gguf(read(f))
    names = [path("%s-%05d-of-%05d.gguf" % (stem, i + 1, n)) for i in range(n)]
    for i, name in enumerate(names):
        keys = (text(b"split.no") + struct.pack("<IH", 2, i) + text(b"split.count") + struct.pack("<IH", 2, n)
                + text(b"split.tensors.count") + struct.pack("<Ii", 5, len(g.tensors)))
        mine = g.tensors[len(g.tensors) * i // n:len(g.tensors) * (i + 1) // n]
        write_part(name, keys + (b"" if i else g.keys), 3 + (0 if i else g.n_keys), mine)
    return names


def any_part_names_the_whole_model():
    whole = nano("Q4_K_M")
    names = split(whole, "cut", 3)
    want = model_json("inspect", whole)
    for f in names:
        o = model_json("inspect", f)
        need([t["name"] for t in o["tensors"]] == [t["name"] for t in want["tensors"]], "all tensors")
        need(o["params"] == want["params"] and o["file_bytes"] == sum(map(os.path.getsize, names)), "sizes")
        need(logits(f) == logits(whole), "logits")
    model("quantize", names[1], path("joined.gguf"), "--type", "Q8_0", "--requantize")
    need(model_json("inspect", path("joined.gguf"))["params"] == want["params"], "quantize joins")
    os.rename(names[2], names[2] + ".away")
    need(names[2] in model("inspect", names[0], code=3).stderr, "the missing one is named")
    shutil.copy(names[1], names[2])
    need("twice" in model("inspect", names[0], code=1).stderr, "a part twice")
    os.rename(names[2] + ".away", names[2])


def a_split_model_is_imported_whole_by_one_digest():
    names = split(nano("Q8_0"), "imp", 2)
    sums = b"".join(hashlib.sha256(read(f)).digest() for f in names)
    sha = hashlib.sha256(b"sallyport/split/v1\n" + sums).hexdigest()
    os.mkdir(path("in"))
    model("import", names[1], "--sha256", hashlib.sha256(sums).hexdigest(), "--to", path("in"), code=1)
    need(os.listdir(path("in")) == [], "nothing of a wrong one stays")
    model("import", names[1], "--sha256", sha, "--to", path("in"))
    need(sorted(os.listdir(path("in"))) == [os.path.basename(f) for f in names], "both files")


def main():
    bad = 0
    for step in (quantised_models_come_near_the_one_they_were_made_of, files_that_are_there_stay_unless_forced,
                 the_file_that_is_read_is_never_written, any_part_names_the_whole_model,
                 a_split_model_is_imported_whole_by_one_digest):
        try:
            step()
            print("ok %s" % step.__name__)
        except Exception as e:  # one step's failure leaves the others to say theirs
            bad = 1
            print("not ok %s: %s" % (step.__name__, e))
    shutil.rmtree(TMP)
    return bad


if __name__ == "__main__":
    sys.exit(main())
