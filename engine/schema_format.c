/* schema_format.c - formats as patterns. Each matches only values that its standard calls valid,
 * not all of them: 29 February never comes, addresses of IPv6 are written out, names are ASCII. */
#include "schema_priv.h"

#define DATE                                                                                       \
	"\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"         \
	"02-(0[1-9]|1\\d|2[0-8]))"
#define ZONE "(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?" ZONE
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,60}[A-Za-z0-9])?"
#define ATEXT "[A-Za-z0-9_+-]"
#define BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define HEX "[0-9A-Fa-f]"
#define CLOCK "(\\d{1,6}H(\\d{1,6}M(\\d{1,6}S)?)?|\\d{1,6}M(\\d{1,6}S)?|\\d{1,6}S)"
#define DAYS "(\\d{1,6}Y(\\d{1,6}M(\\d{1,6}D)?)?|\\d{1,6}M(\\d{1,6}D)?|\\d{1,6}D)"

const char *dfa_format(struct span name)
{
	static const struct {
		const char *name, *re;
	} known[] = {
	    {"date", "^" DATE "$"}, /* RFC 3339 */
	    {"time", "^" TIME "$"},
	    {"date-time", "^" DATE "T" TIME "$"},
	    {"duration", "^P(" DAYS "(T" CLOCK ")?|T" CLOCK "|\\d{1,6}W)$"},
	    {"uuid", "^" HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}$"}, /* RFC 4122 */
	    {"email", "^" ATEXT "{1,30}(\\." ATEXT "{1,30})?@(" LABEL "\\.){1,2}[A-Za-z]{2,24}$"},
	    {"hostname", "^" LABEL "(\\." LABEL "){0,3}$"}, /* RFC 1123 */
	    {"ipv4", "^" BYTE "(\\." BYTE "){3}$"},
	    {"ipv6", "^" HEX "{1,4}(:" HEX "{1,4}){7}$"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (span_eq(name, span_cstr(known[i].name)))
			return known[i].re;
	return NULL;
}
