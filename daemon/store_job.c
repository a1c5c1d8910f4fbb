/* store_job.c - jobs for the log writer; see store_log.h. Any thread, one job at a time. */
#include <stdlib.h>

#include "store_log.h"

#define JOB_MAX (256u << 10)
#define EXTRA_MAX (48u << 10)
#define RECEIPT_MAX (64u << 10)

struct slog_job *slog_job_new(void)
{
	struct slog_job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->entries = BUF_INIT(JOB_MAX);
	j->extra = BUF_INIT(EXTRA_MAX);
	j->out = BUF_INIT(RECEIPT_MAX);
	return j;
}

void slog_job_free(struct slog_job *j)
{
	if (j == NULL)
		return;
	buf_free(&j->entries);
	buf_free(&j->extra);
	buf_free(&j->out);
	free(j->want);
	free(j);
}

void slog_add(struct slog_job *j, struct span entry)
{
	buf_u32(&j->entries, (uint32_t)entry.n);
	buf_span_put(&j->entries, entry);
	j->n++;
}
