/* req_json.h - JSON bodies of clients to canonical requests. Pure: foreign bytes in, a checked
 * struct or one clear refusal out. Fields nobody knows are ignored; null means absent; what is
 * known and not supported is refused by name. Nothing of the body stands in a refusal. */
#ifndef SP_DAEMON_REQ_JSON_H
#define SP_DAEMON_REQ_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "reasons.h"

#define REQ_DEPTH_MAX 32u
#define REQ_MSGS_MAX 2048u
#define REQ_N_MAX 8u
#define REQ_STOPS_MAX 4u
#define REQ_STOP_BYTES 256u
#define REQ_OUT_MAX (1u << 24)

/* What is wrong: the reason, the parameter's name as we spell it, one sentence of our own. */
struct req_fault {
	enum reason code;
	char param[48]; /* "" = none */
	char text[160];
};

/* Canonical chat request. Texts are UTF-8. */
struct chat_req {
	char model[256];
	struct buf msgs;  /* {u8 role, u32 length, bytes}..., as in SUBMIT: the form first */
	struct buf stops; /* {u16 length, bytes}..., as in SUBMIT */
	unsigned n_msgs, n_stops;
	float temperature, top_p, min_p;
	uint32_t top_k; /* 0 = off */
	bool has_seed, stream, include_usage;
	uint64_t seed;
	uint32_t n, max_out; /* max_out 0 = not asked */
};

/* 0, or E_FORMAT with *fault set. End with chat_req_free() in both cases. */
int chat_req_parse(struct span body, struct chat_req *r, struct req_fault *fault);
void chat_req_free(struct chat_req *r); /* wipes */
/* Compiles the schema it asks for, if any: one that cannot be enforced is refused by the keyword. Up to
 * some tens of milliseconds for the worst text: only for clients who are known. Results as above. */
int chat_req_form(const struct chat_req *r, struct req_fault *fault);

/* req_format.c: `response_format` of body o (jansson) as SUBMIT's first record, when it asks for JSON; its
 * schema is not looked into. */
struct json_t;
int req_format(struct json_t *o, struct chat_req *r, struct req_fault *fault);

struct enroll_req {
	char code_a[64], code_b[64];
};
/* As above; wipe *r after use. */
int enroll_req_parse(struct span body, struct enroll_req *r, struct req_fault *fault);

/* Objects and arrays are nested at most max deep. Cheap look before the real parser. */
bool json_depth_ok(struct span s, unsigned max);

#endif
