#!/usr/bin/python3
"""peer.py --build FOLDER --models FOLDER [options] - our engine beside node-llama-cpp, the same cells in turns.

Both keep the model loaded; the one that does not measure is stopped (SIGSTOP). Each cell runs A B A B ...; a row holds
both medians, their ratio, and how many CPUs other processes kept busy meanwhile (/proc/stat). Rows measured while
others used more than 0.1 CPU are marked; --quiet waits for a quiet machine and refuses to measure on any other.

The peer comes by npm into FOLDER/peer (nothing of it is in the repository); models that are missing in --models are
made by `sallyport model synth`. --avx2 takes the other programs' kernels away: the peer's newer libraries are left out
of a second copy, our kernel path is avx2. JSON goes to --json, the table of doc/bench.md to standard output
(--table FILE ... prints it again from JSON files, with --doc into that document)."""
import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
QUIET = 0.1
TICK = os.sysconf("SC_CLK_TCK")
NEWER_THAN_AVX2 = ("alderlake", "cannonlake", "cascadelake", "cooperlake", "icelake", "sapphirerapids", "skylakex", "zen4")

# cell: (name, our line, peer's object, unit, bar: (ratio of ours to the peer's, for speed >=, for time <=))
FULL = ("prefill 512", "prefill 2048", "decode 0", "decode 512", "decode 2048", "batch 16", "clients 4", "verdict warm",
        "verdict cold")
SHORT = ("prefill 512", "decode 0")
BARS = {("1b", "Q4_0"): {"prefill 512": 3, "decode 0": 1.3}, ("1b", "Q4_K_M"): {
    "prefill 512": 3, "prefill 2048": 3.2, "decode 0": 1.4, "decode 512": 1.3, "decode 2048": 1.5, "batch 16": 4,
    "clients 4": 0.25, "verdict warm": 0.42, "verdict cold": 0.2}, ("1b", "Q8_0"): {"prefill 512": 3, "decode 0": 1.0},
    ("1b", "BF16"): {"prefill 512": 5, "decode 0": 1.0}, ("1b", "F16"): {"prefill 512": 2.5},
    ("8b", "Q4_K_M"): {"prefill 512": 3}}
AVX2_BAR = 0.9


def cell_of(name, o):
    what, n = name.split()
    if what == "prefill":
        return "prefill %s" % n, {"cell": what, "tokens": int(n)}
    if what == "decode":
        return "decode %s %d" % (n, o.n), {"cell": what, "depth": int(n), "n": o.n}
    if what == "batch":
        return "batch %s 128 %d" % (n, min(o.n, 32)), {"cell": what, "prompt": 128, "n": min(o.n, 32)}
    if what == "clients":
        return "clients %s 512 32" % n, {"cell": what, "prompt": 512, "n": 32}
    return "verdict %d 64" % o.prefix, {"cell": what, "prefix": o.prefix, "n": 64, "cold": n == "cold"}


# ---- who uses the CPUs ----

def cpu_of(pid):
    """CPU seconds of a process and of those it has waited for."""
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return sum(map(int, v[11:15])) / TICK


def busy():
    with open("/proc/stat") as f:
        v = list(map(int, f.readline().split()[1:9]))
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / TICK


class Others:
    def __init__(self, pids):
        self.pids = list(pids) + [os.getpid()]
        self.start()

    def start(self):
        self.at, self.busy, self.own = time.monotonic(), busy(), sum(map(cpu_of, self.pids))

    def cpus(self):
        took = time.monotonic() - self.at
        return max(0.0, (busy() - self.busy) - (sum(map(cpu_of, self.pids)) - self.own)) / took


def wait_quiet(pids, limit=600):
    end = time.monotonic() + limit
    while True:
        o = Others(pids)
        time.sleep(2)
        if o.cpus() <= QUIET:
            return
        if time.monotonic() > end:
            sys.exit("peer.py: others use %.2f CPUs; not measuring on a busy machine" % o.cpus())


# ---- the two programs ----

class Side:
    def __init__(self, args, cwd=None):
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=cwd)
        self.hello = self.read()

    def read(self):
        line = self.p.stdout.readline()
        if not line:
            sys.exit("peer.py: a program ended (status %s)" % self.p.wait())
        r = json.loads(line)
        if "error" in r:
            sys.exit("peer.py: " + r["error"])
        return r

    def run(self, line):
        self.p.send_signal(signal.SIGCONT)
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        r = self.read()
        time.sleep(0.05)  # threads that spin a little before they sleep
        self.p.send_signal(signal.SIGSTOP)
        return r

    def close(self):
        self.p.send_signal(signal.SIGCONT)
        self.p.stdin.close()
        self.p.wait()


def install(o):
    """npm install of the pinned version; gives the folder."""
    to = os.path.join(os.path.abspath(o.build), "peer")
    os.makedirs(to, exist_ok=True)
    for f in ("package.json", "peer.mjs"):
        shutil.copy(os.path.join(HERE, "peer", f), to)
    if not os.path.isdir(os.path.join(to, "node_modules/@node-llama-cpp/linux-x64")):
        subprocess.run(["npm", "install", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
                       cwd=to, check=True, env=dict(os.environ, NODE_LLAMA_CPP_SKIP_DOWNLOAD="true"))
    if not o.avx2:
        return to
    avx2 = to + "-avx2"
    if not os.path.isdir(avx2):
        shutil.copytree(to, avx2, symlinks=True)
        bins = os.path.join(avx2, "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64")
        for lib in NEWER_THAN_AVX2:
            os.unlink(os.path.join(bins, "libggml-cpu-%s.so" % lib))
    shutil.copy(os.path.join(HERE, "peer", "peer.mjs"), avx2)
    return avx2


def model_file(o, shape, kind):
    f = os.path.join(o.models, "%s-%s.gguf" % (shape, kind))
    if not os.path.exists(f):
        subprocess.run([os.path.join(o.build, "sallyport"), "model", "synth", f, "--shape", shape, "--type", kind], check=True)
    return f


# ---- cells ----

def value(r):
    return r.get("per_second", r.get("seconds"))


def best_fa(peer, theirs, o):
    """The peer's better way of attention for this cell, by one run of each."""
    if o.fa != "best":
        return o.fa
    got = {fa: peer.run(json.dumps(dict(theirs, fa=fa))) for fa in ("on", "off")}
    return (max if "per_second" in got["on"] else min)(got, key=lambda fa: value(got[fa]))


def run_cell(name, ours, peer, o, bar):
    our_line, theirs = cell_of(name, o)
    pids = [s.p.pid for s in (ours, peer)]
    if o.quiet:
        wait_quiet(pids)
    theirs["fa"] = best_fa(peer, theirs, o)
    # caches, contexts, kept sequences
    ours.run(our_line)
    peer.run(json.dumps(theirs))
    others = Others(pids)
    a, b = [], []
    for _ in range(o.repeat):
        a.append(ours.run(our_line))
        b.append(peer.run(json.dumps(theirs)))
    share = others.cpus()
    unit = "tokens/s" if "per_second" in a[0] else "s"
    x, y = (statistics.median(map(value, v)) for v in (a, b))
    row = dict(cell=name, unit=unit, ours=x, peer=y, ratio=x / y, ours_all=[value(r) for r in a],
               peer_all=[value(r) for r in b], peer_flash_attention=theirs["fa"], others_cpus=round(share, 3),
               quiet=share <= QUIET)
    if bar:
        row.update(bar=bar, met=x / y >= bar if unit == "tokens/s" else x / y <= bar)
    print("%-14s ours %10.3f peer %10.3f %-8s ratio %.2f others %.2f" % (name, x, y, unit, x / y, share),
          file=sys.stderr, flush=True)
    return row


def run_model(o, shape, kind, folder, doc):
    f = model_file(o, shape, kind)
    ours_args = [os.path.join(o.build, "sallyport"), "model", "bench", f, "--cells", "-t", str(o.threads)]
    kernel = o.kernel or ("avx2" if o.avx2 else None)
    if kernel:
        ours_args += ["--kernel", kernel]
    if o.fast_f16:
        ours_args.append("--fast-f16")
    print("%s %s" % (shape, kind), file=sys.stderr, flush=True)
    ours = Side(ours_args)
    ours.run("rates")
    peer = Side(["node", "peer.mjs", os.path.abspath(f), str(o.threads)], cwd=folder)
    peer.p.send_signal(signal.SIGSTOP)
    doc["kernel"], doc["peer"] = ours.hello["kernel"], {k: peer.hello[k] for k in ("version", "release", "build", "system")}
    cells = o.cells.split(",") if o.cells else FULL if (shape, kind) == ("1b", "Q4_K_M") else SHORT
    m = dict(shape=shape, types=kind, load_seconds=ours.hello["load_seconds"], peer_load_seconds=peer.hello["load_seconds"],
             rates=ours.run("rates"), rows=[])
    doc["models"].append(m)
    for c in cells:
        bar = AVX2_BAR if o.avx2 else BARS.get((shape, kind), {}).get(c)
        if o.avx2 and c.split()[0] in ("clients", "verdict"):
            bar = 1 / AVX2_BAR
        if o.fast_f16 and kind == "F16" and c.startswith("prefill"):
            bar = 5
        row = run_cell(c, ours, peer, o, bar)
        if c.startswith("decode"):  # bytes read for a token, of what the machine reads
            each = ours.hello["decode_bytes"] + (int(c.split()[1]) + o.n / 2) * ours.hello["kv_bytes_per_token"]
            for side in ("ours", "peer"):
                row[side + "_percent_of_memory"] = 100 * each * row[side] / m["rates"]["read_bytes_per_second"]
        m["rows"].append(row)
        save(o, doc)
    ours.close()
    peer.close()


def save(o, doc):
    if o.json:
        with open(o.json + ".tmp", "w") as f:
            json.dump(doc, f, indent=1, sort_keys=True)
        os.replace(o.json + ".tmp", o.json)


def cpu_name():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def table(doc):
    p = doc["peer"]
    out = ["%s, %d CPUs, %d threads; our kernel path `%s`; peer node-llama-cpp %s (llama.cpp %s, %s), `%s`; %d runs each" % (
        doc["cpu"], doc["cpus"], doc["threads"], doc["kernel"], p["version"], p["release"].get("release", "?"), p["build"],
        p["system"], doc["repeat"]), "", "| model | cell | ours | peer | ratio | bar | of memory rate, ours / peer | others' CPUs |",
           "|---|---|---|---|---|---|---|---|"]
    for m in doc["models"]:
        for r in m["rows"]:
            bar = "" if "bar" not in r else "%s %.2f %s" % (
                ">=" if r["unit"] == "tokens/s" else "<=", r["bar"], "met" if r["met"] else "**missed**")
            part = "%.0f %% / %.0f %%" % (
                r["ours_percent_of_memory"], r["peer_percent_of_memory"]) if "ours_percent_of_memory" in r else ""
            out.append("| %s %s%s | %s | %.4g %s | %.4g | %.2f | %s | %s | %.2f%s |" % (
                m["shape"], m["types"], " (fast)" if doc.get("fast_f16") else "", r["cell"], r["ours"], r["unit"], r["peer"],
                r["ratio"], bar, part, r["others_cpus"],
                "" if r["quiet"] else " (busy)"))
    out.append("")
    for m in doc["models"]:
        out.append("- %s %s: ready in %.2f s (peer %.2f s); memory %.1f GB/s, products %.0f GFLOP/s" % (
            m["shape"], m["types"], m["load_seconds"], m["peer_load_seconds"], m["rates"]["read_bytes_per_second"] / 1e9,
            m["rates"]["product_flops_per_second"] / 1e9))
    return "\n".join(out) + "\n"


def into_doc(path, docs):
    """The tables between the two marks of doc/bench.md."""
    with open(path) as f:
        text = f.read()
    head, rest = text.split("<!-- figures", 1)
    mark, rest = rest.split("-->", 1)
    tail = rest[rest.index("<!-- end of figures"):]
    with open(path, "w") as f:
        f.write(head + "<!-- figures" + mark + "-->\n" + "\n".join(map(table, docs)) + tail)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--build", default=".", help="our build folder (with sallyport)")
    a.add_argument("--models", default="models", help="folder of model files")
    a.add_argument("--set", default="1b:Q4_K_M,1b:Q4_0,1b:Q8_0", help="shape:type,...")
    a.add_argument("--cells", help="cells instead of those of each model: %s" % ",".join(FULL))
    a.add_argument("--repeat", type=int, default=5)
    a.add_argument("--n", type=int, default=64, help="tokens to decode")
    a.add_argument("--prefix", type=int, default=400, help="tokens of a guard's fixed text")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--kernel", help="our kernel path")
    a.add_argument("--fast-f16", action="store_true", help="our F16 prompts in bf16")
    a.add_argument("--fa", choices=("best", "auto", "on", "off"), default="best", help="the peer's flash attention")
    a.add_argument("--avx2", action="store_true")
    a.add_argument("--quiet", action="store_true", help="wait for a quiet machine, refuse any other")
    a.add_argument("--json", help="where the figures go")
    a.add_argument("--table", nargs="+", help="only print the tables of these JSON files")
    a.add_argument("--doc", help="with --table: put them into this file (doc/bench.md) instead")
    o = a.parse_args()
    if o.table:
        docs = []
        for name in o.table:
            with open(name) as f:
                docs.append(json.load(f))
        return into_doc(o.doc, docs) if o.doc else print("\n".join(map(table, docs)))
    os.makedirs(o.models, exist_ok=True)
    doc = dict(schema_version=1, fast_f16=o.fast_f16, cpu=cpu_name(), cpus=os.cpu_count(), threads=o.threads, repeat=o.repeat, models=[])
    folder = install(o)
    for part in o.set.split(","):
        run_model(o, *part.split(":"), folder, doc)
    print(table(doc))


if __name__ == "__main__":
    main()
