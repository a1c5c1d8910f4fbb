/* zone.h - days and months of realm.timezone as numbers, with the time they end. Pure; any thread.
 * Offsets come as a table of changes, read once from a TZif file (RFC 9636) or given as fixed. */
#ifndef SP_DAEMON_ZONE_H
#define SP_DAEMON_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "span.h"

#define ZONE_CHANGES 64

struct zone {
	unsigned n;		   /* changes */
	int64_t at[ZONE_CHANGES];  /* UTC seconds, ascending */
	int32_t off[ZONE_CHANGES]; /* seconds east of UTC from then on */
	int32_t first;		   /* before the first change */
};

/* One instant in a zone. */
struct zone_now {
	int64_t ms;		    /* Unix ms UTC */
	int32_t day;		    /* days since 1970-01-01, local */
	int32_t month;		    /* months since 1970-01, local */
	int64_t day_end, month_end; /* Unix ms UTC of the next local midnight, month */
};

void zone_utc(struct zone *z);
/* Changes of the last years and the next ones of a TZif file. E_FORMAT malformed. */
int zone_parse(struct zone *z, struct span tzif, int64_t about_ms, struct err *err);
/* "UTC", "+07:00", "-03:30", or a name below root ("/usr/share/zoneinfo"): letters, digits, _ - + /
 * and no "..". E_NOTFOUND, E_FORMAT. Reads a file: call it before the sandbox. */
int zone_load(struct zone *z, const char *root, const char *name, int64_t about_ms,
	      struct err *err);
void zone_at(const struct zone *z, int64_t ms, struct zone_now *out);

/* zone_now.day as yyyymmdd, zone_now.month as yyyymm. */
uint32_t zone_yyyymmdd(int32_t day);
uint32_t zone_yyyymm(int32_t month);

#endif
