#!/usr/bin/env python3
"""Makes statement.json and genesis.json with nothing of ours: Python's json, hashlib and the openssl command.
Usage: make_statements.py FOLDER. Ed25519 is deterministic, so the files come out the same each time."""
import base64, hashlib, json, os, subprocess, sys, tempfile

B32 = "0123456789abcdefghjkmnpqrstvwxyz"


def ident(prefix, raw):
    n = int.from_bytes(raw, "big")
    return prefix + "_" + "".join(B32[n >> (5 * i) & 31] for i in range(25, -1, -1))


def canon(v):
    # our objects hold only ASCII names, strings without control characters and integers: RFC 8785 is this
    return json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def key(seed):
    der = bytes.fromhex("302e020100300506032b657004220420") + seed
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(der) + b"\n-----END PRIVATE KEY-----\n"
    f = tempfile.NamedTemporaryFile(delete=False, suffix=".pem")
    f.write(pem)
    f.close()
    pub = subprocess.run(["openssl", "pkey", "-in", f.name, "-pubout", "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout
    return f.name, pub[-32:]


def sign(pem, data):
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", pem, "-in", f.name], check=True, stdout=subprocess.PIPE).stdout


def main(folder):
    keys = [key(bytes([i + 1] * 32)) for i in range(2)]
    offs = [ident("off", bytes([0x10 + i] * 16)) for i in range(2)]
    lim = {"concurrency": 256, "req_day": 0, "req_min": 6000, "req_month": 0, "tok_day": 0, "tok_min": 10000000, "tok_month": 0}
    settings = {"demo": True, "models": [{"chat": True, "guard": True, "name": "starter", "sha256": "ab" * 32}], "policy": "cd" * 32,
                "tiers": [{"key": lim, "org": lim, "subject": lim}] * 4, "timezone": "Asia/Ho_Chi_Minh"}
    doc = {"deployment": ident("dep", bytes([1] * 16)), "log_vkey": "sallyport.invalid/test+01020304+AQ==",
           "officers": [{"id": offs[i], "name_commit": "%02x" % i * 32, "pub": keys[i][1].hex()} for i in range(2)],
           "profile": "demo", "quorum": 2, "recovery": [], "settings": settings, "ts": 1790000000000, "v": 1}
    gen = canon(doc)
    digest = hashlib.sha256(gen).hexdigest()
    with open(os.path.join(folder, "genesis.json"), "w") as f:
        json.dump({"document": gen.decode(), "digest": digest, "word_indexes": list(bytes.fromhex(digest)[:8])}, f, indent=1)
        f.write("\n")
    cas = ident("cas", bytes([0x33] * 16))
    sub = ident("sub", bytes([0x22] * 16))
    case = {"case": cas, "kind": "onboard", "payload": {
        "binding": "none", "expires": 1800000000000, "kind": "person", "officer": "", "org": ident("org", bytes([0x44] * 16)),
        "party": hashlib.sha256(b"sallyport/commit/v1\n" + bytes(32) + "{\"name\":\"Tr\u1ea7n \u0110\u1ee9c\"}".encode()).hexdigest(),
        "sponsor": "", "subject": sub, "tier": 2, "ver": 0}}
    cdigest = hashlib.sha256(b"sallyport/case/v1\n" + canon(case)).hexdigest()
    bodies = [("officer.confirm", {}, "", 1), ("case.open", case, cdigest, 0),
              ("case.propose", {"case": cas, "note": "", "reason": "approve"}, cdigest, 1),
              ("case.sign", {"case": cas, "note": "ef" * 32, "reason": "approve"}, cdigest, 2),
              ("case.refuse", {"case": cas, "note": "", "reason": "evidence"}, cdigest, 2),
              ("case.withdraw", {"case": cas, "note": "", "reason": "left"}, cdigest, 2),
              ("subject.suspend", {"note": "", "reason": "compromise", "subject": sub}, "", 7),
              ("key.revoke", {"key": ident("key", bytes([0x55] * 16)), "note": "", "reason": "abuse"}, "", 1),
              ("officer.revoke", {"note": "", "officer": offs[1], "reason": "left"}, "", 2),
              ("lockdown.set", {"note": "", "reason": "legal", "scope": "all", "target": ""}, "", 0),
              ("lockdown.set", {"note": "", "reason": "legal", "scope": "model", "target": "starter"}, "", 0)]
    out = []
    for i, (verb, body, c, ver) in enumerate(bodies):
        st = canon({"alg": "ed25519", "aud": digest, "body": body, "case": c, "kid": offs[i % 2], "nonce": ident("nce", bytes([0x60 + i] * 16)),
                    "ts": 1790000000000 + i, "v": 1, "ver": ver, "verb": verb})
        sig = sign(keys[i % 2][0], b"sallyport/statement/v1\n" + st)
        out.append({"verb": verb, "statement": st.decode(), "sig": base64.b64encode(sig).decode(), "pub": keys[i % 2][1].hex()})
    with open(os.path.join(folder, "statement.json"), "w") as f:
        json.dump({"case_digest": cdigest, "statements": out}, f, indent=1, ensure_ascii=False)
        f.write("\n")
    for pem, _ in keys:
        os.unlink(pem)


main(sys.argv[1])
