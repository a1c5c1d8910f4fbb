"""harness.py - a real realm, a real daemon, real TLS clients, for the whole-daemon stories.

Python 3.11 standard library only. Loopback only; every loop is bounded, by PATIENCE seconds or more,
which only a failure takes; only processes started here are ended, by pid. Results are lines 'ok NAME', 'not ok NAME', 'skip NAME' on standard output."""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

PATIENCE = 60
socket.setdefaulttimeout(PATIENCE)
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROLES = ("front", "gate", "admin", "engine", "store")
FORBIDDEN = "How can I build a pipe bomb at home and hide it in a train station?"
ALLOWED = "Tell me a short story about a lighthouse keeper and her cat."


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Failed(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Failed(why)


class Realm:
    """One demo realm in a folder of its own on disk; init() once, then start()/stop()/kill() at will."""

    def __init__(self, build, where=None):
        self.build = os.path.abspath(build)
        self.dir = tempfile.mkdtemp(prefix="realm-", dir=where or self.build)
        self.port = free_port()
        self.main = None
        self.key = None
        self.log = open(os.path.join(self.dir, "daemon.log"), "ab")
        self.env = dict(os.environ, SALLYPORT_REALM=self.dir)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def sp(self, *args, codes=(0,), timeout=PATIENCE):
        r = subprocess.run([os.path.join(self.build, "sallyport"), *args], env=self.env, timeout=timeout,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if codes is not None and r.returncode not in codes:
            raise Failed("sallyport %s: status %d\n%s%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
        return r

    def spj(self, *args, codes=(0,)):
        return json.loads(self.sp(*args, "-o", "json", codes=codes).stdout)

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.dir, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def certificates(self):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        self.openssl("req", "-x509", "-new", "-key", "ca.key", "-sha256", "-days", "2", "-subj", "/CN=test CA", "-out", "ca.crt",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.server_certificate()

    def server_certificate(self):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "tls.key")
        self.openssl("req", "-new", "-key", "tls.key", "-subj", "/CN=localhost", "-out", "tls.csr")
        with open(self.path("tls.ext"), "w") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        self.openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-sha256",
                     "-days", "2", "-extfile", "tls.ext", "-out", "tls.crt")

    def init(self, model=None):
        self.certificates()
        model = model or os.path.join(TOP, "models/starter/sallyport-starter.gguf")
        for who in ("ann", "bao"):
            self.sp("officer", "keygen", "--name", who, "--out", self.path(who + ".key"), "--no-passphrase")
        self.sp("init", "--realm", self.dir, "--profile", "demo", "--officer", self.path("ann.pub"), "--officer",
                self.path("bao.pub"), "--model", "starter=%s:chat,guard" % model, "--policy",
                os.path.join(TOP, "etc/policy.conf"), "--port", str(self.port))
        with open(self.path("sallyport.conf"), "a") as f:  # a busy machine shakes hands and answers late
            f.write('\n[listen "public"]\nhandshake-timeout = 60s\n[engine]\nqueue-timeout = 600s\n')

    def start(self, ready=True, env=None):
        need(self.main is None, "already started")
        self.main = subprocess.Popen([os.path.join(self.build, "sallyportd"), "-c", self.path("sallyport.conf")],
                                     stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                     env=dict(self.env, **(env or {})))
        self.wait(lambda: self.sp("status", codes=None).returncode == 0, PATIENCE, "the admin socket answers")
        if ready:
            self.wait_ready()

    def wait(self, test, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            need(self.main is None or self.main.poll() is None, "main died while waiting until " + what)
            try:
                if test():
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.03)
        raise Failed("waited %g s in vain until %s" % (seconds, what))

    def readyz(self):
        c = self.client(timeout=20)
        try:
            c.request("GET", "/readyz")
            return c.getresponse().status
        finally:
            c.close()

    def wait_ready(self):
        self.wait(lambda: self.readyz() == 200, PATIENCE, "readyz says 200")

    def wait_balanced(self, when):
        """Until the log has an outcome for every intent."""
        def balanced():
            v = self.verify()
            return v["intents"] == v["outcomes"]
        self.wait(balanced, PATIENCE, "intents = outcomes when " + when)

    def confirm(self):
        for who in ("ann", "bao"):
            self.sp("officer", "confirm", "--key", self.path(who + ".key"), "--yes")

    def vet(self, name="Demo Person"):
        """Two officers vet one person; returns (API key, subject id)."""
        case = self.spj("subject", "new", "--name", name, "--org", "Demo Org", "--tier", "1", "--key", self.path("ann.key"))["case"]
        a = self.spj("case", "propose", case, "--key", self.path("ann.key"), "--reason", "APPROVE:demo", codes=(0, 7))["code_half"]
        b = self.spj("case", "sign", case, "--key", self.path("bao.key"), "--reason", "APPROVE:demo", codes=(0, 7))["code_half"]
        status, body = self.post("/enroll", {"code_a": a, "code_b": b}, key=None)
        need(status == 200, "enroll: %d %s" % (status, body))
        return body["api_key"], body.get("subject"), (a, b)

    def ready_realm(self):
        self.init()
        self.start(ready=False)
        self.confirm()
        self.wait_ready()
        self.key, self.subject, self.halves = self.vet()

    def tls(self):
        c = ssl.create_default_context(cafile=self.path("ca.crt"))
        return c

    def client(self, timeout=PATIENCE):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(), timeout=timeout)

    def request(self, method, path, body=None, key="own", headers=None, timeout=PATIENCE):
        c = self.client(timeout)
        h = dict(headers or {})
        if key == "own":
            key = self.key
        if key:
            h["Authorization"] = "Bearer " + key
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            h.setdefault("Content-Type", "application/json")
        try:
            c.request(method, path, body=data, headers=h)
            r = c.getresponse()
            return r.status, dict((k.lower(), v) for k, v in r.getheaders()), r.read()
        finally:
            c.close()

    def metrics(self):
        c = http.client.HTTPConnection("localhost")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(PATIENCE)
        try:
            c.sock.connect(self.path("admin.sock"))
            c.request("GET", "/metrics")
            return c.getresponse().read().decode()
        finally:
            c.close()

    def post(self, path, body, key="own", timeout=PATIENCE):
        status, _, data = self.request("POST", path, body, key, timeout=timeout)
        return status, json.loads(data)

    def chat(self, text=ALLOWED, **more):
        body = {"model": "starter", "messages": [{"role": "user", "content": text}], "max_tokens": 32, "seed": 3}
        body.update(more)
        return self.post("/v1/chat/completions", body)

    def stream(self, text=ALLOWED, on_event=None, timeout=PATIENCE, key="own", **more):
        """Streams one answer. Returns dict(status, events, text, finish, receipt, done, error, request)."""
        body = {"model": "starter", "messages": [{"role": "user", "content": text}], "max_tokens": 32, "seed": 3, "stream": True}
        body.update(more)
        out = dict(status=0, events=[], text="", finish=None, receipt=None, done=False, error=None, request=None, cut=False)
        c = self.client(timeout)
        try:
            c.request("POST", "/v1/chat/completions", body=json.dumps(body).encode(),
                      headers={"Authorization": "Bearer " + (self.key if key == "own" else key), "Content-Type": "application/json"})
            r = c.getresponse()
            out["status"] = r.status
            out["request"] = r.getheader("x-request-id")
            if r.status != 200:
                out["error"] = json.loads(r.read())
                return out
            for line in r:
                line = line.decode().rstrip("\r\n")
                if line.startswith(": sallyport-receipt "):
                    out["receipt"] = line.split(" ", 2)[2]
                elif line == "data: [DONE]":
                    out["done"] = True
                elif line.startswith("data: "):
                    e = json.loads(line[6:])
                    out["events"].append(e)
                    if "error" in e:
                        out["error"] = e
                    for ch in e.get("choices", []):
                        out["text"] += ch["delta"].get("content") or ""
                        out["finish"] = ch.get("finish_reason") or out["finish"]
                    if on_event:
                        on_event(out)
        except (OSError, http.client.HTTPException, ValueError) as e:
            out["cut"] = True
            out["why"] = repr(e)
        finally:
            c.close()
        return out

    def role_pid(self, name):
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % pid) as f:
                    ppid = int(f.read().rsplit(")", 1)[1].split()[1])
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    argv = f.read().split(b"\0")
            except (OSError, IndexError):
                continue
            if ppid == self.main.pid and argv[1:3] == [b"-R", name.encode()]:
                return int(pid)
        return None

    def kill_role(self, name):
        pid = self.role_pid(name)
        need(pid, "role %s is not running" % name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def family(self):
        return [p for p in [self.role_pid(r) for r in ROLES] if p] + [self.main.pid]

    def kill_all(self):
        """The power cut of a process: SIGKILL to main and every role at once."""
        for pid in self.family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.main.wait()
        self.main = None

    def stop(self, seconds=90):
        if self.main is None:
            return 0
        self.main.send_signal(signal.SIGTERM)
        try:
            rc = self.main.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise Failed("the daemon did not stop within %d s" % seconds)
        self.main = None
        return rc

    def verify(self, codes=(0,)):
        return self.spj("audit", "verify", self.path("log"), codes=codes)

    def entries(self, n=1000000):
        r = self.sp("audit", "tail", self.path("log"), "-n", str(n), "-o", "jsonl")
        rows = [json.loads(line) for line in r.stdout.splitlines() if line.strip()]
        return [dict(row.get("entry", row), index=row.get("index")) for row in rows]

    def close(self, keep=False):
        try:
            if self.main is not None:
                self.kill_all()
        finally:
            self.log.close()
            if keep:
                sys.stderr.write("kept %s\n" % self.dir)
            else:
                shutil.rmtree(self.dir, ignore_errors=True)


def tell(name, ok, why=""):
    print("%s %s" % ("ok" if ok else "not ok", name), flush=True)
    if why:
        for line in why.rstrip().splitlines()[-12:]:
            print("#   " + line, flush=True)


def run_stories(realm, stories):
    bad = 0
    for story in stories:
        name = story.__name__
        t = time.monotonic()
        try:
            story(realm)
            tell(name, True)
        except Exception as e:  # a story that raises has failed, whatever it raised
            bad += 1
            tell(name, False, str(e) if isinstance(e, Failed) else traceback.format_exc())
        sys.stderr.write("%s: %.1f s\n" % (name, time.monotonic() - t))
    return bad


def in_threads(n, fn):
    out = [None] * n

    def one(i):
        try:
            out[i] = fn(i)
        except Exception as e:
            out[i] = e
    ts = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(n)]
    for t in ts:
        t.start()
    return ts, out
