-- 001: truth for subjects, cases, officers, keys. Authority rows (officer, subject, api_key, quota, settings,
-- lockdown) name the log entry that made them in `entry`; start compares them with the log.
-- Ids are 16-byte blobs, digests 32; times Unix ms UTC. Names and free text stand only in `sealed`.
CREATE TABLE officer (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  pub BLOB NOT NULL UNIQUE CHECK (length(pub) = 32),
  state INTEGER NOT NULL, ver INTEGER NOT NULL, entry INTEGER NOT NULL
) STRICT;
CREATE TABLE subject (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  org BLOB NOT NULL CHECK (length(org) = 16),
  officer BLOB NOT NULL, sponsor BLOB NOT NULL,
  kind INTEGER NOT NULL, state INTEGER NOT NULL, tier INTEGER NOT NULL,
  party BLOB NOT NULL CHECK (length(party) = 32),
  expires INTEGER NOT NULL, ver INTEGER NOT NULL, entry INTEGER NOT NULL
) STRICT;
CREATE INDEX subject_org ON subject (org);
CREATE TABLE api_key (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  sub BLOB NOT NULL REFERENCES subject (id),
  code BLOB NOT NULL,
  mac BLOB NOT NULL CHECK (length(mac) = 32),
  state INTEGER NOT NULL, binding INTEGER NOT NULL, thumb BLOB NOT NULL,
  expires INTEGER NOT NULL, ver INTEGER NOT NULL, entry INTEGER NOT NULL
) STRICT;
CREATE INDEX api_key_sub ON api_key (sub);
CREATE TABLE quota (
  tenant INTEGER NOT NULL DEFAULT 1,
  level INTEGER NOT NULL, id BLOB NOT NULL,
  concurrency INTEGER NOT NULL,
  req_min INTEGER NOT NULL, req_day INTEGER NOT NULL, req_month INTEGER NOT NULL,
  tok_min INTEGER NOT NULL, tok_day INTEGER NOT NULL, tok_month INTEGER NOT NULL,
  ver INTEGER NOT NULL, entry INTEGER NOT NULL,
  PRIMARY KEY (level, id)
) STRICT;
CREATE TABLE settings (
  ver INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL DEFAULT 1,
  doc TEXT NOT NULL, entry INTEGER NOT NULL
) STRICT;
CREATE TABLE lockdown (
  tenant INTEGER NOT NULL DEFAULT 1,
  scope INTEGER NOT NULL, id BLOB NOT NULL, model TEXT NOT NULL,
  stands INTEGER NOT NULL, ver INTEGER NOT NULL, entry INTEGER NOT NULL,
  PRIMARY KEY (scope, id, model)
) STRICT;

CREATE TABLE case_ (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  num INTEGER NOT NULL UNIQUE, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  ver INTEGER NOT NULL, digest BLOB NOT NULL, body TEXT NOT NULL,
  opened INTEGER NOT NULL, decided INTEGER NOT NULL
) STRICT;
CREATE TABLE statement (
  entry INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL DEFAULT 1,
  kid BLOB NOT NULL, nonce BLOB NOT NULL UNIQUE, verb INTEGER NOT NULL,
  target BLOB NOT NULL, refused INTEGER NOT NULL, note BLOB NOT NULL
) STRICT;
CREATE INDEX statement_target ON statement (target);
-- sealed text by its commitment: party data and the words beside a reason
CREATE TABLE sealed (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  tenant INTEGER NOT NULL DEFAULT 1,
  box BLOB NOT NULL
) STRICT;
CREATE TABLE nonce (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  expires INTEGER NOT NULL
) STRICT;
-- half_a: first half under the KEK until the decision; box_a, box_b: halves sealed to the officers
CREATE TABLE enrol_code (
  case_id BLOB PRIMARY KEY CHECK (length(case_id) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  half_a BLOB NOT NULL, mac BLOB NOT NULL,
  to_a BLOB NOT NULL, box_a BLOB NOT NULL, to_b BLOB NOT NULL, box_b BLOB NOT NULL
) STRICT;
CREATE INDEX enrol_code_mac ON enrol_code (mac);
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant INTEGER NOT NULL DEFAULT 1,
  entry BLOB NOT NULL
) STRICT;

CREATE TABLE receipt (
  req BLOB PRIMARY KEY CHECK (length(req) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  kid BLOB NOT NULL, sub BLOB NOT NULL,
  intent INTEGER NOT NULL, outcome INTEGER NOT NULL,
  prompt_salt BLOB NOT NULL, output_salt BLOB NOT NULL
) STRICT;
CREATE TABLE balance (
  tenant INTEGER NOT NULL DEFAULT 1,
  level INTEGER NOT NULL, id BLOB NOT NULL, period INTEGER NOT NULL,
  req INTEGER NOT NULL, tok INTEGER NOT NULL,
  PRIMARY KEY (level, id, period)
) STRICT;
CREATE TABLE applied (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  tenant INTEGER NOT NULL DEFAULT 1,
  seq INTEGER NOT NULL
) STRICT;
CREATE TABLE open_lease (
  lease BLOB PRIMARY KEY CHECK (length(lease) = 16),
  tenant INTEGER NOT NULL DEFAULT 1,
  doc BLOB NOT NULL CHECK (length(doc) <= 512)
) STRICT;
