/* chat.c - which format a model speaks, and the way from a format to text or ids. */
#include "chat_priv.h"
#include "model_priv.h"
#include "utf8.h"

struct print {
	enum chat_format format;
	const char *sha256;
};

/* SHA-256 of the published templates, with and without a newline at their end. */
static const struct print prints[] = {
    {CHAT_LLAMA2, "e8d5b5a546d3f19df16a5320c614fab05bdc4edd50e850f1afd947b503ea41cf"},
    {CHAT_LLAMA2, "39ce62d9744f3fabe69988762aeb2f971f9efbd2e26bbb58ccaa241ab1baa9c7"},
    {CHAT_LLAMA3, "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122"},
    {CHAT_LLAMA3, "0a3182e4b5ea175fc6daf849d2c9e7a47ce8e15b8cb8a654b64980ebfdc0b196"},
    {CHAT_LLAMA31, "e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65"},
    {CHAT_LLAMA31, "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7"},
    {CHAT_LLAMA32, "5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4"},
    {CHAT_LLAMA32, "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f"},
    {CHAT_GUARD3_8B, "5a5561f4ea9576d49d8b81328d0c7c42353549a9d610e0855ff107bf9a04c1f8"},
    {CHAT_GUARD3_8B, "f19f4eec8842274b16668d5100e88c4c07d30457d0e8d5db01120b0247e4aee1"},
    {CHAT_GUARD3_1B, "df3965ba586f628bed4f3bb122cda2cc7502d5fdd87b525d4a3fea37831905f7"},
    {CHAT_GUARD3_1B, "e3108570b739f3092ab9c13f9d5ae487218582a222e26d7e87825c1556cbf8e9"},
    {CHAT_STARTER, "ead6f66c7218a565b2ac9b75c0a1f59d3ada57be443d6bef029ed8a8b5c860dd"},
};

static bool is_print(const uint8_t sha[32], const char *hex)
{
	struct buf b = BUF_FIXED((char[64]){0}, 64);

	buf_hex(&b, sha, 32);
	return memcmp(b.p, hex, 64) == 0;
}

enum chat_format chat_format_of(const struct model_info *info)
{
	static const uint8_t none[32];

	for (size_t i = 0; i < sizeof(prints) / sizeof(prints[0]); i++)
		if (is_print(info->template_sha256, prints[i].sha256))
			return prints[i].format;
	if (memcmp(info->template_sha256, none, sizeof(none)) != 0)
		return CHAT_NONE; /* a template nobody here knows */
	if (info->is_starter)
		return CHAT_STARTER;
	/* no template, but the three tokens that end Llama 3's texts, messages and turns */
	return strcmp(info->tokenizer, "gpt2") == 0 && info->n_end >= 3 ? CHAT_LLAMA3 : CHAT_NONE;
}

const char *chat_format_name(enum chat_format f)
{
	static const char *const names[] = {
	    [CHAT_NONE] = "none",
	    [CHAT_LLAMA2] = "llama-2",
	    [CHAT_LLAMA3] = "llama-3",
	    [CHAT_LLAMA31] = "llama-3.1",
	    [CHAT_LLAMA32] = "llama-3.2",
	    [CHAT_STARTER] = "starter",
	    [CHAT_GUARD3_8B] = "guard-3-8b",
	    [CHAT_GUARD3_1B] = "guard-3-1b",
	};

	return (unsigned)f < sizeof(names) / sizeof(names[0]) ? names[f] : "none";
}

/* ---- sinks ---- */

void sink_text(struct chat_sink *s, struct span text)
{
	buf_span_put(s->text, text);
}

void sink_puts(struct chat_sink *s, const char *own)
{
	buf_puts(s->text, own);
}

/* Encodes the plain text gathered so far. Special tokens in it stay text. */
static void flush(struct chat_sink *s)
{
	size_t room = s->out.cap > s->out.n ? s->out.cap - s->out.n : 0, n = 0;
	int rc;

	if (s->rc < 0 || s->text->n == 0)
		return;
	if (!buf_ok(s->text)) {
		s->rc = err_set(s->err, E_RANGE, "the conversation is too long or not UTF-8");
		return;
	}
	rc = tok_encode(s->tok, buf_span(s->text), 0, room ? s->out.p + s->out.n : NULL, room, &n);
	if (rc < 0 && rc != E_RANGE)
		s->rc = err_set(s->err, rc, "cannot encode the conversation");
	s->out.n += n;
	buf_reset(s->text);
}

void sink_special(struct chat_sink *s, const char *name)
{
	int32_t id;

	if (!s->tok) {
		buf_puts(s->text, name);
		return;
	}
	flush(s);
	id = tok_find(s->tok, span_cstr(name));
	if (s->rc == 0 && (id < 0 || tok_class(s->tok, id) != TC_CONTROL))
		s->rc = err_set(s->err, E_FORMAT, "the model has no token %s", name);
	tok_emit(&s->out, id);
}

/* White space of Python's str: White_Space and the separators 0x1c to 0x1f. */
static bool strip_space(uint32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 ||
	       cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

struct span chat_trim(struct span s)
{
	uint32_t cp;
	int n;

	while ((n = utf8_next(s, &cp)) > 0 && strip_space(cp))
		s = span_from(s, (size_t)n);
	while (s.n) {
		size_t back = 1;

		while (back < 4 && back < s.n && ((uint8_t)s.p[s.n - back] & 0xc0) == 0x80)
			back++;
		n = utf8_next(span_from(s, s.n - back), &cp);
		if (n != (int)back || !strip_space(cp))
			break;
		s.n -= back;
	}
	return s;
}

static int write_chat(struct chat_sink *s, enum chat_format f, const struct chat_msg *m, size_t n,
		      const struct chat_opts *o)
{
	static const struct chat_opts none;

	o = o ? o : &none;
	if (n == 0)
		return err_set(s->err, E_FORMAT, "a conversation needs a message");
	switch (f) {
	case CHAT_LLAMA2:
		return chat_llama2(s, m, n);
	case CHAT_LLAMA3:
	case CHAT_LLAMA31:
	case CHAT_LLAMA32:
	case CHAT_STARTER:
		return chat_llama3(s, f, m, n, o);
	case CHAT_GUARD3_8B:
	case CHAT_GUARD3_1B:
		return chat_guard3(s, f, m, n, o);
	default:
		return err_set(s->err, E_UNSUPPORTED, "the model's chat format is not known");
	}
}

int chat_render(enum chat_format f, const struct chat_msg *msgs, size_t n,
		const struct chat_opts *o, struct buf *out, struct err *err)
{
	struct chat_sink s = {.text = out, .err = err};
	int rc = write_chat(&s, f, msgs, n, o);

	if (rc == 0 && !buf_ok(out))
		rc = err_set(err, E_RANGE, "the conversation is too long or not UTF-8");
	return rc;
}

int chat_ids(const struct model *m, enum chat_format f, const struct chat_msg *msgs, size_t n_msgs,
	     const struct chat_opts *o, int32_t *out, size_t cap, size_t *n, struct err *err)
{
	struct buf text = BUF_INIT(TOK_MAX_TEXT);
	struct chat_sink s = {.tok = m->tok, .text = &text, .out = {out, cap, 0}, .err = err};
	int rc = write_chat(&s, f, msgs, n_msgs, o);

	*n = 0;
	if (rc == 0) {
		flush(&s);
		rc = s.rc;
	}
	buf_wipe_free(&text);
	if (rc < 0)
		return rc;
	*n = s.out.n;
	return s.out.n > cap ? err_set(err, E_RANGE, "%zu ids, room for %zu", s.out.n, cap) : 0;
}
