/* engine.h - Llama inference: models, sequences, token ids, logits rows. It knows no policy, HTTP
 * or users. Usable alone.
 *
 * Threads: one owner thread calls everything on an engine, except engine_wake_fd's descriptor,
 * job_cancel() and engine_wake(), which are safe from any thread, and the model_* readers, which
 * are safe from any thread once engine_model_add() has returned and until engine_model_drop().
 * No call blocks longer than a fraction of a layer except engine_model_add, model_plan and engine_close.
 * Errors: 0 or a negative code of base/err.h; text in *err where one is taken (NULL ok).
 * Ownership: arguments are borrowed for the call unless "takes" or "keeps" is written.
 * Every byte of a model file is hostile; chat templates inside it are never interpreted. */
#ifndef SP_ENGINE_H
#define SP_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "span.h"

struct engine; /* opaque: thread pool, KV pages, batch scheduler */
struct model;  /* opaque: weights, tokenizer; owned by its engine */
struct seq;    /* opaque: one mutable timeline of tokens with its KV cache */
typedef uint64_t job_id; /* 0 = none; unique for the engine's life */

/* ---- engine ---- */
struct engine_cfg {
	uint32_t threads;        /* compute threads incl. the owner; 0 = one per CPU we may use */
	const char *kernel_path; /* "portable", "avx2", ... ; NULL = best of this CPU. A path this
				  * CPU cannot run is E_UNSUPPORTED. */
	uint64_t kv_bytes;       /* budget of KV pages over all models, respected exactly */
	bool deterministic;      /* without effect: it costs nothing, so it is always so. A row's bytes
				  * depend on its own tokens, their roles (given or drawn: pack.h's
				  * classes) and the kernel path, for chats as for guards: not on
				  * company, chunks, threads, prefix hits, preemption or drafts. */
	bool fast_f16;           /* prompts through F16 weights may be rounded to bf16: faster where
				  * the CPU multiplies bf16, about as exact as BF16 weights */
};
int engine_open(const struct engine_cfg *cfg, struct engine **e, struct err *err);
void engine_close(struct engine *e); /* takes e; NULL ok; ends all jobs without events */
/* eventfd that is readable after job_cancel()/engine_wake(); poll it beside your own. */
int engine_wake_fd(const struct engine *e);
void engine_wake(struct engine *e); /* any thread */

#define ENGINE_KV_UNIT 4096 /* bytes: what engine_stats counts KV in, over models of any shape */
struct engine_stats {
	/* reserved: promised to living sequences, the pages they hold included */
	uint64_t kv_pages_total, kv_pages_used, kv_pages_reserved;
	/* of the used: in the prefix cache; of these resting: held by nobody else, wiped when their
	 * room is needed */
	uint64_t kv_pages_tree, kv_pages_resting;
	uint64_t tokens_prompt, tokens_generated, tokens_guard, steps, jobs_active, seqs;
	uint64_t tokens_drafted, tokens_accepted; /* gen_limit.draft: guessed; of these drawn */
	uint64_t tokens_cached; /* taken from the prefix cache; not in tokens_prompt */
	uint64_t preempted;	/* how often a batch that was begun rested for another */
	uint64_t mask_work, mask_waits; /* mask_hook's unit; how often it was not enough at once */
	const char *kernel_path; /* the chosen one; static string */
};
void engine_stats(const struct engine *e, struct engine_stats *out);
/* Names of the kernel paths this build has and this CPU can run; NULL-terminated, static. The first
 * call asks the system for what they need (arch_prctl for AMX): make it before a system call filter
 * is set. */
const char *const *engine_kernel_paths(void);

/* ---- models ---- */
/* Called now and then by long calls with 0..1000 per mille; return false to cancel. */
typedef bool (*engine_progress)(void *arg, unsigned per_mille);
struct model_opts {
	uint32_t max_context; /* 0 = the file's; larger than the file's is E_RANGE */
	bool vocab_only;      /* tokenizer and metadata only: no tensors needed */
	engine_progress progress;
	void *progress_arg;
};
/* Loads a GGUF v2/v3 from nfds descriptors, mapped read-only: one file, or all parts of a split
 * model in any order (at most 64). The descriptors stay the caller's and may be closed after
 * return. */
int engine_model_add(struct engine *e, const int *fds, unsigned nfds, const struct model_opts *o,
		     struct model **m, struct err *err);
/* Takes m. E_BUSY while a sequence of it lives. */
int engine_model_drop(struct engine *e, struct model *m, struct err *err);

#define MODEL_MAX_END 16
struct model_info {
	char arch[32], name[128], quant[16], tokenizer[32], pre[32];
	uint64_t params, file_bytes;
	uint32_t n_vocab, n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, context;
	float rope_base, norm_eps;
	bool tied_output, is_starter; /* is_starter: metadata sallyport.starter = true */
	bool add_bos;
	int32_t bos;                  /* -1 = none */
	int32_t end[MODEL_MAX_END];   /* end set: the file's own eos/eot plus those found by name */
	uint32_t n_end;
	uint8_t template_sha256[32];  /* of tokenizer.chat_template; zero when absent */
	uint64_t kv_bytes_per_token;  /* of the cache KV_AUTO takes */
};
const struct model_info *model_info(const struct model *m); /* borrows for the model's life */

struct model_plan {
	uint64_t weights_bytes, kv_bytes_per_token, kv_bytes_full_context, peak_bytes;
	struct model_info info;
};
/* Reads only headers of the files (as engine_model_add takes them) and says what loading would
 * need. */
int model_plan(const int *fds, unsigned nfds, const struct model_opts *o, struct model_plan *plan,
	       struct err *err);

/* One line per tensor / metadata key for `model inspect`. Return false to stop. */
struct tensor_desc {
	struct span name;
	const char *type; /* "Q8_0" */
	uint32_t n_dims;
	uint64_t dims[4], bytes, offset; /* offset: in its file */
	uint32_t part;			 /* of a split model, from 0 */
};
typedef bool (*model_tensor_fn)(void *arg, const struct tensor_desc *t);
int model_each_tensor(const int *fds, unsigned nfds, model_tensor_fn fn, void *arg,
		      struct err *err);

/* ---- tokens ---- */
/* put BOS first; parse special tokens in the text; the text goes on where an earlier one ended (no
 * space prefix of SentencePiece) */
enum { TOK_BOS = 1, TOK_SPECIAL = 2, TOK_CONT = 4 };
enum token_class { TC_NORMAL, TC_BYTE, TC_CONTROL, TC_UNKNOWN, TC_UNUSED };
/* Text to ids. *n = ids needed (may exceed cap: then E_RANGE and nothing is promised about
 * out). Text of users never gets TOK_SPECIAL. Without it no CONTROL id is ever produced. */
int model_tokenize(const struct model *m, struct span text, unsigned flags, int32_t *out,
		   size_t cap, size_t *n);
/* Bytes of a token as printed; empty for control tokens. E_RANGE for a bad id. */
int model_token_bytes(const struct model *m, int32_t id, struct span *out);
enum token_class model_token_class(const struct model *m, int32_t id);
/* The id whose stored piece is exactly this text, e.g. "<|eot_id|>" or "safe"; -1 = none. */
int32_t model_token_find(const struct model *m, struct span piece);
/* Largest prefix of `text` (bytes) whose tokenisation cannot change whatever bytes follow: it
 * ends at a pre-token boundary that later bytes cannot move. 0 is a valid answer. */
size_t model_stable_prefix(const struct model *m, struct span text);

/* ---- sequences ---- */
enum seq_role { SEQ_CHAT, SEQ_GUARD };     /* arithmetic class: guard = P always */
/* GUARD: somebody's answer waits for it; before all others, also before a batch that is begun. SCAN:
 * before prompts and answers likewise, but in turn with answers that are under way. */
enum seq_priority { PRIO_GUARD, PRIO_SCAN, PRIO_NORMAL, PRIO_LOW };
/* Numbers of the KV cache. AUTO: F32 for F32 models, else F16. Q8_0 (int8 with a scale for every 32):
 * half of F16's memory; only where the head dimension is a multiple of 32, and never for guards. */
enum kv_type { KV_AUTO, KV_F16, KV_F32, KV_BF16, KV_Q8_0 };
struct seq_cfg {
	uint64_t cache_domain; /* prefix sharing only inside one (the daemon: the subject); 0: none */
	uint64_t fair_group;   /* fairness (the daemon: the organisation) */
	enum seq_priority priority;
	uint32_t max_tokens;   /* pages for so many tokens are reserved now, so that the sequence
				* can never wait for memory later. E_BUSY: no pages now;
				* E_RANGE: more than the context or the whole budget */
	enum kv_type kv_type;
	enum seq_role role;
};
int seq_new(struct engine *e, struct model *m, const struct seq_cfg *cfg, struct seq **s,
	    struct err *err);
/* Child that shares the first `keep` tokens: pointers of full pages and a copy of the last one, never
 * a token computed again. Same max_tokens and domain. */
int seq_fork(struct seq *s, uint32_t keep, struct seq **child, struct err *err);
/* Forgets tokens from `keep` on. E_BUSY while a job of s runs, or when pages that a fork shares
 * would have to be replaced and there is no room for that; never for tokens behind the shared
 * ones, nor for pages shared by way of the prefix cache. */
int seq_truncate(struct seq *s, uint32_t keep);
/* Changes max_tokens: fewer gives pages back (a parent that only keeps a prefix), more reserves
 * them or is E_BUSY. E_RANGE below seq_len() or above the context; E_BUSY while a job of s runs. */
int seq_reserve(struct seq *s, uint32_t max_tokens);
uint32_t seq_len(const struct seq *s); /* tokens whose KV is computed */
void seq_free(struct seq *s);          /* takes; cancels its jobs silently; pages wiped */

/* The prefix cache. Full pages (64 tokens) of prompts stay for appends that begin with the same ids in
 * the same domain, model and KV type; an append takes them when it first runs and DONE says how many
 * tokens were taken. The last token of an append is always computed, and all of them where all_rows
 * are wanted. What follows a sampled token is never kept. Pages that only the cache holds give way when
 * their room is needed, the least recently used first, and are wiped: the cache makes nothing E_BUSY.
 * Rows are byte-equal with and without it.
 *
 * A text: a sequence of these n ids, whose full pages may be matched from every domain but 0 as long
 * as it lives. Only for what is no one's secret, as an officer registered it: digest must be
 * engine_text_digest() of the ids, else E_CRYPTO. cfg's domain and max_tokens are not looked at.
 * E_RANGE: all texts together would reserve more than half of the budget. *job computes it. Nothing
 * can be appended to a text, or taken from it (E_DENIED); its forks have domain 0 until seq_domain().
 * seq_free() ends it: its pages, and what was kept behind them, are matched no more. */
int seq_new_text(struct engine *e, struct model *m, const struct seq_cfg *cfg, const int32_t *ids,
		 size_t n, const uint8_t digest[32], struct seq **s, job_id *job, struct err *err);
void engine_text_digest(const int32_t *ids, size_t n, uint8_t digest[32]); /* SHA-256 of them, LE */
/* s, which has no tokens but those of a text it was forked from, belongs to this domain from now on.
 * E_CONFLICT: it has others. E_BUSY: a job of it waits or runs. */
int seq_domain(struct seq *s, uint64_t domain);
/* s belongs to this fair group from now on: a fork, for instance, that works for another one than its
 * parent. E_BUSY: a job of it waits or runs. */
int seq_group(struct seq *s, uint64_t group);
/* The cache forgets a domain (0: all of them; texts stay): its pages are wiped; those of a living
 * sequence when it goes, and no append matches them any more. For revocation and erasure. */
void engine_cache_clear(struct engine *e, uint64_t domain);
/* Pages of domains that for idle_ms nobody but the cache has held are wiped and free again. Texts stay;
 * so does what a living sequence holds. 0: never. now_ms is the caller's clock, which never goes back;
 * a page rests from the time of the last call before it came to rest: call it now and then, and once
 * before anything rests. Wipes about a MiB at most, or one page, and looks at no page that stays.
 * True: there is more to wipe now. */
bool engine_cache_age(struct engine *e, uint64_t now_ms, uint64_t idle_ms);

enum want_rows { WANT_NONE, WANT_LOGITS, WANT_LOGITS_FULL, WANT_TOP_K, WANT_HIDDEN };
struct want {
	enum want_rows rows;
	bool all_rows;      /* a row for every appended token; else the last one only */
	const int32_t *ids; /* WANT_LOGITS: kept by copy */
	uint32_t n_ids;
	uint32_t k;         /* WANT_TOP_K: the highest first, NaN above all */
	uint32_t transient; /* so many ids at the end neither enter the prefix cache nor come from it,
			     * nor does what follows them: soon taken back, or not for its timing to tell */
};
/* Appends n ids. Events: ROWS (if wanted) then DONE, or FAILED. Computes over several steps. Jobs
 * queued behind one that failed or was cancelled still run, on the shorter sequence. */
int seq_append(struct seq *s, const int32_t *ids, size_t n, const struct want *w, job_id *job,
	       struct err *err);

/* ---- sampling: counter-based random numbers keyed by (seed, position); ties: lowest id ---- */
struct sampler {
	float temperature; /* 0 = greedy */
	float top_p, min_p; /* 1 and 0 = off */
	uint32_t top_k;     /* 0 = off */
	uint64_t seed;
};
void sampler_init(struct sampler *s, uint64_t seed); /* defaults: 0.6, top_p 0.9 */
void sampler_copy(struct sampler *to, const struct sampler *from);
/* One draw from a row of n logits at a position; *logprob (NULL ok) of the untempered row. */
int32_t sampler_draw(const struct sampler *s, const float *logits, uint32_t n, uint64_t position,
		     float *logprob);

/* May forbid tokens before each draw: clears bits in allow (n_vocab bits). NULL = all allowed. *work: how
 * much it may do now, in a unit of about two nanoseconds, counted in what it does and not by a clock; it
 * takes what it used. False: that was not enough, and allow is as it was; it is called again with the
 * same list, later. The draw waits, in no batch, and others do not: each batch has its share of such
 * work for all who wait (masks.c). */
typedef bool (*mask_hook)(void *arg, const int32_t *generated, uint32_t n, uint64_t *work,
			  uint64_t *allow);
struct gen_limit {
	uint32_t max_new;
	const int32_t *end_ids; /* kept by copy; NULL = the model's end set */
	uint32_t n_end;
	const int32_t *stop_ids; /* end too, reported as GEN_STOP_ID */
	uint32_t n_stop;
	uint32_t draft; /* up to so many guessed tokens are computed with each drawn one, where what
			 * the sequence was given or said repeats itself: fewer passes, the same
			 * tokens bit for bit. 0 = off; at most 15 are; never for guards */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none; looked at by engine_step() */
};
enum gen_end { GEN_END, GEN_STOP_ID, GEN_LENGTH, GEN_DEADLINE, GEN_CANCELLED };
/* Samples on from the sequence's last token (its logits row must be the one last computed: append
 * the prompt first; an append may still be queued). After GEN_LENGTH, GEN_DEADLINE or GEN_CANCELLED
 * the last token reported is not in the cache: append it to go on. One TOKEN event each; generation
 * pauses when credit is used up: each job starts with 0 credit, seq_credit() adds. Then DONE. The
 * end token is not reported as TOKEN but counted in DONE. FAILED with E_BUSY or E_NOMEM: it was
 * cancelled where the last token was computed already, in a page that a fork shares, and there was no
 * room to take it back; it stays in the cache. */
int seq_generate(struct seq *s, const struct sampler *smp, const struct gen_limit *limit,
		 mask_hook hook, void *hook_arg, job_id *job, struct err *err);
void seq_credit(struct seq *s, uint32_t tokens);
/* Any thread. The job ends with DONE(GEN_CANCELLED) at the next border between fractions of a
 * layer; unknown ids are ignored. */
void job_cancel(struct engine *e, job_id job);

/* Does work for about budget_ns (0 = to the end of one batch), at most a fraction of a layer beyond
 * it, and less when engine_wake() or job_cancel() is called meanwhile. PRIO_GUARD goes first, also
 * before a batch that is begun: it rests. Returns 1 when there is more to do, 0 when idle,
 * negative on a broken engine. */
int engine_step(struct engine *e, uint64_t budget_ns);

enum event_kind { EV_ROWS, EV_TOKEN, EV_DONE, EV_FAILED };
struct event {
	enum event_kind kind;
	job_id job;
	struct seq *seq;
	int32_t token;        /* EV_TOKEN */
	float logprob;
	const float *rows;    /* EV_ROWS: n_rows x row_n; borrowed until the next engine_poll */
	const int32_t *top_ids; /* WANT_TOP_K: n_rows x row_n */
	uint32_t n_rows, row_n;
	enum gen_end end;     /* EV_DONE of a generation */
	uint32_t computed, cached; /* EV_DONE: tokens computed, taken from the prefix cache */
	int code;             /* EV_FAILED: base/err.h */
	const char *why;      /* EV_FAILED: static text */
};
/* Takes up to cap finished events in order. Returns their number. */
int engine_poll(struct engine *e, struct event *events, int cap);

#endif
