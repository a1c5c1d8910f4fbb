/* model_plan.c - memory, and what this machine will do with a model; the file's weights need not be
 * there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "io.h"
#include "model_plan.h"

#define HEADER_MAX (256u << 20) /* of a file that ends inside its weights */
#define HEADER_ROOM (1ull << 42)

static const uint32_t prompts[] = {100, 1000, 8000}, depths[] = {0, 2048, 8192};
static const uint32_t contexts[] = {2048, 8192, 32768, 131072};

/* The files with room behind them, as if the weights were there: for headers alone. */
static int with_room(struct model_files *f, struct err *err)
{
	for (unsigned i = 0; i < f->n; i++) {
		struct buf head = BUF_INIT(HEADER_MAX);
		int fd, rc = lseek(f->fd[i], 0, SEEK_SET) < 0
				 ? err_sys(err, "lseek")
				 : io_read_fd(f->fd[i], HEADER_MAX, &head, err);

		fd = rc < 0 ? -1 : memfd_create("header", MFD_CLOEXEC);
		if (rc == 0 && fd < 0)
			rc = err_sys(err, "memfd_create");
		if (rc == 0)
			rc = io_write_all(fd, head.p, head.n, err);
		if (rc == 0 && ftruncate(fd, (off_t)(HEADER_ROOM / f->n)) < 0)
			rc = err_sys(err, "ftruncate");
		buf_free(&head);
		if (rc < 0) {
			if (fd >= 0)
				close(fd);
			return rc;
		}
		close(f->fd[i]);
		f->fd[i] = fd;
	}
	return 0;
}

static uint64_t available_memory(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}

struct report {
	struct model_plan p;
	struct run_cost cost;
	struct plan_speed speed;
	uint64_t batch_bytes, available;
	bool measured, headers_only;
};

static void json_memory(struct buf *b, const struct report *r)
{
	const struct model_info *in = &r->p.info;

	buf_fmt(b, "\"kv_bytes\":[");
	for (size_t i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++)
		if (contexts[i] <= in->context)
			buf_fmt(b, "%s{\"bytes\":%llu,\"tokens\":%u}", i ? "," : "",
				(unsigned long long)(contexts[i] * r->p.kv_bytes_per_token),
				contexts[i]);
	buf_fmt(b, "],\"kv_bytes_per_token\":%llu,", (unsigned long long)r->p.kv_bytes_per_token);
}

static void json_speed(struct buf *b, const struct report *r)
{
	const struct model_info *in = &r->p.info;

	buf_puts(b, "\"decode\":[");
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++)
		buf_fmt(b, "%s{\"depth\":%u,\"tokens_per_second\":%.4g}", i ? "," : "", depths[i],
			plan_decode(&r->speed, &r->cost, in, depths[i]));
	buf_puts(b, "],\"guard\":[");
	for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++)
		buf_fmt(b, "%s{\"seconds\":%.4g,\"tokens\":%u}", i ? "," : "",
			plan_prompt(&r->speed, &r->cost, in, prompts[i]), prompts[i]);
	buf_fmt(b,
		"],\"kernel\":\"%s\",\"measured_seconds\":%.3g,\"product_flops_per_second\":%.4g,"
		"\"read_bytes_per_second\":%.4g,",
		r->speed.rates.kernel, r->speed.took, r->speed.rates.mul_flops,
		r->speed.rates.read_bytes);
}

static void print_json(const struct report *r)
{
	const struct model_info *in = &r->p.info;
	struct buf b = BUF_INIT(1u << 20);

	buf_fmt(&b, "{\"available_bytes\":%llu,\"batch_bytes\":%llu,\"context\":%u,",
		(unsigned long long)r->available, (unsigned long long)r->batch_bytes, in->context);
	if (r->measured) {
		buf_puts(&b, "\"expected\":{");
		json_speed(&b, r);
		b.n--; /* the last comma */
		buf_puts(&b, "},");
	}
	buf_fmt(&b, "\"headers_only\":%s,", r->headers_only ? "true" : "false");
	json_memory(&b, r);
	buf_puts(&b, "\"name\":");
	model_put_text(&b, in->name, strlen(in->name));
	buf_fmt(&b, ",\"params\":%llu,", (unsigned long long)in->params);
	buf_fmt(&b, "\"schema_version\":1,\"types\":\"%s\",\"weights_bytes\":%llu}", in->quant,
		(unsigned long long)r->p.weights_bytes);
	model_print(&b);
}

static void print_table(const struct report *r, const struct plan_args *a)
{
	const struct model_info *in = &r->p.info;
	double rest = (double)r->available - (double)(r->p.weights_bytes + r->batch_bytes);

	printf("%s: %.1f M parameters, %s%s\n", in->name, (double)in->params / 1e6, in->quant,
	       r->headers_only ? "; headers only" : "");
	printf("memory   weights %.1f MB, batch %.1f MB, KV %.1f KB a token\n",
	       (double)r->p.weights_bytes / 1e6, (double)r->batch_bytes / 1e6,
	       (double)r->p.kv_bytes_per_token / 1e3);
	for (size_t i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++)
		if (contexts[i] <= in->context) {
			double each = (double)contexts[i] * (double)r->p.kv_bytes_per_token;

			printf(
			    "         a sequence of %6u tokens %10.1f MB; room here now for %.0f\n",
			    contexts[i], each / 1e6, rest > each ? rest / each : 0);
		}
	if (rest < 0)
		printf("         %.1f MB of memory are free: the weights do not fit\n",
		       (double)r->available / 1e6);
	if (!r->measured)
		return;
	printf(
	    "here     kernel %s, %u threads, memory %.1f GB/s, products %.0f GFLOP/s (measured in "
	    "%.1f s)\n",
	    r->speed.rates.kernel, a->threads, r->speed.rates.read_bytes / 1e9,
	    r->speed.rates.mul_flops / 1e9, r->speed.took);
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++)
		printf("decode   at depth %5u %10.3g tokens/s\n", depths[i],
		       plan_decode(&r->speed, &r->cost, in, depths[i]));
	for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++) {
		double s = plan_prompt(&r->speed, &r->cost, in, prompts[i]);

		printf("guard    of %6u tokens %10.3g s (%.3g tokens/s)\n", prompts[i], s,
		       prompts[i] / s);
	}
}

static int make_report(struct model_files *f, const struct plan_args *a, struct report *r,
		       struct err *err)
{
	int rc = model_plan(f->fd, f->n, NULL, &r->p, err);

	if (rc == E_TRUNC && with_room(f, err) == 0) {
		r->headers_only = true;
		rc = model_plan(f->fd, f->n, NULL, &r->p, err);
		r->p.info.file_bytes = r->p.weights_bytes;
	}
	if (rc < 0 || (rc = run_cost(f, &r->cost, err)) < 0)
		return rc;
	r->batch_bytes = r->p.peak_bytes - r->p.weights_bytes - r->p.kv_bytes_full_context;
	r->available = available_memory();
	r->measured = a->seconds > 0;
	return r->measured ? plan_measure(a, &r->p.info, &r->speed, err) : 0;
}

static int verb_plan(int argc, char **argv)
{
	const char *kernel = NULL, *threads = NULL, *seconds = NULL, *pos[1];
	const struct opt opts[] = {{"kernel", false, &kernel, NULL, 0},
				   {"threads", false, &threads, NULL, 0},
				   {"seconds", false, &seconds, NULL, 0},
				   {0}};
	struct plan_args a = {0};
	struct report r = {0};
	struct model_files files;
	struct err err = {0};
	double t = (double)sysconf(_SC_NPROCESSORS_ONLN);
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	a.seconds = 2;
	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model plan FILE");
	if ((rc = model_arg_number("threads", threads, 1, 256, &t)) != X_OK ||
	    (rc = model_arg_number("seconds", seconds, 0, 60, &a.seconds)) != X_OK ||
	    (rc = model_files_open(pos[0], &files)) != X_OK)
		return rc;
	a.kernel = kernel;
	a.threads = (uint32_t)t;
	rc = make_report(&files, &a, &r, &err);
	model_files_close(&files);
	if (rc < 0)
		return model_fail(rc, pos[0], err.text);
	if (cli.out == OUT_JSON)
		print_json(&r);
	else
		print_table(&r, &a);
	return X_OK;
}

const struct model_verb model_verb_plan = {
    "plan", verb_plan,
    "  plan FILE [--kernel NAME] [--threads N] [--seconds 2]\n"
    "                                      memory and expected speed here, measured in --seconds\n"
    "                                      (0: memory only); the file's headers are enough\n"};
