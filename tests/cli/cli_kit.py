"""cli_kit.py - what test_cli.py stands on: running the command, a realm's arguments, the bridge to the real
admin side of store, and a liar between the two. Python 3.11 standard library only."""
import json
import os
import re
import socket
import stat
import subprocess
import tempfile
import threading

BUILD = os.path.abspath(os.environ.get("BUILDDIR", "."))
SRC = os.path.abspath(os.environ.get("SRCDIR", "."))
SP = os.path.join(BUILD, "sallyport")
BRIDGE = os.path.join(BUILD, "tests/cli/admin_bridge")
TMP = tempfile.mkdtemp(prefix="spcli-")
B32 = "0123456789abcdefghjkmnpqrstvwxyz"


class Failed(Exception):
    pass


def need(ok, why):
    if not ok:
        raise Failed(why)


def sp(*args, code=0, env=None, stdin="", timeout=120):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SALLYPORT_")}
    r = subprocess.run([SP, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                       input=stdin, start_new_session=True, env=dict(clean, **(env or {})))
    if code is not None and r.returncode != code:
        raise Failed("sallyport %s: status %d, not %d\n%s%s" % (" ".join(args), r.returncode, code, r.stdout, r.stderr))
    return r


def path(*parts):
    return os.path.join(TMP, *parts)


def mode(p):
    return stat.S_IMODE(os.stat(p).st_mode)


def canonical(o):
    return json.dumps(o, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read(p):
    with open(p, "rb") as f:
        return f.read()


def word_list():
    text = read(os.path.join(SRC, "vetting/words.c")).decode()
    words = re.findall(r'"([a-z]+)"', text[text.index("genesis_word_list"):])
    need(len(words) == 256 and len(set(words)) == 256, "the word list has 256 different words")
    return words


def id_bytes(text):
    n = 0
    for c in text.split("_")[1]:
        n = n << 5 | B32.index(c)
    return n.to_bytes(16, "big")


def init_args(realm, **over):
    a = dict(realm=realm, profile="demo", policy=os.path.join(SRC, "etc/policy.conf"), port="9443")
    a.update(over)
    out = ["init"]
    for k, v in a.items():
        if v is not None:
            out += ["--" + k, v]
    for who in ("ann", "bao"):
        out += ["--officer", path(who + ".pub")]
    return out + ["--model", "starter=%s:chat,guard" % path("m.gguf")]


class Bridge:
    def __init__(self, realm):
        self.p = subprocess.Popen([BRIDGE, realm], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        need(self.p.stdout.readline() == "ready\n", "the bridge does not start")
        self.socket = os.path.join(realm, "admin.sock")

    def close(self):
        self.p.stdin.close()
        self.p.wait(60)
        os.unlink(self.socket)


class Liar:
    """Between the command and the bridge: alters one answer, and its status line when alter gives one."""

    def __init__(self, to, route, alter):
        self.at = path("liar.sock")
        self.to, self.route, self.alter = to, route, alter
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.at)
        self.s.listen(8)
        self.posts = []
        self.t = threading.Thread(target=self.run, daemon=True)
        self.t.start()

    def run(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            with c, socket.socket(socket.AF_UNIX) as up:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += c.recv(65536)
                head, body = data.split(b"\r\n\r\n", 1)
                m = re.search(rb"content-length: *(\d+)", head, re.I)
                while len(body) < (int(m.group(1)) if m else 0):
                    body += c.recv(65536)
                up.connect(self.to)
                up.sendall(head + b"\r\n\r\n" + body)
                back = b""
                while chunk := up.recv(65536):
                    back += chunk
                rhead, rbody = back.split(b"\r\n\r\n", 1)
                where = head.split()[1].decode()
                if where.endswith("/statements"):
                    self.posts.append(body)
                if re.search(self.route, where):
                    o = json.loads(rbody)
                    rhead = self.alter(o) or rhead
                    rbody = json.dumps(o).encode()
                c.sendall(rhead.split(b"\r\n")[0] + b"\r\nContent-Length: %d\r\n\r\n" % len(rbody) + rbody)

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        self.t.join(60)
        os.unlink(self.at)
