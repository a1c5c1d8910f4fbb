/* eng_load.c - what settings allow: model files by digest, the policy by digest, the guard. Loading
 * blocks the owner thread (engine_model_add); nothing else here does. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cur.h"
#include "eng.h"
#include "fault.h"
#include "hash.h"
#include "io.h"
#include "log.h"

#define POLICY_MAX (256u << 10)

static int hash_file(int fd, uint8_t out[32])
{
	crypto_hash_sha256_state st;
	static unsigned char part[1 << 16];
	off_t at = 0;
	ssize_t n;

	crypto_hash_sha256_init(&st);
	while ((n = FAULT("engine.hash") ? -1 : pread(fd, part, sizeof(part), at)) > 0) {
		crypto_hash_sha256_update(&st, part, (unsigned long long)n);
		at += n;
	}
	crypto_hash_sha256_final(&st, out);
	return n < 0 ? E_IO : 0;
}

static bool hash_model(struct eng_file *f)
{
	uint8_t sha[SPLIT_MAX][32];

	for (unsigned i = 0; i < f->n; i++)
		if (hash_file(f->fd[i], sha[i]) != 0)
			return false;
	split_digest((const uint8_t(*)[32])sha, f->n, f->sha);
	return f->n > 0;
}

static struct eng_file *file_of(struct eng *g, const uint8_t sha[32])
{
	for (unsigned i = 0; i < g->n_files; i++) {
		struct eng_file *f = &g->file[i];

		if (!f->hashed && hash_model(f))
			f->hashed = true;
		if (f->hashed && memcmp(f->sha, sha, 32) == 0)
			return f;
	}
	return NULL;
}

static void tell_model(struct eng *g, uint32_t ix, bool guard, uint16_t code)
{
	struct msg_MODELUP m = {.model_ix = ix, .guard = guard, .ok = code == 0, .code = code};

	memcpy(m.sha, g->model[ix].sha, 32);
	log_ev(code ? LOG_WARN_LV : LOG_INFO_LV, "model", "ix=%u guard=%d ok=%d code=%u", ix, guard,
	       code == 0, code);
	ENG_SEND(g, R_STORE, CH_CTRL, MODELUP, &m);
}

static int load(struct eng *g, struct eng_model *em, struct err *err)
{
	struct model_opts o = {0};
	struct eng_file *f = file_of(g, em->sha);
	int rc;

	if (f == NULL)
		return err_set(err, E_NOTFOUND, "no file has this digest");
	if (f->m == NULL) {
		rc = engine_model_add(g->e, f->fd, f->n, &o, &f->m, err);
		if (rc != 0)
			return rc;
		if (em->chat) /* so that the first schema finds it; a model may have none */
			(void)mask_prepare(f->m, NULL);
	}
	em->m = f->m;
	em->format = chat_format_of(model_info(em->m));
	return 0;
}

static bool read_models(struct eng *g, struct span list)
{
	struct cur c = cur_init(list);
	struct eng_model next[ENG_MODELS];
	unsigned n = 0;

	memset(next, 0, sizeof(next));
	while (cur_left(&c) > 0 && n < ENG_MODELS) {
		const uint8_t *sha;

		cur_span(&c, cur_u16(&c));
		sha = cur_take(&c, 32);
		if (sha)
			memcpy(next[n].sha, sha, 32);
		next[n].chat = cur_u8(&c);
		next[n].guard = cur_u8(&c);
		n++;
	}
	if (!cur_done(&c))
		return false;
	memcpy(g->model, next, sizeof(next));
	g->n_models = n;
	return true;
}

/* Reads the policy file when its digest is what settings name. */
static void load_policy(struct eng *g)
{
	struct buf text = BUF_INIT(POLICY_MAX), errors = BUF_INIT(4096);
	struct policy p;

	if (g->policy_ok && memcmp(g->policy.sha256, g->set.policy_sha, 32) == 0)
		return;
	g->policy_ok = false;
	if (g->policy_fd < 0 || g->active > 0)
		return; /* requests hold the old one; eng_guard_tick() comes again */
	if (lseek(g->policy_fd, 0, SEEK_SET) < 0 ||
	    io_read_fd(g->policy_fd, POLICY_MAX, &text, NULL) < 0)
		log_ev(LOG_ERROR_LV, "policy", "unreadable=1");
	else if (policy_parse(buf_span(&text), "policy", &p, &errors) != 0)
		log_ev(LOG_ERROR_LV, "policy", "%s", buf_cstr(&errors));
	else if (memcmp(p.sha256, g->set.policy_sha, 32) != 0)
		log_ev(LOG_ERROR_LV, "policy", "digest_differs=1");
	else {
		g->policy = p;
		g->policy_ok = true;
	}
	buf_free(&text);
	buf_free(&errors);
}

static bool guard_refused(struct eng *g, const struct eng_model *em)
{
	return model_info(em->m)->is_starter && !g->set.demo;
}

/* The first listed guard that may be one becomes it; a changed one waits until nothing runs. */
static void choose_guard(struct eng *g)
{
	static const struct guard_cfg gc;
	struct err err = {0};
	int rc;

	for (uint32_t i = 0; i < g->n_models; i++) {
		struct eng_model *em = &g->model[i];

		if (!em->guard || em->m == NULL)
			continue;
		if (guard_refused(g, em)) {
			log_ev(LOG_ERROR_LV, "guard", "starter_outside_demo=1");
			tell_model(g, i, true, RS_GUARD_DOWN);
			continue;
		}
		rc = guard_new(g->e, em->m, &gc, &g->guard, &err);
		if (rc == 0) {
			g->guard_ix = i;
			g->guard_told = false;
			return;
		}
		log_ev(LOG_ERROR_LV, "guard", "code=%d why=\"%s\"", rc, err.text);
		tell_model(g, i, true, RS_GUARD_DOWN);
	}
}

void eng_settings(struct eng *g, const struct msg_SETTINGS *m)
{
	uint8_t was[32] = {0};
	bool same = false;

	if (g->guard)
		memcpy(was, g->model[g->guard_ix].sha, 32);
	if (!read_models(g, m->models)) {
		eng_odd(g, R_STORE, M_SETTINGS, RS_ODD_MESSAGE, NULL);
		return;
	}
	g->set = *m;
	g->set.models = span_of(NULL, 0);
	g->have_set = true;
	for (uint32_t i = 0; i < g->n_models; i++) {
		struct eng_model *em = &g->model[i];
		struct err err = {0};
		int rc = load(g, em, &err);

		if (rc != 0)
			log_ev(LOG_ERROR_LV, "model", "ix=%u code=%d why=\"%s\"", i, rc, err.text);
		if (em->chat)
			tell_model(g, i, false,
				   rc != 0 || em->format == CHAT_NONE ? RS_NO_MODEL : RS_NONE);
		if (g->guard && em->guard && rc == 0 && memcmp(em->sha, was, 32) == 0 &&
		    !guard_refused(g, em)) {
			g->guard_ix = i;
			same = true;
		} else if (em->guard && rc != 0) {
			tell_model(g, i, true, RS_NO_MODEL);
		}
	}
	if (g->guard && !same)
		g->guard_ix = ENG_MODELS; /* no longer allowed: refused until replaced */
	g->guard_told = false;
	load_policy(g);
	eng_guard_tick(g);
}

void eng_guard_tick(struct eng *g)
{
	struct err why;

	if (!g->have_set)
		return;
	if (!g->policy_ok)
		load_policy(g);
	if (g->guard && g->guard_ix == ENG_MODELS && g->active == 0 && g->queue == NULL) {
		guard_free(g->guard);
		g->guard = NULL;
	}
	if (g->guard == NULL && g->active == 0 && !g->guard_told) {
		choose_guard(g);
		g->guard_told = g->guard == NULL;
	}
	if (g->guard == NULL || g->guard_told || g->guard_ix == ENG_MODELS)
		return;
	switch (guard_state(g->guard, &why)) {
	case GUARD_LOADING:
		return;
	case GUARD_READY:
		tell_model(g, g->guard_ix, true, RS_NONE);
		break;
	case GUARD_FAILED:
		log_ev(LOG_ERROR_LV, "guard", "code=%d why=\"%s\"", why.code, why.text);
		tell_model(g, g->guard_ix, true, RS_GUARD_DOWN);
		break;
	}
	g->guard_told = true;
}

struct eng_model *eng_chat_model(struct eng *g, uint32_t ix)
{
	struct eng_model *em = ix < g->n_models ? &g->model[ix] : NULL;

	return em && em->chat && em->m && em->format != CHAT_NONE ? em : NULL;
}

uint32_t eng_why_not(struct eng *g)
{
	uint64_t beat = atomic_load(&g->beat_ms);
	uint32_t why = 0;
	bool chat = false;

	for (uint32_t i = 0; i < g->n_models; i++)
		chat = chat || eng_chat_model(g, i) != NULL;
	if (!g->have_set || !g->policy_ok)
		why |= NR_SETTINGS;
	if (!chat)
		why |= NR_MODEL;
	if (g->guard == NULL || g->guard_ix == ENG_MODELS ||
	    guard_state(g->guard, NULL) != GUARD_READY)
		why |= NR_GUARD;
	if (!g->store_up || beat == 0 || g->now_ms > beat + ENG_LOST_MS)
		why |= NR_STORE;
	if (g->draining)
		why |= NR_DRAIN;
	return why;
}
