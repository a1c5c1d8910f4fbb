/* cut_store.c - kills a real store process at random moments with at least 64 requests in flight
 * and starts it again, as often as asked. Oracle: the driver's own list of acknowledgements. After
 * every cut each acknowledged record must stand in the log at its index; when nothing is in flight
 * intents = outcomes, and the usage folded from the log is the sum of what the outcomes say. usage:
 * cut_store [--cuts N] [--dir FOLDER] [--seed-realms N] */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "store_drv.h"

#define IN_FLIGHT 64
#define CUTS_PER_REALM 25

static void load(struct drv *d)
{
	while (d->in_flight < IN_FLIGHT + 32)
		drv_request(d);
}

/* Serves for a random while under full load, then kills. */
static void one_cut(struct drv *d, unsigned *in_flight_min)
{
	uint64_t end = clock_mono_ns() + (2 + randombytes_uniform(45)) * 1000000ull +
		       randombytes_uniform(1000000);
	unsigned at;

	do {
		load(d);
		drv_poll(d, 1);
	} while (clock_mono_ns() < end);
	load(d);
	at = d->in_flight;
	if (at < *in_flight_min)
		*in_flight_min = at;
	drv_kill(d);
}

static bool settled(struct drv *d)
{
	struct req *r, *tmp;
	uint64_t end = clock_mono_ms() + DRV_PATIENCE_MS;

	d->hold_outcomes = 0;
	while (d->in_flight && clock_mono_ms() < end)
		drv_poll(d, 5);
	HASH_ITER(hh, d->reqs, r, tmp)
	if (r->step != RQ_DONE && r->step != RQ_GONE)
		fprintf(stderr, "finding: a request is stuck in step %d\n", (int)r->step);
	return d->in_flight == 0;
}

static unsigned check_realm(struct drv *d, bool clean)
{
	struct drv_sums s;
	unsigned bad = 0;

	drv_check_log(d);
	drv_sums(d, &s);
	bad += !drv_verify(d, clean);
	if (clean && (s.open || s.intents != s.outcomes || s.conc)) {
		fprintf(stderr, "finding: open %u intents %llu outcomes %llu concurrency %llu\n",
			s.open, (unsigned long long)s.intents, (unsigned long long)s.outcomes,
			(unsigned long long)s.conc);
		bad++;
	}
	if (s.used_month != s.tokens && clean) {
		fprintf(stderr, "finding: usage %llu, the log says %llu\n",
			(unsigned long long)s.used_month, (unsigned long long)s.tokens);
		bad++;
	}
	return bad;
}

static unsigned realm(const char *base, unsigned no, unsigned cuts, unsigned *in_flight_min,
		      uint64_t *acks)
{
	static struct drv d;
	char dir[200];
	unsigned bad = 0;

	memset(&d, 0, sizeof(d));
	snprintf(dir, sizeof(dir), "%s/realm%u", base, no);
	drv_realm(&d, dir);
	if (!drv_start(&d, false))
		drv_fail("first start");
	drv_birth(&d);
	for (unsigned i = 0; i < cuts; i++) {
		one_cut(&d, in_flight_min);
		drv_check_log(&d);
		if (randombytes_uniform(8) == 0) { /* the engine died as well */
			struct req *r, *tmp;

			d.engine_boot = id_random();
			HASH_ITER(hh, d.reqs, r, tmp)
			if (r->step != RQ_DONE && r->step != RQ_GONE) {
				r->step = RQ_GONE;
				d.in_flight--;
			}
		}
		if (!drv_start(&d, true)) {
			fprintf(stderr, "finding: store does not come back (reasons %#x)\n",
				d.reasons);
			bad++;
			break;
		}
	}
	if (!bad && !settled(&d))
		bad++;
	if (!bad && drv_stop(&d) != 0) {
		fprintf(stderr, "finding: no clean stop\n");
		bad++;
	}
	bad += check_realm(&d, bad == 0);
	bad += (unsigned)(d.lost + d.receipts_bad);
	if (d.lost || d.receipts_bad)
		fprintf(stderr, "finding: %llu lost, %llu receipts do not verify\n",
			(unsigned long long)d.lost, (unsigned long long)d.receipts_bad);
	*acks += d.acks;
	drv_realm_free(&d);
	if (!bad) {
		char cmd[256];

		snprintf(cmd, sizeof(cmd), "rm -rf -- '%s'", dir);
		if (system(cmd) != 0)
			fprintf(stderr, "cannot remove %s\n", dir);
	}
	return bad;
}

int main(int argc, char **argv)
{
	unsigned cuts = 50, bad = 0, in_flight_min = UINT32_MAX, done = 0, no = 0;
	char base[160] = "";
	uint64_t t0 = clock_mono_ms(), acks = 0;

	drv_main(argc, argv);
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--cuts") == 0)
			cuts = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--dir") == 0)
			snprintf(base, sizeof(base), "%s", argv[i + 1]);
	}
	if (base[0] == '\0') { /* a folder on the disk of the build, not a memory file system */
		snprintf(base, sizeof(base), "%s/cut_store.%d",
			 getenv("BUILDDIR") ? getenv("BUILDDIR") : ".", (int)getpid());
		if (mkdir(base, 0700) < 0)
			drv_fail("folder for the realms");
	}
	while (done < cuts && bad == 0) {
		unsigned n = cuts - done < CUTS_PER_REALM ? cuts - done : CUTS_PER_REALM;

		bad += realm(base, no++, n, &in_flight_min, &acks);
		done += n;
	}
	rmdir(base);
	printf("%u cuts, at least %u in flight, %llu records acknowledged, %u findings, %llu ms a "
	       "cut\n",
	       done, in_flight_min, (unsigned long long)acks, bad,
	       (unsigned long long)(done ? (clock_mono_ms() - t0) / done : 0));
	return bad ? 1 : 0;
}
