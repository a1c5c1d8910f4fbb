/* realm_kit.h - a small realm for tests: officers with fixed keys, a genesis, statements signed as
 * the CLI would, and a log that is only memory. */
#ifndef SP_TESTS_REALM_KIT_H
#define SP_TESTS_REALM_KIT_H

#include <stdlib.h>

#include "aset.h"
#include "hash.h"

#define KIT_OFFICERS 3
#define KIT_T0 1790000000000ll

struct kit {
	struct id off[KIT_OFFICERS];
	uint8_t pk[KIT_OFFICERS][32], sk[KIT_OFFICERS][64];
	struct genesis gen;
	struct buf doc;
	uint8_t aud[32];
	struct id boot;
	struct aset *a;
	uint64_t n; /* entries so far */
	int64_t now;
	uint32_t seed;
	struct span log[256];
};

static inline struct id kit_id(struct kit *k)
{
	struct id i = {{0}};

	k->seed++;
	memcpy(i.b, &k->seed, sizeof(k->seed));
	i.b[15] = 1;
	return i;
}

static inline void kit_init(struct kit *k)
{
	memset(k, 0, sizeof(*k));
	if (sodium_init() < 0)
		abort();
	k->now = KIT_T0;
	k->boot = kit_id(k);
	k->doc = BUF_INIT(CANON_MAX);
	k->gen = (struct genesis){.deployment = kit_id(k),
				  .profile = PR_DEMO,
				  .quorum = 2,
				  .ts = KIT_T0,
				  .n_officers = KIT_OFFICERS};
	strcpy(k->gen.log_vkey, "sallyport.invalid/test+00000000+AAAA");
	strcpy(k->gen.settings.timezone, "UTC");
	k->gen.settings.demo = true;
	k->gen.settings.n_models = 1;
	strcpy(k->gen.settings.model[0].name, "starter");
	k->gen.settings.model[0].chat = k->gen.settings.model[0].guard = true;
	for (int t = 0; t < TIER_COUNT; t++)
		for (int l = 0; l < LV_COUNT; l++)
			k->gen.settings.tier[t][l] = (struct limits){
			    .concurrency = 256, .req_min = 6000, .tok_min = 10000000};
	for (unsigned i = 0; i < KIT_OFFICERS; i++) {
		uint8_t seed[32] = {(uint8_t)(i + 1)};

		crypto_sign_seed_keypair(k->pk[i], k->sk[i], seed);
		k->off[i] = k->gen.officer[i].id = kit_id(k);
		memcpy(k->gen.officer[i].pub, k->pk[i], 32);
	}
	if (genesis_write(&k->gen, &k->doc) < 0)
		abort();
	sha256(buf_span(&k->doc), k->aud);
	k->a = aset_new();
}

static inline void kit_end(struct kit *k)
{
	for (uint64_t i = 0; i < k->n; i++)
		free((void *)(uintptr_t)k->log[i].p);
	aset_free(k->a);
	buf_free(&k->doc);
}

/* Appends raw bytes to the log and feeds them. */
static inline int kit_put(struct kit *k, struct span entry, struct fed *fed, struct err *err)
{
	char *p = malloc(entry.n ? entry.n : 1);

	memcpy(p, entry.p, entry.n);
	k->log[k->n] = span_of(p, entry.n);
	k->n++;
	return aset_feed(k->a, k->n - 1, k->log[k->n - 1], fed, err);
}

/* Everything the log owes now. */
static inline int kit_settle(struct kit *k, struct err *err)
{
	int rc = E_OK;

	while (rc == E_OK && aset_owed(k->a)) {
		struct buf b = BUF_INIT(CANON_MAX);

		rc = aset_owed_entry(aset_owed(k->a), &k->boot, k->now, k->a, &b);
		if (rc == E_OK)
			rc = kit_put(k, buf_span(&b), NULL, err);
		buf_free(&b);
	}
	return rc;
}

static inline struct stmt kit_stmt(struct kit *k, unsigned officer, enum verb v)
{
	struct stmt s = {.kid = k->off[officer], .nonce = kit_id(k), .ts = k->now, .verb = v};

	memcpy(s.aud, k->aud, 32);
	return s;
}

/* Signs, judges; when ok, appends and settles. */
static inline enum guard kit_send(struct kit *k, unsigned officer, const struct stmt *s)
{
	struct buf b = BUF_INIT(CANON_MAX), e = BUF_INIT(CANON_MAX);
	uint8_t sig[STMT_SIG];
	struct stmt parsed;
	struct err err;
	bool rec;
	enum guard g;

	stmt_write(s, &b);
	stmt_sign(buf_span(&b), k->sk[officer], sig);
	g = aset_judge(k->a, buf_span(&b), sig, k->now, &parsed, &rec);
	if (rec) {
		entry_statement(buf_span(&b), sig, &parsed, g, &k->boot, k->now, &e);
		if (kit_put(k, buf_span(&e), NULL, &err) < 0 || kit_settle(k, &err) < 0)
			abort();
	}
	buf_free(&b);
	buf_free(&e);
	return g;
}

/* Genesis and every officer's confirmation. */
static inline void kit_birth(struct kit *k)
{
	struct buf e = BUF_INIT(CANON_MAX);

	entry_genesis(buf_span(&k->doc), &k->boot, k->now, &e);
	if (kit_put(k, buf_span(&e), NULL, NULL) < 0)
		abort();
	buf_free(&e);
	for (unsigned i = 0; i < KIT_OFFICERS; i++) {
		struct stmt s = kit_stmt(k, i, VB_OFFICER_CONFIRM);

		s.ver = 1;
		if (kit_send(k, i, &s) != GD_OK)
			abort();
	}
}

static inline struct stmt kit_open_stmt(struct kit *k, unsigned officer,
					const struct case_payload *p)
{
	struct stmt s = kit_stmt(k, officer, VB_CASE_OPEN);

	s.has_case = true;
	s.payload = *p;
	s.target = p->id;
	case_digest(p, s.case_digest);
	return s;
}

static inline struct case_payload kit_onboard(struct kit *k)
{
	struct case_payload p = {.id = kit_id(k), .kind = CK_ONBOARD};

	p.subject =
	    (struct subject_row){.id = kit_id(k), .org = kit_id(k), .tier = 1, .state = SUB_N};
	memset(p.subject.party, 7, 32);
	return p;
}

static inline struct stmt kit_case_stmt(struct kit *k, unsigned officer, enum verb v,
					const struct id *case_id)
{
	struct stmt s = kit_stmt(k, officer, v);
	const struct case_row *c = aset_case(k->a, case_id);

	s.has_case = true;
	s.target = *case_id;
	if (c) {
		memcpy(s.case_digest, c->digest, 32);
		s.ver = c->ver;
	}
	return s;
}

/* Opens, proposes by officer a, signs by officer b. */
static inline enum guard kit_decide(struct kit *k, const struct case_payload *p, unsigned a,
				    unsigned b)
{
	struct stmt s = kit_open_stmt(k, a, p);
	enum guard g = kit_send(k, a, &s);

	if (g != GD_OK)
		return g;
	s = kit_case_stmt(k, a, VB_CASE_PROPOSE, &p->id);
	g = kit_send(k, a, &s);
	if (g != GD_OK)
		return g;
	s = kit_case_stmt(k, b, VB_CASE_SIGN, &p->id);
	return kit_send(k, b, &s);
}

#endif
