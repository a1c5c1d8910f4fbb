/* guard_priv.h - what guard.c, reading.c and selftest.c share. */
#ifndef SP_POLICY_GUARD_PRIV_H
#define SP_POLICY_GUARD_PRIV_H

#include <uthash.h>

#include "guard.h"

#define GUARD_CATS 16		/* tokens for `unsafe` and the category line */
#define GUARD_GROUP UINT64_MAX /* of the guard's own work, for fairness */

struct jobref {
	job_id job; /* key */
	struct reading *reading;
	struct prefix *prefix;
	UT_hash_handle hh;
};

struct prefix {
	struct seq *seq;
	struct jobref ref;
	bool ready;
};

struct guard_text {   /* per role */
	int32_t *ids; /* wrapper's opening and the stable part of gp_open() */
	uint32_t n;
	struct buf rest; /* what of gp_open() is not in ids */
	struct buf close;
	uint32_t n_close; /* tokens of close and the wrapper's end, at most */
};

struct guard {
	struct engine *e;
	struct model *m;
	struct guard_cfg cfg;
	enum guard_edition ed;
	enum guard_state state;
	struct err why;
	int32_t safe, unsafe;
	int32_t unsafe_ids[8], tail[16];
	uint32_t n_unsafe, n_tail;
	struct guard_text text[2];
	struct prefix pre[2];
	uint32_t window;  /* most tokens of a reading */
	unsigned loading; /* prefixes not computed yet */
	struct jobref *jobs;
	unsigned readings;
	uint64_t tokens;
	unsigned test; /* next prompt of the self-test */
	struct reading *tester;
};

enum reading_step { RD_IDLE, RD_VERDICT, RD_UNSAFE, RD_CATS };

struct reading {
	struct guard *g;
	enum guard_role role;
	struct seq *seq;
	uint32_t max;
	struct jobref ref;
	void *user;
	enum reading_step step;
	int32_t *ids; /* all ids of the present pass: committed, then tail */
	size_t n_ids;
	uint32_t committed, next_committed; /* tokens */
	uint32_t known; /* tokens of the text's beginning and the context: what the client knows too */
	size_t done, next_done;		    /* bytes of body that are committed */
	struct buf fixed, body, answer, variant;
	size_t window;	/* where the window begins in the answer */
	size_t checked; /* end of the last judged answer */
	bool variant_left, in_variant, full, unknown;
	uint32_t floor;
	char cats_text[64];
	size_t cats_n;
	double p;	/* of the pass that runs */
	bool argmax_ok; /* full: the model itself says safe or unsafe */
	struct norm_seen seen;
	struct verdict v; /* the highest so far */
};

void guard_job(struct guard *g, struct jobref *ref, job_id job);
void guard_job_end(struct guard *g, struct jobref *ref);
void guard_fail(struct guard *g, int code, const char *what);
/* True when a verdict of r is final. */
bool reading_event(struct reading *r, const struct event *ev);
int reading_pass(struct reading *r, struct span window, bool commit, struct err *err);

/* The self-test: starts or goes on; its reading's verdicts come back here. */
void selftest_next(struct guard *g);
void selftest_verdict(struct guard *g, const struct verdict *v);

#endif
