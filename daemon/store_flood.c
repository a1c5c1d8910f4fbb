/* store_flood.c - refusals that are not worth an entry each, and breaches by peers. Refusals before
 * authentication are counted and written at most every 10 s; single entries have a budget, so that
 * nobody fills the disk by being refused. Loop thread, order held. */
#include "clock.h"
#include "log.h"
#include "store.h"

#define FLOOD_MS 10000
#define SINGLE_PER_S 20
#define FLOOD_COUNT_MAX (1ull << 40)

bool store_single_ok(struct store *s)
{
	uint64_t now = clock_mono_ms();
	uint64_t add = (now - s->bucket_at) * SINGLE_PER_S / 1000;

	if (add) {
		s->bucket =
		    s->bucket + add > SINGLE_BURST ? SINGLE_BURST : s->bucket + (unsigned)add;
		s->bucket_at = now;
	}
	if (s->bucket == 0)
		return false;
	s->bucket--;
	return true;
}

void store_flood(struct store *s, uint16_t code, uint32_t count)
{
	if (code >= REASON_COUNT || reason_info(code)->name == NULL)
		code = RS_INTERNAL;
	if (s->flood_from == 0)
		s->flood_from = store_now(s);
	if (s->flood[code] < FLOOD_COUNT_MAX)
		s->flood[code] += count;
	s->n.aggregated[code] += count;
}

void store_flood_tick(struct store *s, uint64_t now_ms, bool now)
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	int64_t ts;

	if (s->flood_from == 0 || (!now && now_ms < s->flood_at))
		return;
	ts = store_now(s);
	ev_put_aggregate(&b, role_boot(s->r), ts, s->flood_from, ts, s->flood, REASON_COUNT);
	memset(s->flood, 0, sizeof(s->flood));
	s->flood_from = 0;
	s->flood_at = now_ms + FLOOD_MS;
	store_note(s, &b);
}

void store_odd(struct store *s, enum role_id who, uint16_t type, uint16_t code,
	       const struct id *req)
{
	static const struct id none;
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	const struct msg_rule *rule = msg_rule(type);

	if (who < R_COUNT)
		s->n.odd[who]++;
	if (!store_single_ok(s)) {
		store_flood(s, RS_ODD_MESSAGE, 1);
		return;
	}
	log_ev(LOG_WARN_LV, "peer_odd", "from=%s msg=%s code=%s", role_name(who),
	       rule ? rule->name : "?", reason_info(code)->name);
	ev_put_odd(&b, role_boot(s->r), store_now(s), role_name(who), type, code,
		   req ? req : &none);
	store_note(s, &b);
}
