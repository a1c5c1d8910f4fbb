/* code.h - enrolment codes and API keys as text, and what store keeps of them (doc/formats.md 2).
 * Pure; randomness is an argument. */
#ifndef SP_VETTING_CODE_H
#define SP_VETTING_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "id.h"

#define CODE_HALF_BYTES 16
#define CODE_HALF_TEXT 36 /* "A-" + 26 characters in groups of five + NUL, rounded up */
#define API_KEY_TEXT 88	  /* "sp_" + 26 + "_" + 52 + NUL, rounded up */

/* which: 'A' or 'B'. */
void code_half_text(char which, const uint8_t half[CODE_HALF_BYTES], char out[CODE_HALF_TEXT]);
bool code_half_parse(char which, struct span s, uint8_t half[CODE_HALF_BYTES]);
void code_mac(const uint8_t pepper[32], const uint8_t a[CODE_HALF_BYTES],
	      const uint8_t b[CODE_HALF_BYTES], uint8_t mac[32]);
void api_key_text(const struct id *kid, const uint8_t secret[32], char out[API_KEY_TEXT]);
/* SHA-256 that the gate sends for a secret. */
void api_key_digest(const uint8_t secret[32], uint8_t digest[32]);
void api_key_mac(const uint8_t pepper[32], const struct id *kid, const uint8_t digest[32],
		 uint8_t mac[32]);

#endif
