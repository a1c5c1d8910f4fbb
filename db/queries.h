/* queries.h - every statement db/ runs, one function each, prepared once. */
#ifndef SP_DB_QUERIES_H
#define SP_DB_QUERIES_H

#define KEY_COLS                                                                                   \
	"k.id, k.sub, k.code, k.mac, k.state, k.binding, k.thumb, k.expires, k.ver, k.entry"
#define SUB_COLS                                                                                   \
	"s.id, s.org, s.officer, s.sponsor, s.kind, s.state, s.tier, s.party, s.expires, s.ver, "  \
	"s.entry"
#define QUOTA_COLS                                                                                 \
	"level, id, concurrency, req_min, req_day, req_month, tok_min, tok_day, tok_month, ver, "  \
	"entry"

#define QUERIES(X)                                                                                 \
	X(DATA_VERSION, "PRAGMA data_version")                                                     \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(OFFICER_PUT, "INSERT OR REPLACE INTO officer (id, pub, state, ver, entry) "              \
		       "VALUES (?, ?, ?, ?, ?)")                                                   \
	X(OFFICER_EACH, "SELECT id, pub, state, ver, entry FROM officer")                          \
	X(SUBJECT_PUT,                                                                             \
	  "INSERT INTO subject (id, org, officer, sponsor, kind, state, tier, party, "             \
	  "expires, ver, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "                         \
	  "ON CONFLICT (id) DO UPDATE SET org = excluded.org, "                                    \
	  "officer = excluded.officer, sponsor = excluded.sponsor, "                               \
	  "kind = excluded.kind, state = excluded.state, tier = excluded.tier, "                   \
	  "party = excluded.party, expires = excluded.expires, ver = excluded.ver, "               \
	  "entry = excluded.entry")                                                                \
	X(SUBJECT_EACH, "SELECT " SUB_COLS " FROM subject s")                                      \
	X(KEY_PUT, "INSERT OR REPLACE INTO api_key (id, sub, code, mac, state, binding, thumb, "   \
		   "expires, ver, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")                   \
	X(KEY_EACH, "SELECT " KEY_COLS " FROM api_key k")                                          \
	X(QUOTA_PUT, "INSERT OR REPLACE INTO quota (" QUOTA_COLS ") "                              \
		     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")                                   \
	X(QUOTA_EACH, "SELECT " QUOTA_COLS " FROM quota")                                          \
	X(QUOTA_GET, "SELECT " QUOTA_COLS " FROM quota WHERE level = ? AND id = ?")                \
	X(SETTINGS_PUT, "INSERT OR REPLACE INTO settings (ver, doc, entry) VALUES (?, ?, ?)")      \
	X(SETTINGS_LAST, "SELECT ver, doc, entry FROM settings ORDER BY ver DESC LIMIT 1")         \
	X(LOCK_PUT, "INSERT OR REPLACE INTO lockdown (scope, id, model, stands, ver, entry) "      \
		    "VALUES (?, ?, ?, ?, ?, ?)")                                                   \
	X(LOCK_EACH, "SELECT scope, id, model, stands, ver, entry FROM lockdown")                  \
	X(CASE_PUT,                                                                                \
	  "INSERT OR REPLACE INTO case_ (id, num, kind, state, ver, digest, body, opened, "        \
	  "decided) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")                                           \
	X(STATEMENT_PUT, "INSERT OR IGNORE INTO statement (entry, kid, nonce, verb, target, "      \
			 "refused, note) VALUES (?, ?, ?, ?, ?, ?, ?)")                            \
	X(NOTES_OF,                                                                                \
	  "SELECT kid, verb, note, entry FROM statement WHERE target = ? AND refused = 0 "         \
	  "ORDER BY entry")                                                                        \
	X(SEALED_PUT, "INSERT OR REPLACE INTO sealed (digest, box) VALUES (?, ?)")                 \
	X(SEALED_GET, "SELECT box FROM sealed WHERE digest = ?")                                   \
	X(NONCE_PUT, "INSERT INTO nonce (id, expires) VALUES (?, ?)")                              \
	X(NONCE_GET, "SELECT expires FROM nonce WHERE id = ?")                                     \
	X(NONCE_DEL, "DELETE FROM nonce WHERE id = ?")                                             \
	X(NONCE_PURGE, "DELETE FROM nonce WHERE expires < ?")                                      \
	X(NONCE_COUNT, "SELECT count(*) FROM nonce")                                               \
	X(CODE_PUT, "INSERT OR REPLACE INTO enrol_code (case_id, half_a, mac, to_a, box_a, to_b, " \
		    "box_b) VALUES (?, ?, ?, ?, ?, ?, ?)")                                         \
	X(CODE_GET, "SELECT case_id, half_a, mac, to_a, box_a, to_b, box_b FROM enrol_code "       \
		    "WHERE case_id = ?")                                                           \
	X(CODE_FIND, "SELECT case_id FROM enrol_code WHERE mac = ? AND length(mac) = 32")          \
	X(CODE_DEL, "DELETE FROM enrol_code WHERE case_id = ?")                                    \
	X(OUTBOX_PUT, "INSERT INTO outbox (entry) VALUES (?)")                                     \
	X(OUTBOX_NEXT, "SELECT seq, entry FROM outbox ORDER BY seq LIMIT 1")                       \
	X(OUTBOX_DONE, "DELETE FROM outbox WHERE seq = ?")                                         \
	X(AUTH, "SELECT " KEY_COLS ", " SUB_COLS ", "                                              \
		"(SELECT count(*) FROM lockdown WHERE stands = 1 AND scope = 0), "                 \
		"(SELECT count(*) FROM lockdown WHERE stands = 1 AND scope = 1 AND id = s.id), "   \
		"(SELECT count(*) FROM lockdown WHERE stands = 1 AND scope = 2 AND id = s.org) "   \
		"FROM api_key k JOIN subject s ON s.id = k.sub WHERE k.id = ?")                    \
	X(RECEIPT_PUT, "INSERT OR REPLACE INTO receipt (req, kid, sub, intent, outcome, "          \
		       "prompt_salt, output_salt) VALUES (?, ?, ?, ?, ?, ?, ?)")                   \
	X(RECEIPT_GET, "SELECT req, kid, sub, intent, outcome, prompt_salt, output_salt "          \
		       "FROM receipt WHERE req = ?")                                               \
	X(BALANCE_PUT, "INSERT OR REPLACE INTO balance (level, id, period, req, tok) "             \
		       "VALUES (?, ?, ?, ?, ?)")                                                   \
	X(BALANCE_EACH, "SELECT level, id, period, req, tok FROM balance")                         \
	X(BALANCE_PURGE, "DELETE FROM balance WHERE (period > 999999 AND period < ?1) "            \
			 "OR (period <= 999999 AND period < ?2)")                                  \
	X(APPLIED_PUT, "INSERT OR REPLACE INTO applied (one, seq) VALUES (1, ?)")                  \
	X(APPLIED_GET, "SELECT seq FROM applied")                                                  \
	X(LEASE_PUT, "INSERT OR REPLACE INTO open_lease (lease, doc) VALUES (?, ?)")               \
	X(LEASE_DEL, "DELETE FROM open_lease WHERE lease = ?")                                     \
	X(LEASE_EACH, "SELECT lease, doc FROM open_lease")

enum query {
#define X(name, sql) Q_##name,
	QUERIES(X)
#undef X
	    Q_COUNT
};

#endif
