/* decisions.c - see decisions.h. The auditor needs only the log folder: statements carry their
 * signatures, genesis the officers' keys; what to compare by eye are the eight words. */
#include "decisions.h"

#include <sodium.h>

#include "aset.h"
#include "entry.h"
#include "logdir.h"

struct counts {
	unsigned subjects, keys, cases, decided;
	uint64_t statements, refused, rows;
};

static int one_subject(void *arg, const struct subject_row *r)
{
	((struct counts *)arg)->subjects++;
	return 0;
}

static int one_key(void *arg, const struct key_row *r)
{
	((struct counts *)arg)->keys++;
	return 0;
}

static int one_case(void *arg, const struct case_row *r)
{
	((struct counts *)arg)->cases++;
	((struct counts *)arg)->decided += r->state == CS_Z;
	return 0;
}

static int fold(struct logr *r, struct aset *a, uint64_t records, struct counts *n, uint64_t *bad,
		struct err *err)
{
	struct buf e = BUF_INIT(ENTRY_MAX);
	struct fed fed;
	int rc = E_OK;

	for (uint64_t i = 0; rc == E_OK && i < records; i++) {
		buf_reset(&e);
		rc = logr_entry(r, i, &e, err);
		if (rc == E_OK)
			rc = aset_feed(a, i, buf_span(&e), &fed, err);
		if (rc < 0) {
			*bad = i;
			break;
		}
		n->statements += fed.what == FED_STATEMENT;
		n->refused += fed.what == FED_REFUSED;
		n->rows += fed.what == FED_AUTHORITY;
	}
	buf_free(&e);
	return rc;
}

static json_t *result(const struct aset *a, const struct counts *n, int rc, uint64_t bad,
		      const struct err *err)
{
	char hex[65] = "", words[GENESIS_WORDS] = "";
	uint8_t digest[32];
	unsigned officers = 0;

	if (aset_genesis(a, digest)) {
		sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
		genesis_words(digest, words);
	}
	while (aset_officer_at(a, officers))
		officers++;
	return json_pack("{s:b s:I s:I s:I s:I s:I s:I s:I s:s s:s s:b s:b s:o s:s}", "ok",
			 rc == E_OK, "officers", (json_int_t)officers, "subjects",
			 (json_int_t)n->subjects, "keys", (json_int_t)n->keys, "cases",
			 (json_int_t)n->cases, "statements", (json_int_t)n->statements, "refused",
			 (json_int_t)n->refused, "rows", (json_int_t)n->rows, "digest", hex,
			 "words", words, "confirmed", aset_genesis(a, NULL) && aset_confirmed(a),
			 "owed", aset_owed(a) != NULL, "first_bad",
			 rc == E_OK ? json_null() : json_integer((json_int_t)bad), "message",
			 rc == E_OK ? "" : err->text);
}

int decisions_check(int dirfd, uint64_t records, json_t **out, struct err *err)
{
	struct aset *a = aset_new();
	struct logr *r = NULL;
	struct counts n = {0};
	uint64_t bad = 0;
	int rc = a ? logr_open(dirfd, &r, err) : err_set(err, E_NOMEM, "no memory");

	if (rc == E_OK) {
		rc = fold(r, a, records, &n, &bad, err);
		aset_each_subject(a, one_subject, &n);
		aset_each_key(a, one_key, &n);
		aset_each_case(a, one_case, &n);
		*out = result(a, &n, rc, bad, err);
		if (*out == NULL)
			rc = err_set(err, E_NOMEM, "no memory");
	}
	logr_close(r);
	aset_free(a);
	return rc;
}
