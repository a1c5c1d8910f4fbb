/* store_metrics.c - counters as Prometheus text (format 0.0.4) and as status JSON. Labels are names
 * of our own enumerations only. Loop thread. */
#include "jsonw.h"
#include "store.h"

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_fmt(b, "# HELP sallyport_%s %s\n# TYPE sallyport_%s %s\n", name, help, name, type);
}

static void one(struct buf *b, const char *name, const char *type, const char *help, uint64_t v)
{
	head(b, name, type, help);
	buf_fmt(b, "sallyport_%s %llu\n", name, (unsigned long long)v);
}

static void by_reason(struct buf *b, const char *name, const char *help, const uint64_t *v)
{
	head(b, name, "counter", help);
	for (unsigned i = 1; i < REASON_COUNT; i++)
		if (v[i])
			buf_fmt(b, "sallyport_%s{reason=\"%s\"} %llu\n", name, reason_info(i)->name,
				(unsigned long long)v[i]);
}

static void requests(struct store *s, struct buf *b)
{
	one(b, "requests_admitted_total", "counter", "Requests that passed the first door.",
	    s->n.auth_ok);
	by_reason(b, "requests_denied_total", "Requests refused by the store, by reason.",
		  s->n.denied);
	by_reason(b, "refusals_aggregated_total", "Refusals counted in aggregate entries.",
		  s->n.aggregated);
	one(b, "intents_total", "counter", "Intents handed to the log since start.", s->n.intents);
	one(b, "prompts_stopped_total", "counter", "Prompts whose verdict was hold or block.",
	    s->n.blocked);
	head(b, "outcomes_total", "counter", "Outcomes handed to the log since start, by state.");
	for (unsigned i = 0; i < 10; i++)
		buf_fmt(b, "sallyport_outcomes_total{state=\"%s\"} %llu\n", ev_state_name(i),
			(unsigned long long)s->n.outcomes[i]);
	one(b, "requests_ended_total", "counter", "Reserves that ended without intent.",
	    s->n.ended);
	one(b, "prompt_tokens_total", "counter", "Prompt tokens settled.", s->n.prompt_tokens);
	one(b, "completion_tokens_total", "counter", "Completion tokens settled.",
	    s->n.completion_tokens);
	one(b, "guard_tokens_total", "counter", "Tokens the guard read; not charged.",
	    s->n.guard_tokens);
	one(b, "records_resent_total", "counter", "Records an engine sent again.", s->n.duplicates);
	one(b, "records_refused_total", "counter", "Records answered by NACK.", s->n.nacks);
	one(b, "leases_revoked_total", "counter", "Live leases ended by officers.", s->n.revokes);
	one(b, "receipts_total", "counter", "Receipts made on demand.", s->n.receipts);
	one(b, "enrolments_total", "counter", "Enrolment codes redeemed.", s->n.enrolled);
}

/* What the engine said last. */
static void engine(const struct msg_ETOTALS *e, struct buf *b)
{
	const struct {
		const char *state;
		uint64_t v;
	} kv[] = {{"total", e->kv_total},
		  {"used", e->kv_used},
		  {"reserved", e->kv_reserved},
		  {"cached", e->kv_cached},
		  {"resting", e->kv_resting}};

	one(b, "engine_requests", "gauge", "Requests that hold sequences.", e->active);
	one(b, "engine_requests_queued", "gauge", "Requests that wait for memory.", e->queued);
	one(b, "engine_sequences", "gauge", "Sequences, of chats and guards.", e->seqs);
	head(b, "engine_kv_bytes", "gauge", "KV memory by state.");
	for (size_t i = 0; i < sizeof(kv) / sizeof(kv[0]); i++)
		buf_fmt(b, "sallyport_engine_kv_bytes{state=\"%s\"} %llu\n", kv[i].state,
			(unsigned long long)kv[i].v);
	one(b, "engine_steps_total", "counter", "Batches computed.", e->steps);
	one(b, "engine_preempted_total", "counter", "Batches that rested for another.",
	    e->preempted);
	one(b, "engine_prompt_tokens_total", "counter",
	    "Tokens of prompts and guards' readings computed.", e->prompt);
	one(b, "engine_cached_tokens_total", "counter",
	    "Tokens of them taken from the prefix cache instead.", e->cached);
	one(b, "engine_guard_tokens_total", "counter", "Tokens computed for guards.", e->guard);
	one(b, "engine_generated_tokens_total", "counter", "Tokens drawn.", e->generated);
	one(b, "engine_drafted_tokens_total", "counter", "Tokens guessed ahead.", e->drafted);
	one(b, "engine_accepted_tokens_total", "counter", "Guesses that came true.", e->accepted);
	one(b, "engine_mask_waits_total", "counter",
	    "Slices of work that were not enough for a draw's mask.", e->mask_waits);
}

void store_metrics(struct store *s, struct buf *b)
{
	uint32_t why = store_reasons(s);

	one(b, "ready", "gauge", "1 when requests are admitted.", why == 0);
	one(b, "not_ready_reasons", "gauge", "Bits of why not (daemon/reasons.h).", why);
	requests(s, b);
	head(b, "leases", "gauge", "Open leases by state.");
	buf_fmt(b, "sallyport_leases{state=\"reserved\"} %u\n",
		leases_in(s->f.leases, LS_RESERVED));
	buf_fmt(b, "sallyport_leases{state=\"claimed\"} %u\n", leases_in(s->f.leases, LS_CLAIMED));
	buf_fmt(b, "sallyport_leases{state=\"intent\"} %u\n", leases_in(s->f.leases, LS_INTENT));
	one(b, "connections", "gauge", "Connections front has told of.", HASH_COUNT(s->peers));
	one(b, "log_entries", "gauge", "Durable entries of the log.",
	    s->log ? slog_size(s->log) : 0);
	one(b, "log_commits_total", "counter", "Group commits since start.",
	    s->log ? slog_commits(s->log) : 0);
	one(b, "log_queue", "gauge", "Jobs the log writer has not answered.",
	    s->log ? slog_queued(s->log) : 0);
	one(b, "log_intents", "gauge", "Intents in the whole log.", s->f.intents);
	one(b, "log_outcomes", "gauge", "Outcomes in the whole log.", s->f.outcomes);
	one(b, "entries_dropped_total", "counter", "Entries nobody waits for, lost without room.",
	    s->n.dropped_entries);
	engine(&s->totals, b);
	head(b, "peer_breaches_total", "counter", "Messages a role may not send, by role.");
	for (int i = 0; i < R_COUNT; i++)
		if (s->n.odd[i])
			buf_fmt(b, "sallyport_peer_breaches_total{role=\"%s\"} %llu\n",
				role_name((enum role_id)i), (unsigned long long)s->n.odd[i]);
}

static void reasons(struct jsonw *w, uint32_t why)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{NR_GENESIS, "genesis_not_confirmed"},
		     {NR_BOOK, "book_not_writable"},
		     {NR_GUARD, "guard_not_ready"},
		     {NR_MODEL, "model_not_loaded"},
		     {NR_STORE, "store_silent"},
		     {NR_ENGINE, "engine_silent"},
		     {NR_CLOCK, "clock_stepped"},
		     {NR_DRAIN, "shutting_down"},
		     {NR_LOCKDOWN, "lockdown"},
		     {NR_SETTINGS, "no_settings"}};

	jw_key(w, "reasons");
	jw_arr(w);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (why & names[i].bit)
			jw_cstr(w, names[i].name);
	jw_end_arr(w);
}

void store_status_json(struct store *s, struct buf *b)
{
	uint32_t why = store_reasons(s);
	struct jsonw w;

	jw_init(&w, b);
	jw_obj(&w);
	jw_kbool(&w, "demo", s->set.demo);
	jw_kint(&w, "in_flight", leases_open(s->f.leases));
	jw_kint(&w, "intents", (int64_t)s->f.intents);
	jw_kint(&w, "log_size", s->log ? (int64_t)slog_size(s->log) : 0);
	jw_key(&w, "models");
	jw_arr(&w);
	for (unsigned i = 0; i < s->set.n_models; i++) {
		jw_obj(&w);
		jw_kbool(&w, "chat", s->model[i].up);
		jw_kbool(&w, "guard", s->model[i].guard);
		jw_kcstr(&w, "name", s->set.model[i].name);
		jw_end_obj(&w);
	}
	jw_end_arr(&w);
	jw_kcstr(&w, "origin", s->origin);
	jw_kint(&w, "outcomes", (int64_t)s->f.outcomes);
	jw_kbool(&w, "ready", why == 0);
	reasons(&w, why);
	jw_kint(&w, "schema_version", 1);
	jw_end_obj(&w);
}
