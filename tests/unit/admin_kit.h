/* admin_kit.h - the admin side of store over a real state.db in a fresh folder and a log that is
 * only memory; a crash is to drop both handles and start again from what is durable. */
#ifndef SP_TESTS_ADMIN_KIT_H
#define SP_TESTS_ADMIN_KIT_H

#include <stdio.h>
#include <unistd.h>

#include "admin_verbs.h"
#include "code.h"
#include "realm_kit.h"
#include "store_admin.h"

struct ak {
	struct kit k; /* officers, keys, genesis; its set is not used */
	char dir[64];
	struct db *db;
	struct store_admin *sa;
	struct span log[512];
	uint64_t n;
	char *pending; /* entry handed over and not yet durable */
	size_t pending_n;
	bool refuse; /* append refuses */
	bool hold;   /* entries become durable, but nobody says so */
	uint32_t rnd;
	/* last answers */
	unsigned status, replies;
	json_t *reply;
	unsigned enrol_reason;
	char api_key[API_KEY_TEXT], api_kid[ID_TEXT_MAX];
	unsigned revokes, changes;
	struct revoke_sel sel;
};

static const uint8_t ak_pepper[32] = {42}, ak_kek[32] = {43};

static inline int64_t ak_now(void *arg)
{
	return ++((struct ak *)arg)->k.now;
}
static inline int ak_append(void *arg, struct span e)
{
	struct ak *a = arg;

	if (a->refuse)
		return E_BUSY;
	if (a->pending)
		abort();
	a->pending = malloc(e.n);
	memcpy(a->pending, e.p, e.n);
	a->pending_n = e.n;
	return E_OK;
}
static inline void ak_reply(void *arg, const struct id *req, unsigned status, bool more,
			    struct span body)
{
	struct ak *a = arg;

	json_decref(a->reply);
	a->reply = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
	a->status = status;
	a->replies++;
}
static inline void ak_enrolled(void *arg, const struct id *req, unsigned reason, const char *kid,
			       const char *key, const char *sub)
{
	struct ak *a = arg;

	a->enrol_reason = reason;
	snprintf(a->api_key, sizeof(a->api_key), "%s", key);
	snprintf(a->api_kid, sizeof(a->api_kid), "%s", kid);
	a->replies++;
}
static inline void ak_revoke(void *arg, const struct revoke_sel *sel)
{
	struct ak *a = arg;

	a->revokes++;
	a->sel = *sel;
}
static inline void ak_changed(void *arg)
{
	((struct ak *)arg)->changes++;
}
static inline void ak_random(void *arg, void *p, size_t n)
{
	struct ak *a = arg;
	uint8_t seed[32] = {0};

	a->rnd++;
	memcpy(seed, &a->rnd, sizeof(a->rnd));
	randombytes_buf_deterministic(p, n, seed);
}

/* What was handed over is durable now; the role is told unless `hold`. */
static inline bool ak_durable(struct ak *a)
{
	if (a->pending == NULL)
		return false;
	a->log[a->n++] = span_of(a->pending, a->pending_n);
	a->pending = NULL;
	if (!a->hold)
		store_admin_appended(a->sa, E_OK, a->n - 1);
	return true;
}

static inline void ak_pump(struct ak *a)
{
	while (!a->hold && ak_durable(a))
		;
}

static inline int ak_open(struct ak *a, struct err *err)
{
	struct store_admin_cb cb = {a,	       ak_now,	   ak_append, ak_reply, ak_enrolled,
				    ak_revoke, ak_changed, NULL,      ak_random};
	int rc = db_open(a->dir, 0, ak_kek, &a->db, err);

	if (rc == E_OK)
		rc = store_admin_new(a->db, &cb, ak_pepper, &a->k.boot, &a->sa, err);
	for (uint64_t i = 0; rc == E_OK && i < a->n; i++)
		rc = store_admin_replay(a->sa, i, a->log[i], err);
	if (rc == E_OK)
		rc = store_admin_start(a->sa, buf_span(&a->k.doc), err);
	if (rc == E_OK)
		ak_pump(a);
	return rc;
}

/* All that is not durable is gone. */
static inline void ak_crash(struct ak *a)
{
	store_admin_free(a->sa);
	db_close(a->db);
	free(a->pending);
	a->sa = NULL;
	a->db = NULL;
	a->pending = NULL;
	a->hold = a->refuse = false;
}

static inline void ak_init(struct ak *a)
{
	struct err err;

	memset(a, 0, sizeof(*a));
	kit_init(&a->k);
	strcpy(a->dir, "/tmp/spadminXXXXXX");
	if (!mkdtemp(a->dir) || ak_open(a, &err) < 0)
		abort();
}

static inline void ak_end(struct ak *a)
{
	char cmd[100];

	ak_crash(a);
	json_decref(a->reply);
	for (uint64_t i = 0; i < a->n; i++)
		free((void *)(uintptr_t)a->log[i].p);
	kit_end(&a->k);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", a->dir);
	if (system(cmd) != 0)
		abort();
}

static inline json_t *ak_get(struct ak *a, unsigned verb, const char *id)
{
	char body[100];
	struct msg_ADMREQ m = {.verb = (uint16_t)verb};

	snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id ? id : "");
	m.body = span_cstr(body);
	store_admin_request(a->sa, &m);
	return a->reply;
}

static inline void ak_nonce(struct ak *a, struct id *out)
{
	json_t *r = ak_get(a, AV_NONCE, NULL);

	if (!jx_id(r, "nonce", "nce", out))
		memset(out, 9, sizeof(*out));
}

/* Signs as the CLI does and sends; text (NULL none) is sealed with a salt of zeroes. HTTP status.
 */
static inline unsigned ak_send(struct ak *a, unsigned officer, struct stmt *s, const char *text)
{
	struct buf b = BUF_INIT(CANON_MAX), body = BUF_INIT(CANON_MAX);
	struct msg_ADMREQ m = {.verb = AV_STATEMENT};
	uint8_t sig[STMT_SIG], salted[600] = {0};
	struct jsonw w;

	memcpy(s->aud, a->k.aud, 32);
	s->kid = a->k.off[officer];
	if (stmt_write(s, &b) < 0) {
		buf_free(&b); /* a fault point in the buffer */
		return 0;
	}
	stmt_sign(buf_span(&b), a->k.sk[officer], sig);
	jw_init(&w, &body);
	jw_obj(&w);
	jw_key(&w, "sealed");
	if (text) {
		memcpy(salted + 32, text, strlen(text));
		jw_b64(&w, salted, 32 + strlen(text));
	} else {
		jw_null(&w);
	}
	jw_key(&w, "sig");
	jw_b64(&w, sig, sizeof(sig));
	jw_kstr(&w, "statement", buf_span(&b));
	jw_end_obj(&w);
	m.body = buf_span(&body);
	a->status = 0;
	store_admin_request(a->sa, &m);
	ak_pump(a);
	buf_free(&b);
	buf_free(&body);
	return a->status;
}

static inline struct stmt ak_stmt(struct ak *a, enum verb v)
{
	struct stmt s = {.verb = v, .ts = a->k.now};

	ak_nonce(a, &s.nonce);
	return s;
}

static inline unsigned ak_confirm(struct ak *a, unsigned officer)
{
	struct stmt s = ak_stmt(a, VB_OFFICER_CONFIRM);

	s.ver = 1;
	return ak_send(a, officer, &s, NULL);
}

#define AK_PARTY "{\"name\":\"Ada Byron\",\"note\":\"seen\",\"org_name\":\"Analytical\"}"

static inline struct case_payload ak_person(struct ak *a)
{
	struct case_payload p = kit_onboard(&a->k);
	uint8_t salt[32] = {0};

	commit_digest(salt, span_cstr(AK_PARTY), p.subject.party);
	return p;
}

static inline unsigned ak_open_case(struct ak *a, unsigned officer, const struct case_payload *p)
{
	struct stmt s = ak_stmt(a, VB_CASE_OPEN);

	s.has_case = true;
	s.payload = *p;
	s.target = p->id;
	case_digest(p, s.case_digest);
	return ak_send(a, officer, &s, p->kind == CK_ONBOARD ? AK_PARTY : NULL);
}

/* Signs what the daemon shows of the case, as the CLI does. */
static inline unsigned ak_case(struct ak *a, unsigned officer, enum verb v, const struct id *id)
{
	char t[ID_TEXT_MAX];
	struct stmt s = ak_stmt(a, v);
	json_t *r;
	int64_t ver = 0;

	r = ak_get(a, AV_CASE_SHOW, id_fmt("cas", id, t));
	s.has_case = true;
	s.target = *id;
	s.why = WHY_APPROVE;
	if (jx_int(r, "ver", 0, UINT32_MAX, &ver))
		jx_hex(r, "digest", s.case_digest, 32);
	s.ver = (uint32_t)ver;
	return ak_send(a, officer, &s, NULL);
}

/* Opens the sealed half in the last answer with the officer's key. */
static inline bool ak_half(struct ak *a, unsigned officer, char which, char out[CODE_HALF_TEXT])
{
	uint8_t box[CODE_HALF_BYTES + 48], pk[32], sk[32], half[CODE_HALF_BYTES];

	if (!jx_b64(a->reply, "code_box", box, sizeof(box)) ||
	    crypto_sign_ed25519_pk_to_curve25519(pk, a->k.pk[officer]) != 0 ||
	    crypto_sign_ed25519_sk_to_curve25519(sk, a->k.sk[officer]) != 0 ||
	    crypto_box_seal_open(half, box, sizeof(box), pk, sk) != 0)
		return false;
	code_half_text(which, half, out);
	return true;
}

static inline unsigned ak_enrol(struct ak *a, const char *half_a, const char *half_b)
{
	struct msg_ENROLL m = {.code_a = span_cstr(half_a), .code_b = span_cstr(half_b)};

	a->enrol_reason = 999;
	store_admin_enrol(a->sa, &m, NULL);
	ak_pump(a);
	return a->enrol_reason;
}

/* Every entry of a type in the durable log. */
static inline unsigned ak_count(const struct ak *a, const char *what)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < a->n; i++)
		n += memmem(a->log[i].p, a->log[i].n, what, strlen(what)) != NULL;
	return n;
}

#endif
