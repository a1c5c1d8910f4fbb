/* policy_file.h - the policy: which category leads to what, per tier, from which score on. INI,
 * versioned; its SHA-256 stands in settings, so only two officers can change it. Errors name file
 * and line; nothing unknown is passed over. etc/policy.conf is the sample.
 *
 *   [policy]
 *   format = 1                     ; of this file
 *   version = demo-1               ; for people: letters, digits, - . _
 *   guard-format = llama-guard-3
 *   threshold = 0.5                ; default for every category: blocks from this score on
 *   action = block                 ; allow | flag | redact | hold | block
 *   tag-characters = block         ; block | flag
 *   max-text = 1000000             ; bytes of one conversation or answer
 *   [category "S6"]                ; S1..S14, or "unknown": unsafe without a readable category
 *   threshold = 0.7
 *   action = flag
 *   tier-2-threshold = 0.9         ; tiers 0..9
 *   tier-2-action = allow
 */
#ifndef SP_POLICY_FILE_H
#define SP_POLICY_FILE_H

#include <stdint.h>

#include "buf.h"
#include "err.h"

#define POLICY_TIERS 10
#define POLICY_CATS 15 /* index 0 = unknown, 1..14 = S1..S14 */

/* Numbers as enum policy_action on the wire and in the log. */
enum decide_action { DA_ALLOW, DA_FLAG, DA_REDACT, DA_HOLD, DA_BLOCK, DA_ERROR };

struct policy_rule {
	uint32_t threshold_milli; /* 1..1000 */
	enum decide_action action;
};

struct policy {
	char version[64];
	uint8_t sha256[32]; /* of the file's bytes */
	enum decide_action tag_action;
	uint64_t max_text;
	struct policy_rule rule[POLICY_TIERS][POLICY_CATS];
};

/* Parses text (borrowed; name is for messages). 0, or E_FORMAT with every error in *errors (NULL
 * ok), one per line. *p is whole only on success. */
int policy_parse(struct span text, const char *name, struct policy *p, struct buf *errors);
const char *decide_action_name(enum decide_action a);

#endif
