/* store_drv_birth.c - what officers and a user do before the first request: confirm, onboard,
 * redeem. Every statement is signed here and travels as it would from the command line. */
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin_verbs.h"
#include "code.h"
#include "role.h"
#include "statement.h"
#include "store_drv.h"

unsigned drv_admin(struct drv *d, unsigned verb, struct span body)
{
	struct msg_ADMREQ m = {.req = id_random(), .verb = (uint16_t)verb, .body = body};

	d->asked = m.req;
	d->answered = false;
	d->status = 0;
	buf_reset(&d->answer);
	CH_SEND(d->adm, ADMREQ, &m);
	if (!drv_until(d, &d->answered, DRV_PATIENCE_MS))
		drv_fail("no answer to an admin request");
	return d->status;
}

static json_t *answer(struct drv *d)
{
	json_t *o = json_loadb(d->answer.p, d->answer.n, 0, NULL);

	if (o == NULL)
		drv_fail("answer is not JSON");
	return o;
}

static void new_nonce(struct drv *d, struct stmt *s)
{
	json_t *o, *v;

	for (int i = 0; drv_admin(d, AV_NONCE, SPAN_LIT("{}")) != 200; i++) {
		static const bool never;

		if (i == 200) /* the first ones come before genesis is durable */
			drv_fail("nonce");
		drv_until(d, &never, 10);
	}
	o = answer(d);
	v = json_object_get(o, "nonce");
	s->ts = json_integer_value(json_object_get(o, "ts"));
	if (!id_parse("nce", span_cstr(json_string_value(v)), &s->nonce))
		drv_fail("nonce text");
	json_decref(o);
}

unsigned drv_statement(struct drv *d, unsigned officer, struct stmt *s, struct span sealed)
{
	struct buf b = BUF_INIT(65536), body = BUF_INIT(65536);
	struct jsonw w;
	uint8_t sig[STMT_SIG];
	unsigned status;

	new_nonce(d, s);
	memcpy(s->aud, d->aud, 32);
	s->kid = d->gen.officer[officer].id;
	if (stmt_write(s, &b) < 0)
		drv_fail("statement");
	stmt_sign(buf_span(&b), d->off_sk[officer], sig);
	jw_init(&w, &body);
	jw_obj(&w);
	jw_key(&w, "sealed");
	if (sealed.n)
		jw_b64(&w, sealed.p, sealed.n);
	else
		jw_null(&w);
	jw_key(&w, "sig");
	jw_b64(&w, sig, sizeof(sig));
	jw_kstr(&w, "statement", buf_span(&b));
	jw_end_obj(&w);
	status = drv_admin(d, AV_STATEMENT, buf_span(&body));
	buf_free(&b);
	buf_free(&body);
	return status;
}

static void must_pass(struct drv *d, unsigned officer, struct stmt *s, struct span sealed)
{
	if (drv_statement(d, officer, s, sealed) != 200) {
		fprintf(stderr, "driver: " SPAN_FMT "\n", SPAN_ARG(buf_span(&d->answer)));
		drv_fail("a statement was refused");
	}
}

/* The half that the answer carries, sealed to this officer's key. */
static void open_half(struct drv *d, unsigned officer, char which, char out[CODE_HALF_TEXT])
{
	json_t *o = answer(d), *v = json_object_get(o, "code_box");
	uint8_t box[256], half[CODE_HALF_BYTES], pk[32], xpk[32], xsk[32];
	size_t n = 0;

	memcpy(pk, d->off_sk[officer] + 32, 32);
	if (!json_is_string(v) ||
	    sodium_base642bin(box, sizeof(box), json_string_value(v), json_string_length(v), NULL,
			      &n, NULL, sodium_base64_VARIANT_ORIGINAL) < 0 ||
	    n != sizeof(half) + crypto_box_SEALBYTES ||
	    crypto_sign_ed25519_pk_to_curve25519(xpk, pk) < 0 ||
	    crypto_sign_ed25519_sk_to_curve25519(xsk, d->off_sk[officer]) < 0 ||
	    crypto_box_seal_open(half, box, n, xpk, xsk) < 0)
		drv_fail("code box");
	code_half_text(which, half, out);
	json_decref(o);
}

static void enrol(struct drv *d, const char *a, const char *b)
{
	struct msg_ENROLL m = {
	    .req = id_random(), .conn = d->conn[0], .code_a = span_cstr(a), .code_b = span_cstr(b)};
	uint8_t secret[32];
	struct span key;

	d->asked = m.req;
	d->answered = false;
	buf_reset(&d->answer);
	CH_SEND(d->gate, ENROLL, &m);
	if (!drv_until(d, &d->answered, DRV_PATIENCE_MS) || d->status != 200)
		drv_fail("enrolment");
	key = buf_span(&d->answer); /* sp_<26>_<52> */
	if (key.n != 3 + ID_B32 + 1 + 52 ||
	    !b32_decode(span_of(key.p + 4 + ID_B32, 52), secret, sizeof(secret)))
		drv_fail("key text");
	memcpy(d->kid, key.p + 3, ID_B32);
	d->kid[ID_B32] = '\0';
	api_key_digest(secret, d->key_digest);
}

static struct stmt case_stmt(const struct case_payload *p, enum verb v, uint32_t ver)
{
	struct stmt s = {.verb = v, .has_case = true, .target = p->id, .ver = ver};

	case_digest(p, s.case_digest);
	if (v == VB_CASE_OPEN)
		s.payload = *p;
	return s;
}

static uint32_t case_ver(struct drv *d, const struct case_payload *p)
{
	char body[80], id[ID_TEXT_MAX];
	json_t *o, *v;
	uint32_t ver;

	snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id_fmt("cas", &p->id, id));
	if (drv_admin(d, AV_CASE_SHOW, span_cstr(body)) != 200)
		drv_fail("case show");
	o = answer(d);
	v = json_object_get(json_object_get(o, "case"), "ver");
	if (v == NULL)
		v = json_object_get(o, "ver");
	if (v == NULL) {
		fprintf(stderr, SPAN_FMT "\n", SPAN_ARG(buf_span(&d->answer)));
		drv_fail("case version");
	}
	ver = (uint32_t)json_integer_value(v);
	json_decref(o);
	return ver;
}

void drv_birth(struct drv *d)
{
	struct case_payload p = {.id = id_random(), .kind = CK_ONBOARD};
	uint8_t sealed[32 + 9];
	char a[CODE_HALF_TEXT], b[CODE_HALF_TEXT];
	struct stmt s;

	for (unsigned i = 0; i < DRV_OFFICERS; i++) {
		s = (struct stmt){.verb = VB_OFFICER_CONFIRM, .ver = 1};
		s.target = d->gen.officer[i].id;
		must_pass(d, i, &s, span_of(NULL, 0));
	}
	randombytes_buf(sealed, 32);
	memcpy(sealed + 32, "\"a user\"", 9);
	d->sub = id_random();
	d->org = id_random();
	p.subject =
	    (struct subject_row){.id = d->sub, .org = d->org, .tier = 1, .expires = d->expires};
	commit_digest(sealed, span_of(sealed + 32, 8), p.subject.party);
	s = case_stmt(&p, VB_CASE_OPEN, 0);
	must_pass(d, 0, &s, span_of(sealed, 40));
	s = case_stmt(&p, VB_CASE_PROPOSE, case_ver(d, &p));
	must_pass(d, 0, &s, span_of(NULL, 0));
	open_half(d, 0, 'A', a);
	s = case_stmt(&p, VB_CASE_SIGN, case_ver(d, &p));
	must_pass(d, 1, &s, span_of(NULL, 0));
	open_half(d, 1, 'B', b);
	enrol(d, a, b);
	if (!drv_until(d, &d->ready, DRV_PATIENCE_MS))
		drv_fail("not ready after birth");
}
