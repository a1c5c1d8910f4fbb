/* bench_clients.c - what clients wait for: the first token of several at once, the gap that a long
 * prompt tears into a running answer, a guard that comes in the middle of it, and the longest time
 * between two looks at cancels. Usage:
 * bench_clients [-k KERNEL] [-t THREADS] [-c CLIENTS] [-p PROMPT] [-n ANSWER] FILE */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "count.h"
#include "clock.h"
#include "engine.h"

#define MOST 64

struct bench {
	struct engine *e;
	struct model *m;
	uint32_t clients, prompt, answer;
	uint32_t salt;
};

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "bench_clients: %s: %s\n", what, err->text);
	exit(1);
}

static double now_s(void)
{
	return (double)clock_mono_ns() * 1e-9;
}

static struct seq *client(struct bench *b, enum seq_role role, uint32_t prompt, uint32_t answer)
{
	struct seq_cfg cfg = {.fair_group = ++b->salt,
			      .priority = role == SEQ_GUARD ? PRIO_GUARD : PRIO_NORMAL,
			      .role = role,
			      .max_tokens = prompt + answer};
	struct gen_limit limit = {.max_new = answer, .end_ids = (int32_t[]){-1}, .n_end = 1};
	int32_t *ids = calloc(prompt, sizeof(*ids));
	struct sampler smp;
	struct seq *s;
	struct err err = {0};
	job_id job;

	for (uint32_t i = 0; ids && i < prompt; i++)
		ids[i] =
		    (int32_t)((i * 7919u + b->salt * 104729u) % (model_info(b->m)->n_vocab / 2));
	sampler_init(&smp, b->salt);
	if (!ids || seq_new(b->e, b->m, &cfg, &s, &err) < 0 ||
	    seq_append(s, ids, prompt, NULL, &job, &err) < 0 ||
	    (answer && seq_generate(s, &smp, &limit, NULL, NULL, &job, &err) < 0))
		die("client", &err);
	if (answer)
		seq_credit(s, answer);
	free(ids);
	return s;
}

/* Steps until s has an event of this kind; returns when it came. */
static double until(struct bench *b, const struct seq *s, enum event_kind kind)
{
	for (;;) {
		struct event ev;

		while (engine_poll(b->e, &ev, 1) > 0)
			if (ev.seq == s && ev.kind == kind)
				return now_s();
		engine_step(b->e, 1);
	}
}

static double alone(struct bench *b, enum seq_role role, uint32_t prompt)
{
	struct seq *s = client(b, role, prompt, 0);
	double from = now_s(), to = until(b, s, EV_DONE);

	seq_free(s);
	return to - from;
}

static void first_tokens(struct bench *b, double one)
{
	struct seq *s[MOST];
	double from = now_s(), first[MOST] = {0}, sum = 0, most = 0, end;
	uint32_t left = b->clients;

	for (uint32_t i = 0; i < b->clients; i++)
		s[i] = client(b, SEQ_CHAT, b->prompt, b->answer);
	while (left) {
		struct event ev;

		while (engine_poll(b->e, &ev, 1) > 0)
			for (uint32_t i = 0; i < b->clients; i++) {
				if (ev.seq == s[i] && ev.kind == EV_TOKEN && first[i] == 0)
					first[i] = now_s() - from;
				left -=
				    ev.seq == s[i] && ev.kind == EV_DONE && ev.end == GEN_LENGTH;
			}
		engine_step(b->e, 1);
	}
	end = now_s() - from;
	for (uint32_t i = 0; i < b->clients; i++) {
		sum += first[i];
		most = first[i] > most ? first[i] : most;
		seq_free(s[i]);
	}
	printf("%u clients x (%u + %u): first token mean %.3f s, last %.3f s, all done %.3f s; "
	       "mean is %.2f x one prompt alone\n",
	       b->clients, b->prompt, b->answer, sum / b->clients, most, end,
	       sum / b->clients / one);
}

static void gaps(struct bench *b)
{
	struct seq *talks = client(b, SEQ_CHAT, 16, 200), *prompt;
	double last = until(b, talks, EV_TOKEN), most = 0, step = 0, quiet, t;

	for (int i = 0; i < 4; i++)
		last = until(b, talks, EV_TOKEN);
	t = until(b, talks, EV_TOKEN);
	quiet = t - last;
	last = t;
	prompt = client(b, SEQ_CHAT, 4 * b->prompt, 0);
	for (bool done = false; !done;) {
		struct event ev;

		t = now_s();
		engine_step(b->e, 1);
		step = now_s() - t > step ? now_s() - t : step;
		while (engine_poll(b->e, &ev, 1) > 0) {
			done |= ev.kind == EV_DONE;
			if (ev.seq != talks || ev.kind != EV_TOKEN)
				continue;
			most = now_s() - last > most ? now_s() - last : most;
			last = now_s();
		}
	}
	printf("an answer beside a prompt of %u: longest gap %.0f ms (%.0f ms before it); longest "
	       "time between two looks at cancels %.1f ms\n",
	       4 * b->prompt, most * 1e3, quiet * 1e3, step * 1e3);
	seq_free(talks);
	seq_free(prompt);
}

static void guard(struct bench *b)
{
	double one = alone(b, SEQ_GUARD, 64), sum = 0;
	struct seq *prompt = client(b, SEQ_CHAT, 4 * b->prompt, 0);

	for (int i = 0; i < 5; i++) {
		struct seq *g;
		double from;

		for (int k = 0; k < 7; k++)
			engine_step(b->e, 1);
		g = client(b, SEQ_GUARD, 64, 0);
		from = now_s();
		sum += until(b, g, EV_DONE) - from;
		seq_free(g);
	}
	printf("a guard of 64 tokens: %.0f ms alone, %.0f ms in the middle of a prompt\n",
	       one * 1e3, sum / 5 * 1e3);
	seq_free(prompt);
}

int main(int argc, char **argv)
{
	struct bench b = {.clients = 4, .prompt = 512, .answer = 32};
	struct engine_cfg cfg = {.kv_bytes = 4ull << 30};
	struct err err = {0};
	double one;
	int c, fd;

	while ((c = getopt(argc, argv, "k:t:c:p:n:")) != -1) {
		if (c == 'k')
			cfg.kernel_path = optarg;
		else if (c == 't')
			cfg.threads = count_arg(optarg, 0, 256);
		else if (c == 'c')
			b.clients = count_arg(optarg, 1, 64);
		else if (c == 'p')
			b.prompt = count_arg(optarg, 1, 100000);
		else if (c == 'n')
			b.answer = count_arg(optarg, 1, 100000);
		else
			return 2;
	}
	if (optind + 1 != argc || b.clients < 1 || b.clients > MOST || !b.prompt || !b.answer)
		return 2;
	fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || engine_open(&cfg, &b.e, &err) < 0 ||
	    engine_model_add(b.e, &fd, 1, NULL, &b.m, &err) < 0)
		die(argv[optind], &err);
	close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
	alone(&b, SEQ_CHAT, b.prompt); /* the engine learns its speed */
	one = alone(&b, SEQ_CHAT, b.prompt);
	printf("%s: one prompt of %u alone: %.3f s\n", model_info(b.m)->quant, b.prompt, one);
	first_tokens(&b, one);
	gaps(&b);
	guard(&b);
	engine_close(b.e);
	return 0;
}
