/* zone.c - see zone.h. TZif: RFC 9636; the 64-bit block of version 2 and later is read. The footer
 * (rule for times behind the last change) is not: files of Debian list changes up to 2037. */
#include "zone.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cur.h"
#include "io.h"

#define DAY 86400
#define TZIF_MAX 65536

void zone_utc(struct zone *z)
{
	memset(z, 0, sizeof(*z));
}

static uint32_t be32(struct cur *c)
{
	return __builtin_bswap32(cur_u32(c));
}

struct tz_head {
	uint8_t version;
	uint32_t isut, isstd, leap, times, types, chars;
};

static bool head(struct cur *c, struct tz_head *h)
{
	struct span magic = cur_span(c, 4);

	h->version = cur_u8(c);
	cur_take(c, 15);
	h->isut = be32(c);
	h->isstd = be32(c);
	h->leap = be32(c);
	h->times = be32(c);
	h->types = be32(c);
	h->chars = be32(c);
	return !c->bad && span_eq(magic, SPAN_LIT("TZif")) && h->times < 5000 && h->types > 0 &&
	       h->types <= 256 && h->chars < 4096 && h->leap < 1000 && h->isut <= 256 &&
	       h->isstd <= 256;
}

/* Appends a change, dropping the oldest when the table is full. */
static void put(struct zone *z, int64_t at, int32_t off)
{
	if (z->n == ZONE_CHANGES) {
		z->first = z->off[0];
		memmove(z->at, z->at + 1, sizeof(z->at[0]) * (ZONE_CHANGES - 1));
		memmove(z->off, z->off + 1, sizeof(z->off[0]) * (ZONE_CHANGES - 1));
		z->n--;
	}
	z->at[z->n] = at;
	z->off[z->n++] = off;
}

int zone_parse(struct zone *z, struct span tzif, int64_t about_ms, struct err *err)
{
	struct cur c = cur_init(tzif), types, idx;
	struct tz_head h;
	int32_t off[256];
	int64_t last = INT64_MIN, until = about_ms / 1000 + 20LL * 366 * DAY;

	zone_utc(z);
	if (!head(&c, &h) || h.version < '2')
		return err_set(err, E_FORMAT, "not a TZif file of version 2");
	cur_take(&c, (uint64_t)h.times * 5 + h.types * 6 + h.chars + h.leap * 8 + h.isstd + h.isut);
	if (!head(&c, &h))
		return err_set(err, E_FORMAT, "no 64-bit block");
	types = c;
	cur_take(&types, (uint64_t)h.times * 9);
	for (uint32_t i = 0; i < h.types; i++) {
		off[i] = (int32_t)be32(&types);
		cur_take(&types, 2);
		if (off[i] < -26 * 3600 || off[i] > 26 * 3600)
			types.bad = true;
	}
	idx = c;
	cur_take(&idx, (uint64_t)h.times * 8);
	if (types.bad || idx.bad)
		return err_set(err, E_FORMAT, "TZif tables are cut or out of range");
	z->first = off[0];
	for (uint32_t i = 0; i < h.times; i++) {
		int64_t at = (int64_t)__builtin_bswap64(cur_u64(&c));
		uint8_t t = cur_u8(&idx);

		if (c.bad || idx.bad || t >= h.types || at <= last)
			return err_set(err, E_FORMAT, "TZif change %u", i);
		last = at;
		if (at < until)
			put(z, at, off[t]);
	}
	return E_OK;
}

static bool fixed(const char *s, int32_t *off)
{
	if ((s[0] != '+' && s[0] != '-') || strlen(s) != 6 || s[3] != ':')
		return false;
	for (int i = 1; i < 6; i++)
		if (i != 3 && !isdigit((unsigned char)s[i]))
			return false;
	*off = ((s[1] - '0') * 10 + s[2] - '0') * 3600 + ((s[4] - '0') * 10 + s[5] - '0') * 60;
	if (*off > 15 * 3600)
		return false;
	if (s[0] == '-')
		*off = -*off;
	return true;
}

int zone_load(struct zone *z, const char *root, const char *name, int64_t about_ms, struct err *err)
{
	char path[256];
	struct buf b = BUF_INIT(TZIF_MAX);
	int rc;

	zone_utc(z);
	if (strcmp(name, "UTC") == 0 || fixed(name, &z->first))
		return E_OK;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_-+/", *p))
			return err_set(err, E_FORMAT, "a time zone name has no such character");
	if (name[0] == '/' || name[0] == '\0' || strlen(name) > 64)
		return err_set(err, E_FORMAT, "not a time zone name");
	snprintf(path, sizeof(path), "%s/%s", root, name);
	rc = io_read_file(path, TZIF_MAX, &b, err);
	if (rc == E_OK)
		rc = zone_parse(z, buf_span(&b), about_ms, err);
	else
		rc = E_NOTFOUND;
	buf_free(&b);
	return rc;
}

static int32_t offset(const struct zone *z, int64_t sec)
{
	int32_t off = z->first;

	for (unsigned i = 0; i < z->n && z->at[i] <= sec; i++)
		off = z->off[i];
	return off;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of the first of a month (Hinnant's days_from_civil). */
static int64_t month_start(int64_t month)
{
	int64_t y = 1970 + floor_div(month, 12), m = month - floor_div(month, 12) * 12 + 1;
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = floor_div(y, 400);
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* UTC ms at which the local day begins. The offset is looked up twice: it may change in between. */
static int64_t day_begin(const struct zone *z, int64_t day)
{
	int64_t utc = day * DAY - offset(z, day * DAY);

	utc = day * DAY - offset(z, utc);
	return utc * 1000;
}

void zone_at(const struct zone *z, int64_t ms, struct zone_now *out)
{
	int64_t sec = floor_div(ms, 1000), day, month;

	day = floor_div(sec + offset(z, sec), DAY);
	month = floor_div(day, 31); /* never too late; at most some months too early */
	while (month_start(month + 1) <= day)
		month++;
	*out = (struct zone_now){.ms = ms, .day = (int32_t)day, .month = (int32_t)month};
	out->day_end = day_begin(z, day + 1);
	out->month_end = day_begin(z, month_start(month + 1));
}

uint32_t zone_yyyymm(int32_t month)
{
	int64_t y = 1970 + floor_div(month, 12);

	return (uint32_t)(y * 100 + month - (y - 1970) * 12 + 1);
}

uint32_t zone_yyyymmdd(int32_t day)
{
	int64_t m = floor_div(day, 31);

	while (month_start(m + 1) <= day)
		m++;
	return zone_yyyymm((int32_t)m) * 100 + (uint32_t)(day - month_start(m) + 1);
}
