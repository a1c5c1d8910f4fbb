/* admin_verbs.h - what the admin role may ask of store. Reads need socket access; writes are
 * signed statements in the body and carry their own authority. doc/formats.md 10 has the routes. */
#ifndef SP_DAEMON_ADMIN_VERBS_H
#define SP_DAEMON_ADMIN_VERBS_H

/* num, NAME, method, route under /admin/v1 (":id" = one path part, given in body as "id") */
#define ADMIN_VERBS(X)                                                                             \
	X(1, STATUS, "GET", "/status")                                                             \
	X(2, NONCE, "POST", "/nonce")                                                              \
	X(3, STATEMENT, "POST", "/statements")                                                     \
	X(4, QUEUE, "GET", "/queue")                                                               \
	X(5, CASE_SHOW, "GET", "/cases/:id")                                                       \
	X(6, SUBJECT_LS, "GET", "/subjects")                                                       \
	X(7, SUBJECT_SHOW, "GET", "/subjects/:id")                                                 \
	X(8, OFFICER_LS, "GET", "/officers")                                                       \
	X(9, KEY_LS, "GET", "/keys")                                                               \
	X(10, QUOTA_SHOW, "GET", "/quotas/:id")                                                    \
	X(11, QUOTA_EXPLAIN, "GET", "/quotas/:id/explain")                                         \
	X(12, REQUEST_SHOW, "GET", "/requests/:id")                                                \
	X(13, RECEIPT_SHOW, "GET", "/receipts/:id")                                                \
	X(14, CHECKPOINT, "GET", "/checkpoint")                                                    \
	X(15, METRICS, "GET", "/metrics")                                                          \
	X(16, GENESIS, "GET", "/genesis")                                                          \
	X(17, SETTINGS_SHOW, "GET", "/settings")                                                   \
	X(18, CASE_LS, "GET", "/cases")

enum admin_verb {
#define X(num, name, method, route) AV_##name = num,
	ADMIN_VERBS(X)
#undef X
};

#endif
