/* sse.c - see sse.h. */
#include "sse.h"

#include "jsonw.h"

const char *finish_name(unsigned finish)
{
	switch (finish) {
	case OF_STOP:
		return "stop";
	case OF_LENGTH:
		return "length";
	case OF_FILTER:
		return "content_filter";
	default:
		return NULL;
	}
}

static void put_head(struct jsonw *w, const struct sse_meta *m, const char *object)
{
	jw_kcstr(w, "id", m->id);
	jw_kcstr(w, "object", object);
	jw_kint(w, "created", m->created);
	jw_kcstr(w, "model", m->model);
	jw_kcstr(w, "system_fingerprint", "fp_sallyport");
}

static void begin(struct jsonw *w, struct buf *b, const struct sse_meta *m)
{
	buf_puts(b, "data: ");
	jw_init(w, b);
	w->free_order = true;
	jw_obj(w);
	put_head(w, m, "chat.completion.chunk");
	jw_key(w, "choices");
	jw_arr(w);
}

static void end(struct jsonw *w, struct buf *b, const struct sse_meta *m)
{
	jw_end_arr(w);
	if (m->include_usage) {
		jw_key(w, "usage");
		jw_null(w);
	}
	jw_end_obj(w);
	buf_puts(b, "\n\n");
}

static void open_choice(struct jsonw *w, unsigned choice)
{
	jw_obj(w);
	jw_kint(w, "index", choice);
	jw_key(w, "delta");
	jw_obj(w);
}

static void close_choice(struct jsonw *w, const char *finish)
{
	jw_end_obj(w);
	jw_key(w, "logprobs");
	jw_null(w);
	jw_key(w, "finish_reason");
	if (finish)
		jw_cstr(w, finish);
	else
		jw_null(w);
	jw_end_obj(w);
}

void sse_role(struct buf *b, const struct sse_meta *m, unsigned choice)
{
	struct jsonw w;

	begin(&w, b, m);
	open_choice(&w, choice);
	jw_kcstr(&w, "role", "assistant");
	jw_kcstr(&w, "content", "");
	jw_key(&w, "refusal");
	jw_null(&w);
	close_choice(&w, NULL);
	end(&w, b, m);
}

void sse_text(struct buf *b, const struct sse_meta *m, unsigned choice, struct span text)
{
	struct jsonw w;

	begin(&w, b, m);
	open_choice(&w, choice);
	jw_kstr(&w, "content", text);
	close_choice(&w, NULL);
	end(&w, b, m);
}

void sse_finish(struct buf *b, const struct sse_meta *m, unsigned choice, const char *reason)
{
	struct jsonw w;

	begin(&w, b, m);
	open_choice(&w, choice);
	close_choice(&w, reason);
	end(&w, b, m);
}

static void put_usage(struct jsonw *w, const struct usage *u)
{
	jw_key(w, "usage");
	jw_obj(w);
	jw_kint(w, "prompt_tokens", u->prompt);
	jw_kint(w, "completion_tokens", u->completion);
	jw_kint(w, "total_tokens", (int64_t)u->prompt + u->completion);
	jw_key(w, "prompt_tokens_details");
	jw_obj(w);
	jw_kint(w, "cached_tokens", u->cached);
	jw_end_obj(w);
	jw_key(w, "completion_tokens_details");
	jw_obj(w);
	jw_kint(w, "reasoning_tokens", 0);
	jw_end_obj(w);
	jw_end_obj(w);
}

void sse_usage(struct buf *b, const struct sse_meta *m, const struct usage *u)
{
	struct jsonw w;

	begin(&w, b, m);
	jw_end_arr(&w);
	put_usage(&w, u);
	jw_end_obj(&w);
	buf_puts(b, "\n\n");
}

void sse_error(struct buf *b, const struct reply_fault *f)
{
	buf_puts(b, "data: ");
	reply_error_json(b, f);
	buf_puts(b, "\n\n");
}

void sse_ping(struct buf *b)
{
	buf_puts(b, ": ping\n\n");
}

void sse_done(struct buf *b, struct span receipt)
{
	if (receipt.n) {
		buf_puts(b, ": sallyport-receipt ");
		buf_base64(b, receipt.p, receipt.n);
		buf_putc(b, '\n');
	}
	buf_puts(b, "data: [DONE]\n\n");
}

void chat_whole(struct buf *b, const struct sse_meta *m, const struct chat_choice *c, unsigned n,
		const struct usage *u)
{
	struct jsonw w;

	jw_init(&w, b);
	w.free_order = true;
	jw_obj(&w);
	put_head(&w, m, "chat.completion");
	jw_key(&w, "choices");
	jw_arr(&w);
	for (unsigned i = 0; i < n; i++) {
		jw_obj(&w);
		jw_kint(&w, "index", i);
		jw_key(&w, "message");
		jw_obj(&w);
		jw_kcstr(&w, "role", "assistant");
		jw_kstr(&w, "content", c[i].text);
		jw_key(&w, "refusal");
		jw_null(&w);
		jw_end_obj(&w);
		jw_key(&w, "logprobs");
		jw_null(&w);
		jw_kcstr(&w, "finish_reason", c[i].finish);
		jw_end_obj(&w);
	}
	jw_end_arr(&w);
	put_usage(&w, u);
	jw_end_obj(&w);
	buf_putc(b, '\n');
}
