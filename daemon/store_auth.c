/* store_auth.c - what front and gate ask: connections, requests that wait for their PEER or for
 * the database. Decisions are in store_gate.c. Loop thread. */
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "secret.h"
#include "store.h"

struct peer *store_peer(struct store *s, const struct id *conn)
{
	struct peer *p;

	HASH_FIND(hh, s->peers, conn, sizeof(*conn), p);
	return p;
}

static void pseudonym(struct store *s, struct span addr, uint8_t out[8])
{
	static const char label[] = "sallyport/src/v1\n";
	crypto_auth_hmacsha256_state h;
	uint8_t mac[32];

	crypto_auth_hmacsha256_init(&h, s->pepper, 32);
	crypto_auth_hmacsha256_update(&h, (const uint8_t *)label, sizeof(label) - 1);
	crypto_auth_hmacsha256_update(&h, (const uint8_t *)addr.p, addr.n);
	crypto_auth_hmacsha256_final(&h, mac);
	memcpy(out, mac, 8);
}

void store_on_peer(struct store *s, const struct msg_PEER *m)
{
	struct peer *p = store_peer(s, &m->conn);

	if (p || HASH_COUNT(s->peers) >= PEERS_MAX || m->addr.n > ADDR_MAX) {
		/* a connection has one identity for its life; front erred or was taken over */
		store_odd(s, R_FRONT, M_PEER, RS_ODD_MESSAGE, NULL);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return; /* AUTH finds no PEER and refuses */
	p->conn = m->conn;
	p->has_cert = m->has_cert;
	memcpy(p->thumb, m->thumb, 32);
	pseudonym(s, m->addr, p->src);
	HASH_ADD(hh, s->peers, conn, sizeof(p->conn), p);
	store_pends_tick(s, clock_mono_ms());
}

void store_on_peergone(struct store *s, const struct id *conn)
{
	struct peer *p = store_peer(s, conn);

	if (p == NULL)
		return;
	HASH_DEL(s->peers, p);
	free(p);
}

void store_drop_peers(struct store *s)
{
	struct peer *p, *tmp;

	HASH_ITER(hh, s->peers, p, tmp)
	{
		HASH_DEL(s->peers, p);
		free(p);
	}
}

/* ---- requests that wait ---- */

struct look_job {
	struct work_job w; /* first */
	struct pend *p;
};

static void drop(struct store *s, struct pend *p)
{
	struct pend **at = &s->pends;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at) {
		*at = p->next;
		s->n_pends--;
	}
	if (p->busy) {
		p->dead = true; /* freed when the read comes back */
		return;
	}
	sodium_memzero(p->digest, sizeof(p->digest));
	free(p);
}

static void look_run(struct work_job *w)
{
	struct pend *p = ((struct look_job *)w)->p;

	p->gen = atomic_load(&p->s->auth_gen);
	p->rc = p->kid_ok ? db_auth_find(p->s->db_rd, &p->kid, &p->row) : E_NOTFOUND;
}

static void look(struct store *s, struct pend *p);

static void look_done(struct work_job *w)
{
	struct pend *p = ((struct look_job *)w)->p;
	struct store *s = p->s;

	free(w);
	p->busy = false;
	if (p->dead) {
		free(p);
		return;
	}
	pthread_mutex_lock(&s->order);
	if (p->gen != atomic_load(&s->auth_gen)) {
		look(s, p); /* rows changed meanwhile: what was read may be old */
	} else {
		p->looked = true;
		store_pends_tick(s, clock_mono_ms());
	}
	pthread_mutex_unlock(&s->order);
}

static void look(struct store *s, struct pend *p)
{
	struct look_job *j = calloc(1, sizeof(*j));

	if (j) {
		*j = (struct look_job){.w = {.run = look_run, .done = look_done}, .p = p};
		p->busy = true;
		if (work_put(s->rd, &j->w, false) == E_OK)
			return;
		p->busy = false;
		free(j);
	}
	store_deny(s, &p->req, RS_OVERLOADED, 1000, false);
	drop(s, p);
}

static struct pend *wait_for(struct store *s, enum pend_kind kind, const struct id *req,
			     const struct id *conn, struct span kid, const uint8_t digest[32])
{
	struct pend *p = s->n_pends < PENDS_MAX ? calloc(1, sizeof(*p)) : NULL;
	uint8_t raw[ID_BYTES];

	if (p == NULL) {
		store_deny(s, req, RS_OVERLOADED, 1000, false);
		return NULL;
	}
	*p = (struct pend){.kind = kind, .req = *req, .conn = *conn, .s = s, .rc = E_NOTFOUND};
	p->deadline = clock_mono_ms() + PEER_WAIT_MS;
	p->kid_ok = kid.n == ID_B32 && b32_decode(kid, raw, sizeof(raw));
	if (p->kid_ok)
		memcpy(p->kid.b, raw, sizeof(raw));
	memcpy(p->digest, digest, 32);
	p->next = s->pends;
	s->pends = p;
	s->n_pends++;
	return p;
}

void store_on_auth(struct store *s, const struct msg_AUTH *m)
{
	uint32_t nr = store_reasons(s);
	struct pend *p;

	if (nr) {
		uint16_t code = nr & NR_BOOK	   ? RS_BOOK_DOWN
				: nr & NR_LOCKDOWN ? RS_LOCKDOWN
				: nr & NR_DRAIN	   ? RS_SHUTDOWN
				: nr & NR_GUARD	   ? RS_GUARD_DOWN
						   : RS_OVERLOADED;

		store_flood(s, code, 1);
		store_deny(s, &m->req, code, 2000, false);
		return;
	}
	p = wait_for(s, PEND_AUTH, &m->req, &m->conn, m->kid, m->digest);
	if (p == NULL)
		return;
	memcpy(p->model, m->model.p, m->model.n);
	p->model[m->model.n] = '\0';
	if (memchr(m->model.p, 0, m->model.n))
		p->model[0] = '\0'; /* no name of ours has a NUL: nothing will match */
	p->endpoint = m->endpoint;
	p->n = m->n;
	p->max_out = m->max_out;
	look(s, p);
}

void store_on_models(struct store *s, const struct msg_MODELS *m)
{
	struct pend *p = wait_for(s, PEND_MODELS, &m->req, &m->conn, m->kid, m->digest);

	if (p)
		look(s, p);
}

void store_on_rcpt(struct store *s, const struct msg_RCPT *m)
{
	struct pend *p = wait_for(s, PEND_RCPT, &m->req, &m->conn, m->kid, m->digest);

	if (p == NULL)
		return;
	p->of = m->of;
	look(s, p);
}

void store_pends_tick(struct store *s, uint64_t now_ms)
{
	struct pend *p, *next;

	for (p = s->pends; p; p = next) {
		struct peer *peer;

		next = p->next;
		if (!p->looked)
			continue;
		peer = store_peer(s, &p->conn);
		if (peer == NULL && now_ms < p->deadline)
			continue;
		if (p->gen != atomic_load(&s->auth_gen)) {
			p->looked = false;
			look(s, p); /* rows changed while it waited for its PEER */
			continue;
		}
		store_decide(s, p, peer);
		drop(s, p);
	}
}

void store_drop_pends(struct store *s)
{
	struct pend *p, *next;

	for (p = s->pends; p; p = next) {
		next = p->next;
		drop(s, p);
	}
}

void store_on_authdrop(struct store *s, const struct msg_AUTHDROP *m)
{
	struct lease *l = lease_match(s->f.leases, &m->lease, &m->req);

	if (l == NULL) {
		store_odd(s, R_GATE, M_AUTHDROP, RS_NO_GRANT, &m->req);
		return;
	}
	if (l->state != LS_RESERVED)
		return; /* SUBMIT was faster: the engine ends it */
	store_end_lease(s, l, m->code < REASON_COUNT ? m->code : RS_CANCELLED);
}
