/* engine_priv.h - engine, sequences, jobs, the batch. Only for engine/ and its tests.
 *
 * One owner thread runs everything here. Other threads touch only what `lock` guards (jobs found by
 * id, the list of cancelled ones) and cancel_seen. */
#ifndef SP_ENGINE_PRIV_H
#define SP_ENGINE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "model_priv.h"
#include "prefix.h"

#define HEAD_ROWS 16 /* output rows computed at once: a border lies between such groups */
#define MAX_BATCH_ROWS 512
#define URGENT_ROWS 128	    /* of a guard's batch beside a resting one of the same model */
#define TALK_ROWS 64	    /* likewise of answers' */
#define MAX_DRAFT (HEAD_ROWS - 1)
#define MIN_CHUNK 16
#define CHUNK_NS 400000000u /* the rows of a batch shall take about so long */
#define TURN_NS 90000000u   /* prompts are computed so long, then answers have their rows */
#define GROUP_BUCKETS 1024  /* powers of two */
#define JOB_BUCKETS 1024
#define MAX_ROW_BYTES (1ull << 30) /* of one job's wanted rows */

enum job_kind { JOB_APPEND, JOB_GENERATE };

struct job;
struct evnode {
	struct event ev;
	struct evnode *next, *next_of; /* in the queue; of the same sequence there */
	enum { NODE_HEAP, NODE_IN_JOB } where;
	struct job *last_of; /* the job goes when this node is recycled */
};

struct job {
	job_id id;
	enum job_kind kind;
	struct seq *seq;
	struct job *next;	 /* of the sequence, in order */
	struct job *bucket_next; /* lock */
	struct job *cancel_next, **cancel_at; /* lock; at: what points to it */
	bool cancelled;		 /* lock: stands in the cancel list */
	/* append */
	int32_t *ids;
	uint32_t n_ids, done; /* done: in the sequence, computed or taken from the prefix tree */
	uint32_t cached;      /* of done: taken */
	uint32_t transient;   /* so many at the end stay out of the tree */
	uint64_t since;	      /* its lane's work when it came first in its sequence, + 1 */
	enum want_rows want;
	bool all_rows;
	int32_t *row_ids; /* WANT_LOGITS */
	float *rows;
	int32_t *top_ids;
	uint32_t n_rows, row_n, rows_done;
	/* generate */
	struct sampler sampler;
	mask_hook hook;
	void *hook_arg;
	uint64_t *allow;
	bool allowed; /* allow is for the next draw */
	bool dear;    /* it was not made at once */
	struct hnode late; /* of the engine's deadlines; key: CLOCK_MONOTONIC */
	int32_t *tokens, *end_ids, *stop_ids; /* tokens: generated so far, for the hook */
	uint32_t max_new, n_tokens, n_end, n_stop;
	bool feed;		       /* tokens[n_tokens - 1] must still be computed */
	uint32_t draft, n_draft, n_right; /* allowed; in this batch; of these drawn so far */
	int32_t guess[MAX_DRAFT];
	struct evnode rows_ev, end_ev; /* so that ending never needs memory */
};

struct seq {
	struct engine *e;
	struct model *m;
	struct seq_cfg cfg;
	struct group *group;
	struct seq *prev, *next; /* all of the engine */
	struct hnode prompt;	 /* of group->prompts */
	struct link gen;	 /* of group->gens, group->fresh or group->dear */
	struct seq *aside;	 /* while a batch is built: waits for another's pages */
	enum queued queued;
	struct batch *flight; /* it has rows or a draw in this batch: parts[part] */
	uint32_t part;
	struct kv_class *kv;
	struct kv_page **pages; /* room for kv_pages_for(max_tokens) */
	bool *kept;		/* likewise: s is a keeper of the page (kv.h) */
	uint32_t n_pages, n_kept, promised, len;
	struct seq_prefix prefix;
	int32_t *past; /* ids it was given and has said, for draft.c; wiped */
	uint32_t n_past, past_cap;
	float *hidden; /* normed state of token len - 1, when hidden_ok */
	bool hidden_ok;
	uint32_t credit;
	struct evnode *events, *last_event; /* waiting in the queue, oldest first */
	uint32_t take;		 /* rows it gets in the batch being built */
	struct job *jobs, **jobs_end;
};

struct part { /* of a batch: rows of one sequence's first job; class P before class D (pack.h) */
	struct seq *seq; /* NULL: it has left the batch */
	struct job *job; /* NULL: its rows shall go */
	uint32_t first, n; /* rows; n 0: a generation whose hidden state is already there; behind
			    * its first row stand guesses */
};

struct head { /* a row of output */
	struct job *job; /* NULL: nobody wants it any more */
	const float *hidden;
	uint32_t row; /* of an append job's wanted rows; of a generation: behind so many guesses */
	bool sampled; /* class D */
};

enum stage { BATCH_NONE, BATCH_LAYERS, BATCH_HEADS };
struct batch {
	enum stage stage;
	struct model *m;
	struct fwd *fwd; /* its activations: the model's, or its second ones */
	float *hidden;	 /* fwd->max_rows x n_embd */
	struct part *parts; /* MAX_BATCH_ROWS */
	struct head *heads; /* 2 * MAX_BATCH_ROWS: wanted rows, and a draw behind each prompt */
	struct seq **pick;  /* MAX_BATCH_ROWS */
	uint32_t n_parts, n_live, n_heads, head;
	bool thin; /* some parts' rows must go before the next fraction */
	bool thinned; /* some have gone */
	bool scan;    /* of guards that take turns with answers */
	uint32_t rows, prompt_rows, gens; /* at its start */
	uint64_t spent_ns; /* computing */
};

struct engine {
	const struct kernels *k;
	struct pool *pool;
	struct kv kv;
	struct prefix prefix;
	struct model *models;
	struct group *groups[GROUP_BUCKETS];
	struct seq *seqs;
	struct heap deadlines; /* jobs */
	struct link fresh;     /* groups with masks that are to be made, in turn */
	struct link dear;      /* likewise, of those that were not made at once */
	uint64_t mask_left, dear_left; /* work before the next batch */
	struct batch batch;    /* the one in flight */
	struct batch talk;     /* answers' rows, while a long one of prompts rests */
	struct batch urgent;   /* the guards' in flight: while it lasts the others rest */
	uint64_t turn_ns;      /* prompts and scans were computed since answers had their rows */
	uint64_t turn;	       /* TURN_NS (tests set it, to 1 at least) */
	bool owed;	       /* answers were due, and there was no memory for a batch of theirs */
	uint64_t next_job, batches, turns, visits; /* batches: those that are no guards' */
	uint32_t n_groups, n_busy, n_ready; /* n_busy: sequences with jobs; n_ready: queued */
	uint32_t n_masks;		    /* queued for their masks */
	uint32_t chunk;				 /* rows of a batch; 0 = by time (tests set it) */
	bool appends_sampled;			 /* tests: chats' appended rows are of class D */
	bool fast_f16;
	struct evnode *ev_first, **ev_end;	 /* to be polled */
	struct evnode *given_first, **given_end; /* recycled by the next poll */
	struct engine_stats stats;
	int wake_fd;
	atomic_bool cancel_seen, wake_seen;
	pthread_mutex_t lock;
	struct job *buckets[JOB_BUCKETS], *cancel_list;
};

/* job.c */
int job_new(struct seq *s, enum job_kind kind, struct job **out, struct err *err);
void job_start(struct job *j);		       /* gives it its id and its place in the queue */
void job_end(struct job *j, enum gen_end end); /* DONE; takes j off its sequence */
void job_fail(struct job *j, int code, const char *why); /* why: static */
void job_free(struct job *j);				 /* not started, or off its sequence */
void job_discard(struct job *j);			 /* off its sequence, without an event */
void jobs_cancel(struct engine *e);			 /* ends the cancelled ones */
void jobs_late(struct engine *e);			 /* and those whose deadline has passed */

/* events.c */
void event_push(struct engine *e, struct evnode *n);
bool event_token(struct job *j, int32_t token, float logprob); /* false: no memory */
void events_forget(struct seq *s);			       /* those of a sequence that goes */
void events_open(struct engine *e);
void events_close(struct engine *e);

/* batch.c: the batches in flight */
int batch_open(struct engine *e, struct err *err);
void batch_close(struct engine *e);
struct batch *batch_guards(struct engine *e); /* goes on before anything else; NULL: none now */
bool batch_talk_due(const struct engine *e);  /* rows of answers may be next, or their masks */
struct batch *batch_next(struct engine *e);   /* else the one that goes on now; NULL: nothing can */
/* A fraction of a layer, or a group of output rows. */
void batch_advance(struct engine *e, struct batch *b);
void batch_drop_job(struct job *j);  /* its rows leave the batch they are in */
void batch_forget(struct seq *s);    /* goes */
void batch_forget_model(struct engine *e, const struct model *m); /* goes, and has no sequences */
bool batch_runnable(const struct engine *e);

/* build.c: what goes into a batch */
bool batch_build(struct engine *e, struct batch *b); /* false: nothing can run */
bool batch_waits(const struct engine *e, enum seq_priority of); /* somebody, for a batch */
void batch_measure(struct batch *b);		     /* after its end: how long rows take */
/* Its rows are of class D: what was drawn; prompts and guards are of class P (pack.h). */
bool batch_sampled(const struct job *j);

/* masks.c: which tokens may be drawn next */
#define MASK_SLICE 100000u  /* at one go: two looks at guards and cancels are so far apart */
#define MASK_FRESH 1000000u /* before a batch, for masks that are new: a slice each */
#define MASK_DEAR 1000000u  /* before a batch, for those that need more, a slice each in turn */
void masks_share(struct engine *e); /* a batch begins: what may be done before the next */
bool masks_step(struct engine *e);  /* one slice; false: there is none to do before a batch */
bool masks_ready(const struct job *j);
bool masks_try(struct job *j, uint64_t *left); /* a slice, if there is any left; true: ready */

/* draft.c: guesses of what comes next */
void draft_see(struct seq *s, const int32_t *ids, uint32_t n); /* s is given them, or said them */
void draft_forget(struct seq *s, uint32_t keep);
void draft_free(struct seq *s);
void draft_make(struct job *j, uint32_t most); /* j->guess[0..n_draft), at most so many */

/* head.c: output rows */
void head_begin(struct engine *e, struct batch *b); /* after the last layer */
void head_group(struct engine *e, struct batch *b); /* the next HEAD_ROWS rows and what follows */

/* seq.c */
bool seq_pages(struct seq *s, uint32_t tokens); /* pages for positions < tokens */
/* Page i is the tree's page p from now on; one that s has there already goes back. */
void seq_keep_page(struct seq *s, uint32_t i, struct kv_page *p);
struct kv_class *seq_kv_of(struct model *m, const struct seq_cfg *cfg); /* NULL: none fits */

#endif
