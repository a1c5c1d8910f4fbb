#!/usr/bin/python3
"""test_cli.py - the officer's commands: keys and init on the disk, then every verb against the real
admin side of store (admin_bridge), and what the commands do when a daemon lies.

Prints 'ok NAME' / 'not ok NAME'. Folders come from BUILDDIR and SRCDIR, as make check sets them."""
import base64
import hashlib
import json
import os
import re
import shutil
import socket
import sys

sys.dont_write_bytecode = True  # the source folder may be read-only
from cli_kit import SRC, TMP, Bridge, Liar, canonical, id_bytes, init_args, mode, need, path, read, sp, word_list


# ---- without a daemon ----

def keygen_makes_a_key_for_its_owner_alone():
    for who in ("ann", "bao", "eve"):
        r = sp("officer", "keygen", "--name", who, "--out", path(who + ".key"), "--no-passphrase")
        need("warning" in r.stderr, "no warning about the missing passphrase")
        need(mode(path(who + ".key")) == 0o600, "mode of the key")
        pub = read(path(who + ".pub"))
        o = json.loads(pub)
        need(sorted(o) == ["id", "name", "pub", "v"] and o["v"] == 1 and o["name"] == who, "members of .pub")
        need(pub == canonical(o) + b"\n", ".pub is canonical")
        need(len(id_bytes(o["id"])) == 16 and len(bytes.fromhex(o["pub"])) == 32, "id and key")


def keygen_overwrites_nothing():
    before = read(path("ann.key")), read(path("ann.pub"))
    sp("officer", "keygen", "--name", "x", "--out", path("ann.key"), "--no-passphrase", code=6)
    with open(path("lone.pub"), "w") as f:
        f.write("mine")
    sp("officer", "keygen", "--name", "x", "--out", path("lone.key"), "--no-passphrase", code=6)
    need(before == (read(path("ann.key")), read(path("ann.pub"))), "files changed")
    need(not os.path.exists(path("lone.key")), "a key without its public part was left")


def keygen_protects_with_a_passphrase():
    with open(path("pass"), "w") as f:
        f.write("correct horse\n")
    os.chmod(path("pass"), 0o600)
    env = {"SALLYPORT_PASSPHRASE_FILE": path("pass")}
    r = sp("officer", "keygen", "--name", "Ánh", "--out", path("anh.key"), "-o", "json", env=env)
    need(json.loads(r.stdout)["name"] == "Ánh", "json of keygen")
    text = read(path("anh.key")).decode()
    need(re.search(r"^kdf argon2id \d+ \d+ [0-9a-f]{32}$", text, re.M), "argon2id stands in the file")
    os.chmod(path("pass"), 0o644)
    sp("officer", "keygen", "--name", "b", "--out", path("b.key"), code=1, env=env)
    with open(path("short"), "w") as f:
        f.write("short\n")
    os.chmod(path("short"), 0o600)
    sp("officer", "keygen", "--name", "b", "--out", path("b.key"), code=1, env={"SALLYPORT_PASSPHRASE_FILE": path("short")})
    r = sp("officer", "keygen", "--name", "b", "--out", path("b.key"), code=1)
    need("SALLYPORT_PASSPHRASE_FILE" in r.stderr, "says what to do without a terminal")
    need(not os.path.exists(path("b.key")), "no key after a refusal")


def init_makes_a_whole_realm():
    realm = path("realm")
    out = json.loads(sp(*init_args(realm), "-o", "json").stdout)
    modes = {"": 0o700, "state": 0o700, "state/secret": 0o700, "log": 0o700, "officers.json": 0o600, "sallyport.conf": 0o600,
             "state/secret/log-key": 0o600, "state/secret/pepper": 0o600, "state/secret/kek": 0o600}
    for name, m in modes.items():
        need(mode(os.path.join(realm, name)) == m, "mode of '%s'" % name)
    for name in ("log-key", "pepper", "kek"):
        need(os.path.getsize(os.path.join(realm, "state/secret", name)) == 32, name)
    doc = read(os.path.join(realm, "genesis.json"))
    need(doc == canonical(json.loads(doc)) == read(os.path.join(realm, "log/genesis.json")), "genesis is canonical, and copied")
    digest = hashlib.sha256(doc).digest()
    words = word_list()
    need(out["digest"] == digest.hex(), "digest")
    need(out["words"] == " ".join(words[b] for b in digest[:8]), "words")
    need(out["demo"] is True and out["schema_version"] == 1, "json of init")
    conf = read(os.path.join(realm, "sallyport.conf")).decode()
    need("address = 127.0.0.1\nport = 9443\n" in conf, "listens on loopback")
    for line in conf.splitlines():
        k, _, v = line.partition(" = ")
        if k in ("state-dir", "log-dir", "genesis", "tls-cert", "tls-key", "socket", "policy", "file", "pid-file"):
            need(v.startswith("/"), "absolute path in " + line)


def genesis_says_what_was_asked():
    g = json.loads(read(path("realm/genesis.json")))
    key = read(path("realm/log/vkey")).decode()
    need(key == g["log_vkey"] + "\n" and key.startswith("sallyport.invalid/%s/1+" % g["deployment"]), "vkey")
    need(g["profile"] == "demo" and g["quorum"] == 2 and g["settings"]["demo"] is True, "profile")
    m = g["settings"]["models"]
    need(m == [{"chat": True, "guard": True, "name": "starter", "sha256": hashlib.sha256(read(path("m.gguf"))).hexdigest()}], "model")
    need(g["settings"]["policy"] == hashlib.sha256(read(os.path.join(SRC, "etc/policy.conf"))).hexdigest(), "policy")
    for tier in g["settings"]["tiers"]:
        for level in ("key", "subject", "org"):
            lim = tier[level]
            need((lim["concurrency"], lim["req_min"], lim["tok_min"]) == (256, 6000, 10000000), "demo limits")
            need(lim["req_day"] >= 1440 * 6000 and lim["tok_day"] >= 1000000000, "generous days")


def names_are_only_committed():
    g = json.loads(read(path("realm/genesis.json")))
    o = json.loads(read(path("realm/officers.json")))["officers"]
    need([x["name"] for x in o] == ["ann", "bao"], "names")
    for who, pub in zip(o, g["officers"]):
        c = hashlib.sha256(b"sallyport/commit/v1\n" + bytes.fromhex(who["salt"]) + who["name"].encode()).hexdigest()
        need(pub["name_commit"] == c and pub["id"] == who["id"], "commitment of " + who["name"])
    need(b'"ann"' not in read(path("realm/genesis.json")), "a name stands in genesis")


def init_refuses_what_is_there_or_wrong():
    before = {n: read(path("realm", n)) for n in ("genesis.json", "state/secret/log-key", "sallyport.conf")}
    sp(*init_args(path("realm")), code=6)
    need(before == {n: read(path("realm", n)) for n in before}, "init changed a realm")
    r2 = path("r2")
    sp(*init_args(r2, profile="demoo"), code=2)
    sp(*init_args(r2, port="0"), code=2)
    sp(*init_args(r2, port="70000"), code=2)
    sp(*init_args(r2, policy=path("none")), code=2)
    sp(*init_args(r2, policy=path("m.gguf")), code=2)
    sp(*init_args(r2, address="0.0.0.0"), code=2)
    sp(*init_args(r2, quorum="3"), code=2)
    sp(*init_args(r2), "--model", "other=%s:chat" % path("none"), code=2)
    sp(*init_args(r2), "--model", "Bad Name=%s:chat" % path("m.gguf"), code=2)
    sp(*init_args(r2), "--model", "x=%s:guards" % path("m.gguf"), code=2)
    sp(*init_args(r2), "--officer", path("ann.pub"), code=2)
    sp(*init_args(path("no/such/r2")), code=2)
    sp(*init_args(path("long" * 30)), code=2)
    need(not os.path.exists(r2), "a refused init left a folder")
    r = sp(*init_args(r2), "--dry-run")
    need("starter" in r.stdout and not os.path.exists(r2), "--dry-run writes nothing")


def a_failed_init_leaves_nothing():
    realm = path("r3")
    os.mkdir(realm)
    with open(os.path.join(realm, "tls.crt"), "w") as f:
        f.write("a stranger's file")
    good = 0  # in a row: a fault that only shortens a write is gone on with
    for nth in range(1, 300):  # each fault point in turn; a build without them is through at once
        r = sp(*init_args(realm), code=None, env={"SALLYPORT_FAULT": "*:%d" % nth})
        if r.returncode == 0:
            good += 1
            need(len(os.listdir(realm)) == 6, "done, but not whole: %s" % os.listdir(realm))
            for name in ("genesis.json", "officers.json", "sallyport.conf"):
                os.unlink(os.path.join(realm, name))
            for name in ("state", "log"):
                shutil.rmtree(os.path.join(realm, name))
            if good == 3:
                return
            continue
        good = 0
        need(r.returncode in (1, 2), "status %d\n%s" % (r.returncode, r.stderr))
        need(os.listdir(realm) == ["tls.crt"], "fault %d left %s" % (nth, os.listdir(realm)))
    need(False, "init never got through")


def wrong_words_are_answered_with_the_nearest():
    for args, near in ((("oficer",), "officer"), (("subject", "nw"), "new"), (("case", "sing", "1"), "sign"),
                       (("officer", "keygen", "--nam", "x"), "--name"), (("init", "--profil", "demo"), "--profile"),
                       (("lockdown", "modell", "x"), "model")):
        r = sp(*args, code=2)
        need(near in r.stderr, "%s: %s" % (args, r.stderr))
    for noun in ("officer", "subject", "case", "key", "quota", "lockdown"):
        need("usage" in sp(noun, code=2).stderr, noun)
    for noun in ("init", "officer", "subject", "case", "queue", "key", "quota", "lockdown"):
        need("usage: sallyport " + noun in sp(noun, "--help").stdout, noun + " --help")


def without_a_daemon_the_code_is_9():
    for args in (("officer", "ls"), ("queue",), ("case", "ls"), ("subject", "ls"), ("key", "ls"), ("lockdown", "ls"),
                 ("quota", "show", "sub_1"), ("officer", "confirm", "--key", path("ann.key"))):
        sp("--realm", path("nowhere"), *args, code=9)


# ---- with the real admin side of store ----

W = {}


def do(*args, code=0):
    return sp("--realm", path("realm"), *args, code=code)


def doj(*args, code=0):
    return json.loads(do(*args, "-o", "json", code=code).stdout)


def key(who):
    return ("--key", path(who + ".key"))


def http(method, where, body):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path("realm/admin.sock"))
        data = json.dumps(body).encode()
        s.sendall(b"%s %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (method.encode(), where.encode(), len(data)) + data)
        back = b""
        while chunk := s.recv(65536):
            back += chunk
    return int(back.split()[1]), json.loads(back.split(b"\r\n\r\n", 1)[1])


def officers_confirm_the_digest_they_compute():
    o = doj("officer", "ls")["officers"]
    need(len(o) == 2 and not any(x["confirmed"] for x in o), "nobody confirmed yet")
    do("subject", "new", "--name", "x", "--org", "y", "--tier", "1", *key("ann"), code=4)
    r = sp("--realm", path("realm"), "officer", "confirm", *key("ann"), stdin="no\n", code=1)
    digest = hashlib.sha256(read(path("realm/genesis.json"))).digest()
    words = word_list()
    need(" ".join(words[b] for b in digest[:8]) in r.stderr and digest.hex() in r.stderr, "words are shown")
    do("officer", "confirm", *key("eve"), "--yes", code=4)
    sp("--realm", path("realm"), "officer", "confirm", *key("ann"), stdin="yes\n")
    do("subject", "new", "--name", "x", "--org", "y", "--tier", "1", *key("ann"), code=6)
    do("officer", "confirm", *key("bao"), "--yes")
    do("officer", "confirm", *key("bao"), "--yes", code=6)
    need(all(x["confirmed"] for x in doj("officer", "ls")["officers"]), "both confirmed")


def a_person_is_vetted_by_two():
    c = doj("subject", "new", "--name", "Trần Thị Ánh", "--org", "Demo Org", "--tier", "1", *key("ann"))
    need(c["case"].startswith("cas_") and c["subject"].startswith("sub_") and c["demo"] is True, "subject new")
    W.update(case=c["case"], sub=c["subject"], org=c["org"])
    need([x["id"] for x in doj("queue")["cases"]] == [c["case"]], "queue")
    do("case", "sign", c["case"], *key("bao"), "--reason", "approve:early", code=6)
    p = doj("case", "propose", c["case"], *key("ann"), "--reason", "APPROVE:id card seen")
    need(re.fullmatch(r"A(-[0-9a-z]{1,5}){6}", p["code_half"]) and p["waits"], "proposer's half")
    need("code_box" not in p and p["digest"] == c["digest"], "propose -o json")
    do("case", "sign", c["case"], *key("ann"), "--reason", "APPROVE:x", code=5)
    s = doj("case", "sign", c["case"], *key("bao"), "--reason", "Approve:checked")
    need(re.fullmatch(r"B(-[0-9a-z]{1,5}){6}", s["code_half"]) and not s["waits"], "signer's half")
    status, e = http("POST", "/enroll", {"code_a": p["code_half"], "code_b": s["code_half"]})
    need(status == 200 and e["api_key"].startswith("sp_") and e["subject"] == c["subject"], "both halves make a key")
    W["key"] = e["key"]
    status, _ = http("POST", "/enroll", {"code_a": p["code_half"], "code_b": s["code_half"]})
    need(status == 403, "a code is used once")


def case_show_prints_what_is_signed():
    o = doj("case", "show", "1")
    need(o["digest_ok"] and o["name_ok"], "digest and name fit")
    body = json.loads(o["body"])
    need(canonical(body).decode() == o["body"], "body is canonical")
    need(hashlib.sha256(b"sallyport/case/v1\n" + o["body"].encode()).hexdigest() == o["digest"], "digest of the body")
    need("Ánh" not in o["body"] and "Demo" not in o["body"], "no personal data in the body")
    need({n["text"] for n in o["notes"]} == {"id card seen", "checked", ""} or
         {n["text"] for n in o["notes"]} >= {"id card seen", "checked"}, "notes are sealed and come back")
    t = do("case", "show", W["case"]).stdout
    need("Trần Thị Ánh" in t and o["digest"] in t and "tier      1" in t, "table of case show")
    do("case", "show", "99", code=3)
    do("case", "show", "no such/id", code=2)


def the_same_organisation_has_the_same_id():
    g = hashlib.sha256(read(path("realm/genesis.json"))).digest()
    want = hashlib.blake2b(b"demo org", digest_size=32, key=g).digest()[:16]
    need(id_bytes(W["org"]) == want, "org id is BLAKE2b keyed with the genesis digest")
    for name in ("DEMO ORG", "Demo Org", W["org"]):
        r = doj("subject", "new", "--name", "z", "--org", name, "--tier", "0", *key("ann"))
        need(r["org"] == W["org"], name)
    other = doj("subject", "new", "--name", "z", "--org", "Demo Orgs", "--tier", "0", *key("ann"))
    need(other["org"] != W["org"], "another name, another organisation")


def a_changed_body_or_name_is_never_signed():
    case = doj("subject", "new", "--name", "victim", "--org", "o", "--tier", "1", *key("ann"))["case"]

    def body(o):
        o["body"] = o["body"].replace('"tier":1', '"tier":3')

    def digest(o):
        o["digest"] = "00" * 32

    def name(o):
        o["sealed"] = base64.b64encode(b"\0" * 32 + b'{"name":"somebody else"}').decode()

    def hidden(o):
        o["sealed"] = None

    for alter in (body, digest, name, hidden):
        liar = Liar(path("realm/admin.sock"), r"/cases/", alter)
        try:
            r = sp("--socket", liar.at, "case", "propose", case, *key("ann"), "--reason", "APPROVE:x", code=6)
            need("Nothing was signed" in r.stderr and not liar.posts, alter.__name__)
            sp("--socket", liar.at, "case", "show", case, code=0 if alter is hidden else 6)
        finally:
            liar.close()


def a_name_beside_the_sealed_one_is_not_believed():
    def beside(o):
        o["name"] = "somebody else"

    liar = Liar(path("realm/admin.sock"), r"/cases/", beside)
    try:
        need("somebody" not in sp("--socket", liar.at, "case", "show", "1").stdout, "table")
        o = json.loads(sp("--socket", liar.at, "case", "show", "1", "-o", "json").stdout)
        need((o["name"], o["org_name"]) == ("Trần Thị Ánh", "Demo Org"), "json")
    finally:
        liar.close()


def another_realms_genesis_gets_no_signature():
    def genesis(o):
        o["document"] = o["document"].replace('"quorum":2', '"quorum":3').replace('"tok_day":10000000000', '"tok_day":10000000001')

    def aud(o):
        o["aud"] = "00" * 32

    def words(o):
        o["words"] = "acorn acorn acorn acorn acorn acorn acorn acorn"
        o["document"] = o["document"].replace('"tok_day":10000000000', '"tok_day":10000000001', 1)

    for route, alter in (("/genesis", genesis), ("/nonce", aud), ("/genesis", words)):
        liar = Liar(path("realm/admin.sock"), route, alter)
        try:
            r = sp("--socket", liar.at, "subject", "suspend", W["sub"], *key("ann"), "--reason", "ABUSE:x", code=None)
            need(r.returncode in (1, 6) and not liar.posts, "%s: %d" % (alter.__name__, r.returncode))
        finally:
            liar.close()


def reasons_are_enumerated():
    r = do("subject", "suspend", W["sub"], *key("ann"), code=2)
    need("--reason CODE:text" in r.stderr and "compromise" in r.stderr, "lists the codes")
    do("subject", "suspend", W["sub"], *key("ann"), "--reason", "BECAUSE:x", code=2)
    do("subject", "suspend", W["sub"], *key("ann"), "--reason", "ABUSE:a\x1bb", code=2)
    do("subject", "suspend", W["sub"], "--reason", "ABUSE:x", code=2)
    do("subject", "suspend", W["sub"], "--key", path("none.key"), "--reason", "ABUSE:x", code=4)


def a_dry_run_signs_nothing():
    r = do("subject", "suspend", W["sub"], *key("ann"), "--reason", "COMPROMISE:seen in a chat", "--dry-run")
    st = json.loads(r.stdout)
    need(st["verb"] == "subject.suspend" and st["body"]["reason"] == "compromise" and "a chat" not in r.stdout, "the statement is shown")
    need([s["state"] for s in doj("subject", "ls")["subjects"] if s["id"] == W["sub"]] == ["V"], "nothing happened")


def keys_are_listed_and_revoked():
    k = doj("key", "ls")["keys"]
    need([x["id"] for x in k] == [W["key"]] and k[0]["subject"] == W["sub"], "key ls")
    do("key", "revoke", W["key"], *key("bao"), "--reason", "COMPROMISE:lost")
    need(doj("key", "ls")["keys"][0]["state"] == "revoked", "revoked")
    do("key", "revoke", W["key"], *key("bao"), "--reason", "COMPROMISE:lost", code=6)
    do("key", "revoke", "key_" + "0" * 26, *key("bao"), "--reason", "COMPROMISE:lost", code=3)


def quotas_are_shown():
    q = doj("quota", "show", W["sub"])
    need(q["limits"]["req_min"] == 6000 and "requests_minute" in q["used"], "quota show")
    t = do("quota", "explain", W["sub"]).stdout
    need("requests, minute" in t and "6000" in t and "two officers" in t, "quota explain")
    do("quota", "show", "sub_" + "0" * 26, code=3)


def one_stops_two_reinstate():
    do("subject", "suspend", W["sub"], *key("bao"), "--reason", "COMPROMISE:test")
    need(doj("subject", "show", W["sub"])["state"] == "X", "suspended")
    do("subject", "suspend", "sub_" + "0" * 26, *key("bao"), "--reason", "COMPROMISE:test", code=3)
    c = doj("subject", "reinstate", W["sub"], *key("ann"))["case"]
    p = doj("case", "propose", c, *key("ann"), "--reason", "APPROVE:back")
    need(p["code_half"] is None, "no code in a reinstatement")
    do("case", "sign", c, *key("bao"), "--reason", "APPROVE:back")
    need(doj("subject", "show", W["sub"])["state"] in "AV", "reinstated")
    c = doj("subject", "code", W["sub"], *key("ann"))["case"]
    a = doj("case", "propose", c, *key("ann"), "--reason", "APPROVE:new code")["code_half"]
    b = doj("case", "sign", c, *key("bao"), "--reason", "APPROVE:new code")["code_half"]
    need(http("POST", "/enroll", {"code_a": a, "code_b": b})[0] == 200, "a new code makes a new key")
    c = doj("subject", "tier", W["sub"], "2", *key("ann"))["case"]
    do("case", "propose", c, *key("bao"), "--reason", "APPROVE:x")
    do("case", "refuse", c, *key("ann"), "--reason", "EVIDENCE:too thin")
    need(doj("subject", "show", W["sub"])["tier"] == 1, "refused, unchanged")


def lockdown_needs_one_lifting_two():
    do("lockdown", "all", *key("ann"), "--reason", "COMPROMISE:odd")
    do("lockdown", "all", *key("ann"), "--reason", "COMPROMISE:odd", code=6)
    do("lockdown", "model", "starter", *key("bao"), "--reason", "ADMIN:test")
    do("lockdown", "model", "nonesuch", *key("bao"), "--reason", "ADMIN:test", code=3)
    do("lockdown", "subject", "org_x", *key("bao"), "--reason", "ADMIN:test", code=2)
    stands = {(x["scope"], x["target"]): x["on"] for x in doj("lockdown", "ls")["lockdowns"]}
    need(stands == {("all", ""): True, ("model", "starter"): True}, "lockdown ls")
    for target in (("all",), ("model", "starter")):
        c = doj("lockdown", "lift", *target, *key("ann"))["case"]
        do("case", "propose", c, *key("ann"), "--reason", "APPROVE:over")
        do("case", "sign", c, *key("bao"), "--reason", "APPROVE:over")
    need(not any(x["on"] for x in doj("lockdown", "ls")["lockdowns"]), "lifted")
    do("lockdown", "lift", "all", *key("ann"), code=6)
    do("lockdown", "all", *key("ann"), "--reason", "COMPROMISE:again")


def a_refusal_names_guard_who_and_command():
    r = do("officer", "confirm", *key("bao"), "--yes", code=6)
    need("guard:" in r.stderr and "who can:" in r.stderr and "command:" in r.stderr, r.stderr)


def outside_a_demo_the_hosts_machine_signs_nothing():
    realm = path("real")
    sp(*init_args(realm, profile="small"))
    b = Bridge(realm)
    try:
        for args in (("officer", "confirm", "--yes"), ("subject", "new", "--name", "a", "--org", "b", "--tier", "1"),
                     ("lockdown", "all", "--reason", "ADMIN:x")):
            r = sp("--realm", realm, *args, *key("ann"), code=5)
            need("state folder" in r.stderr, r.stderr)
            sp("--socket", os.path.join(realm, "admin.sock"), *args, *key("ann"), code=5)
        os.symlink(os.path.join(realm, "admin.sock"), path("far.sock"))  # as if forwarded to another machine
        sp("--socket", path("far.sock"), "officer", "confirm", "--yes", *key("ann"))
    finally:
        b.close()


def a_larger_quorum_makes_sign_wait_with_code_7():
    realm = path("three")
    sp(*init_args(realm, quorum="3"), "--officer", path("eve.pub"), code=0)
    b = Bridge(realm)

    def at(*args, code=0):
        return sp("--realm", realm, *args, "-o", "json", code=code).stdout
    try:
        for who in ("ann", "bao", "eve"):
            at("officer", "confirm", "--yes", *key(who))
        c = json.loads(at("subject", "new", "--name", "a", "--org", "b", "--tier", "1", *key("ann")))["case"]
        at("case", "propose", c, *key("ann"), "--reason", "APPROVE")
        second = json.loads(at("case", "sign", c, *key("bao"), "--reason", "APPROVE", code=7))
        need(second["waits"] and second["code_half"] is None, "the second of three waits")
        need(json.loads(at("case", "sign", c, *key("eve"), "--reason", "APPROVE"))["code_half"], "the third decides")
    finally:
        b.close()


def a_daemon_that_has_just_started_is_asked_again():
    asked = []

    def starting(o):
        asked.append(1)
        if len(asked) < 4:
            o.clear()
            o["error"] = {"code": "starting", "message": "not yet", "exit": 10}
            return b"HTTP/1.1 503 X"

    liar = Liar(path("realm/admin.sock"), "/genesis", starting)
    try:
        sp("--socket", liar.at, "subject", "suspend", W["sub"], *key("ann"), "--reason", "ABUSE:x", "--dry-run")
        need(len(asked) == 4, "asked %d times" % len(asked))
    finally:
        liar.close()


def lists_have_every_form():
    for form in ("table", "json", "jsonl", "csv"):
        for args in (("case", "ls"), ("subject", "ls"), ("key", "ls"), ("officer", "ls"), ("lockdown", "ls"), ("queue",)):
            r = do(*args, "-o", form)
            if form == "json":
                need(json.loads(r.stdout)["schema_version"] == 1, args)
            if form == "table":
                need("DEMO" in r.stderr, args)


def a_fifo_is_refused_and_never_waited_for():
    os.mkfifo(path("fifo"))
    os.makedirs(path("empty"), exist_ok=True)
    f, m = path("fifo"), path("m.gguf")
    for want, args in ((1, ("model", "inspect", f)), (1, ("model", "tokenize", m, "--text-file", f)),
                       (1, ("model", "import", f, "--sha256", "0" * 64, "--to", path("empty"))),
                       (3, ("receipt", "check", f, "--vkey", f)), (3, ("audit", "verify", path("empty"), "--since", f)),
                       (3, ("audit", "verify", path("empty"), "--vkey", f))):
        r = sp(*args, code=want, timeout=60)
        need("not a regular file" in r.stderr, "%s: %s" % (args, r.stderr))


def a_text_that_is_too_large_is_no_missing_file():
    with open(path("huge"), "wb") as f:
        f.truncate((64 << 20) + 1)
    need("larger" in sp("model", "tokenize", path("m.gguf"), "--text-file", path("huge"), code=2).stderr, "says why")
    sp("model", "tokenize", path("m.gguf"), "--text-file", path("nowhere"), code=3)
    os.unlink(path("huge"))


def tail_takes_numbers_only():
    os.makedirs(path("empty"), exist_ok=True)
    for n in ("abc", "-1", "", "1x", "9" * 30):
        need("-n" in sp("audit", "tail", path("empty"), "-n", n, code=3).stderr, n)


ALONE = (keygen_makes_a_key_for_its_owner_alone, keygen_overwrites_nothing, keygen_protects_with_a_passphrase,
         init_makes_a_whole_realm, genesis_says_what_was_asked, names_are_only_committed, init_refuses_what_is_there_or_wrong,
         a_failed_init_leaves_nothing, wrong_words_are_answered_with_the_nearest, without_a_daemon_the_code_is_9,
         a_fifo_is_refused_and_never_waited_for, a_text_that_is_too_large_is_no_missing_file, tail_takes_numbers_only)
WITH_STORE = (officers_confirm_the_digest_they_compute, a_person_is_vetted_by_two, case_show_prints_what_is_signed,
              the_same_organisation_has_the_same_id, a_changed_body_or_name_is_never_signed,
              a_name_beside_the_sealed_one_is_not_believed, another_realms_genesis_gets_no_signature, reasons_are_enumerated, a_dry_run_signs_nothing,
              keys_are_listed_and_revoked, quotas_are_shown, one_stops_two_reinstate, lockdown_needs_one_lifting_two,
              a_refusal_names_guard_who_and_command, lists_have_every_form,
              a_daemon_that_has_just_started_is_asked_again, a_larger_quorum_makes_sign_wait_with_code_7, outside_a_demo_the_hosts_machine_signs_nothing)


def run(tests):
    bad = 0
    for t in tests:
        try:
            t()
            print("ok " + t.__name__, flush=True)
        except Exception as e:  # whatever it raised, it has failed
            bad += 1
            print("not ok " + t.__name__, flush=True)
            for line in (str(e) or repr(e)).splitlines()[-12:]:
                print("#   " + line, flush=True)
    return bad


def main():
    with open(path("m.gguf"), "wb") as f:
        f.write(b"GGUF, not a model: init takes its digest only\n")
    bridge = None
    try:
        bad = run(ALONE)
        if bad == 0:
            bridge = Bridge(path("realm"))
            bad = run(WITH_STORE)
    finally:
        if bridge:
            bridge.close()
        shutil.rmtree(TMP, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
