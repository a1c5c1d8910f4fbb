"""count.py FOLDER... - counts test results under build folders and prints 'passed failed skipped'.

A cmocka program counts by its cases, a script by its lines 'ok NAME', 'not ok NAME', 'skip NAME';
any other test by its exit status in the .trs file. Names of failures go to standard error."""
import os
import re
import sys

CASE = re.compile(rb"^\[\s+(OK|FAILED|SKIPPED|ERROR)\s+\] (\S+)$", re.M)
LINE = re.compile(rb"^(ok|not ok|skip) (.+)$", re.M)


def count(log, result):
    text = open(log, "rb").read()
    seen = {}
    for kind, name in CASE.findall(text):
        if b"test(s)" in name or name.isdigit():
            continue
        seen[name] = {b"OK": "p", b"SKIPPED": "s"}.get(kind, "f")
    for kind, name in LINE.findall(text):
        seen[name] = {b"ok": "p", b"skip": "s"}.get(kind, "f")
    got = [sum(v == k for v in seen.values()) for k in "pfs"]
    if result not in ("PASS", "SKIP") and got[1] == 0:
        got[1] = 1  # it ended badly without saying which case
        seen[os.path.basename(log).encode()] = "f"
    if not seen:
        got = [int(result == "PASS"), got[1], int(result == "SKIP")]
    for name, kind in seen.items():
        if kind == "f":
            sys.stderr.write("FAILED %s: %s\n" % (os.path.basename(log), name.decode("utf8", "replace")))
    return got


def main():
    total = [0, 0, 0]
    for top in sys.argv[1:]:
        for folder, _, files in os.walk(top):
            for f in files:
                if not f.endswith(".trs"):
                    continue
                trs = open(os.path.join(folder, f)).read()
                m = re.search(r":global-test-result: (\S+)", trs) or re.search(r":test-result: (\S+)", trs)
                log = os.path.join(folder, f[:-4] + ".log")
                if m and os.path.exists(log):
                    total = [a + b for a, b in zip(total, count(log, m.group(1)))]
    print(*total)


main()
