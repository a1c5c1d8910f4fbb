/* store_open.c - opens and closes the databases and their threads; see store.h. Loop thread. */
#include <stdio.h>

#include "store.h"
#include "store_index.h"

#define WR_QUEUE 1024
#define RD_QUEUE 8192

int store_db_open(struct store *s, int state_fd, const uint8_t kek[32], struct err *err)
{
	struct store_admin_cb cb = store_admin_callbacks(s);
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", state_fd);
	rc = db_open(path, 0, kek, &s->db_wr, err);
	if (rc == E_OK)
		rc = db_open(path, DB_READONLY, kek, &s->db_rd, err);
	if (rc == E_OK)
		rc = store_index_open(path, &s->index, err);
	if (rc == E_OK)
		rc = store_admin_new(s->db_wr, &cb, s->pepper, role_boot(s->r), &s->admin, err);
	return rc;
}

static void ix_idle(void *ctx)
{
	store_balance_write(ctx, false);
}

static void post(void *ctx, void (*fn)(void *), void *arg)
{
	role_post(((struct store *)ctx)->r, fn, arg);
}

int store_db_start(struct store *s, struct err *err)
{
	int rc = work_start(RD_QUEUE, post, s, 0, NULL, &s->rd, err);

	if (rc == E_OK)
		rc = work_start(WR_QUEUE, post, s, 0, NULL, &s->wr, err);
	if (rc == E_OK)
		rc = work_start(RD_QUEUE, post, s, 500, ix_idle, &s->ix, err);
	if (rc == E_OK)
		store_db_begin(s);
	return rc;
}

void store_db_close(struct store *s)
{
	work_stop(s->rd);
	work_stop(s->ix);
	store_balance_write(s, true);
	work_stop(s->wr);
	s->rd = s->wr = s->ix = NULL;
	store_admin_free(s->admin);
	store_index_close(s->index);
	db_close(s->db_rd);
	db_close(s->db_wr);
	s->admin = NULL;
}
