#!/bin/sh
# check-receipt.sh RECEIPT VKEY [ENTRY] - checks a Sallyport receipt (a C2SP tlog-proof) with openssl,
# base64 and awk alone, so that nobody has to trust Sallyport's own tools. VKEY is the log's key
# (name+id+base64, or a file that holds it); ENTRY is a file with the log entry's exact bytes, by
# default the one inside the receipt. Exit: 0 the entry is in the signed log, 1 it is not, 3 usage.
set -eu
LC_ALL=C
export LC_ALL
[ $# -ge 2 ] && [ -r "$1" ] || { echo "usage: check-receipt.sh RECEIPT VKEY [ENTRY]" >&2; exit 3; }
receipt=$1 vkey=$2 entry=${3:-}
if [ -f "$vkey" ]; then vkey=$(cat "$vkey"); fi
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
bad() { echo "receipt BAD: $1"; exit 1; }
number() { case $1 in '' | *[!0-9]*) bad "no number: $2" ;; esac }
[ "$(head -n 1 "$receipt")" = "c2sp.org/tlog-proof@v1" ] || bad "not a tlog-proof"

# the parts: index, sibling hashes up to the empty line, then the signed checkpoint
index=$(awk '$1 == "index" { print $2; exit }' "$receipt")
awk '/^$/ { exit } on { print } $1 == "index" { on = 1 }' "$receipt" > "$t/siblings"
awk 'on { print } /^$/ { on = 1 }' "$receipt" > "$t/note"
awk '/^$/ { exit } { print }' "$t/note" > "$t/text"
origin=$(sed -n 1p "$t/text") size=$(sed -n 2p "$t/text") root=$(sed -n 3p "$t/text")
number "$index" index
number "$size" "tree size"

# 1. the checkpoint is signed by the key (Ed25519; DER prefix, then the last 32 bytes of the vkey)
name=${vkey%%+*} rest=${vkey#*+}
[ "$origin" = "$name" ] || bad "the checkpoint is of another log: $origin"
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; printf '%s' "${rest#*+}" | base64 -d | tail -c 32; } > "$t/key"
awk -v n="$name" '$1 == "\342\200\224" && $2 == n { print $3; exit }' "$t/note" | base64 -d | tail -c 64 > "$t/sig"
openssl pkeyutl -verify -pubin -inkey "$t/key" -keyform DER -rawin -in "$t/text" -sigfile "$t/sig" \
	> "$t/out" 2>&1 || bad "the checkpoint's signature does not verify"

# 2. the entry: from its file, or out of the extra line's JSON string
if [ -n "$entry" ]; then
	cat "$entry" > "$t/entry"
else
	awk '$1 == "extra" { print $2; exit }' "$receipt" | base64 -d | awk '{
		at = index($0, "\"entry\":\"")
		if (!at) exit
		s = substr($0, at + 9); out = ""
		for (i = 1; i <= length(s); i++) {
			c = substr(s, i, 1)
			if (c == "\"") break
			if (c == "\\") { c = substr(s, ++i, 1); if (c != "\"" && c != "\\") exit }
			out = out c
		}
		printf "%s", out
	}' > "$t/entry"
fi
[ -s "$t/entry" ] || bad "the receipt holds no entry: give one"

# 3. leaf = SHA-256(00 || entry); fold in the siblings: SHA-256(01 || left || right)
{ printf '\000'; cat "$t/entry"; } | openssl dgst -sha256 -binary > "$t/h"
[ "$index" -lt "$size" ] || bad "the index lies outside the tree"
fn=$index sn=$((size - 1))
while read -r hash; do
	[ "$sn" -gt 0 ] || bad "the proof is too long"
	printf '%s' "$hash" | base64 -d > "$t/p"
	if [ $((fn & 1)) -eq 1 ] || [ "$fn" -eq "$sn" ]; then
		{ printf '\001'; cat "$t/p" "$t/h"; } | openssl dgst -sha256 -binary > "$t/n"
		while [ $((fn & 1)) -eq 0 ] && [ "$fn" -ne 0 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
	else
		{ printf '\001'; cat "$t/h" "$t/p"; } | openssl dgst -sha256 -binary > "$t/n"
	fi
	mv "$t/n" "$t/h"
	fn=$((fn >> 1)) sn=$((sn >> 1))
done < "$t/siblings"
[ "$sn" -eq 0 ] || bad "the proof is too short"
[ "$(base64 < "$t/h")" = "$root" ] || bad "the entry is not entry $index of the signed tree"
echo "receipt ok: entry $index of $size, signed by $name"
