/* conf.h - sallyport.conf: host configuration, INI, one table from which parser, checker, manual
 * and dump are made. It holds paths, sockets, threads, memory, uids, log level - never authority.
 * Unknown sections and keys are errors with file, line and the nearest name. Units are spelled. */
#ifndef SP_DAEMON_CONF_H
#define SP_DAEMON_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define CONF_PATH 512
#define CONF_MODELS 8

struct conf_model {
	char name[64]; /* section label: [model "starter"]; file descriptor name "model:starter" */
	char file[CONF_PATH];
};

struct conf {
	/* [realm] */
	char state_dir[CONF_PATH], log_dir[CONF_PATH], genesis[CONF_PATH];
	/* [listen "public"] */
	char address[64];
	uint32_t port;
	char tls_cert[CONF_PATH], tls_key[CONF_PATH], client_ca[CONF_PATH];
	uint32_t client_cert; /* 0 off, 1 optional, 2 required */
	uint32_t max_connections, max_per_address;
	uint32_t handshake_ms, head_ms, idle_ms, body_ms;
	uint64_t max_body;
	char server_name[128]; /* SNI: empty = any */
	/* [admin] */
	char admin_socket[CONF_PATH];
	uint32_t admin_mode; /* octal */
	/* [engine] */
	uint32_t threads;
	uint64_t kv_memory;
	char kernel[32]; /* "auto" */
	uint32_t cache_idle_ms; /* 0 = never */
	uint32_t draft;
	uint32_t max_requests, queue_ms, request_ms;
	char policy_file[CONF_PATH];
	struct conf_model model[CONF_MODELS];
	unsigned n_models;
	/* [store] */
	uint64_t segment_size, disk_reserve;
	uint32_t commit_delay_us;
	/* [roles] */
	bool sandbox;
	char user[32]; /* uid when started as root: one account per role "<user>-gate" or one for all */
	/* [log] */
	char log_level[16];
	/* [daemon] */
	char pid_file[CONF_PATH];
	uint32_t drain_ms;
};

void conf_defaults(struct conf *c);
/* Parses text (borrowed; name is for messages: "etc/sallyport.conf"). All errors are collected,
 * one per line, into *errors; returns E_OK or E_FORMAT. */
int conf_parse(struct conf *c, struct span text, const char *name, struct buf *errors);
/* Effective values as INI text, secrets never (there are none). */
void conf_dump(const struct conf *c, struct buf *out);

#endif
