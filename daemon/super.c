/* super.c - see super.h. One thread, poll(2); the only foreign input is signals. */
#include "super.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "log.h"
#include "notify.h"
#include "proc.h"

#define HANG_MS 15000	/* a role that says nothing so long is killed and restarted */
#define STABLE_MS 10000 /* after so long a death starts the back-off anew */
#define BACKOFF_MIN 50
#define BACKOFF_MAX 5000
#define CONF_MAX (256 * 1024)

/* Start order; the last serves the world. */
static const enum role_id order[] = {R_STORE, R_ENGINE, R_ADMIN, R_GATE, R_FRONT};
#define N_ROLES 5
static const enum role_id edges[][2] = {
    {R_FRONT, R_STORE}, {R_FRONT, R_GATE},   {R_GATE, R_STORE},
    {R_GATE, R_ENGINE}, {R_ENGINE, R_STORE}, {R_ADMIN, R_STORE},
};
#define N_EDGES (sizeof(edges) / sizeof(edges[0]))

struct super {
	const char *self, *conf_path;
	struct conf conf, conf_new;
	struct buf text, text_new;
	uint32_t version;
	struct super_files files;
	struct proc proc[R_COUNT];
	uint32_t gen;
	bool stopping, was_serving, reloading;
	uint64_t reload_deadline;
	int sfd;
};

static void give_tls(struct super *s, struct proc *p)
{
	proc_file(p, "tls-cert", s->files.tls_cert);
	proc_file(p, "tls-key", s->files.tls_key);
	proc_file(p, "client-ca", s->files.client_ca);
}

static void give_files(struct super *s, struct proc *p)
{
	const struct super_files *f = &s->files;
	char name[80];

	switch (p->id) {
	case R_FRONT:
		proc_file(p, "listen:public", f->listen_public);
		give_tls(s, p);
		break;
	case R_ADMIN:
		proc_file(p, "listen:admin", f->listen_admin);
		break;
	case R_ENGINE:
		for (unsigned i = 0; i < s->conf.n_models; i++) {
			snprintf(name, sizeof(name), "model:%s", s->conf.model[i].name);
			proc_file(p, name, f->model[i][0]);
			for (unsigned k = 1; k < SPLIT_MAX && f->model[i][k] >= 0; k++) {
				snprintf(name, sizeof(name), "model:%s/%u", s->conf.model[i].name,
					 k + 1);
				proc_file(p, name, f->model[i][k]);
			}
		}
		proc_file(p, "policy", f->policy);
		break;
	case R_STORE:
		proc_file(p, "state-dir", f->state_dir);
		proc_file(p, "log-dir", f->log_dir);
		proc_file(p, "genesis", f->genesis);
		proc_file(p, "secret:log-key", f->secret_log_key);
		proc_file(p, "secret:pepper", f->secret_pepper);
		proc_file(p, "secret:kek", f->secret_kek);
		break;
	default:
		break;
	}
}

static void join_edges(struct super *s, enum role_id id)
{
	struct err err;

	for (size_t i = 0; i < N_EDGES; i++) {
		struct proc *a = &s->proc[edges[i][0]], *b = &s->proc[edges[i][1]];

		if (a->id != id && b->id != id)
			continue;
		if (proc_join(a, b, ++s->gen, &err) < 0)
			log_ev(LOG_ERROR_LV, "join", "%s", err.text);
	}
}

static void start_role(struct super *s, struct proc *p)
{
	struct err err = {0};

	if (proc_spawn(p, s->self, &s->conf, &err) < 0) {
		log_ev(LOG_ERROR_LV, "spawn", "who=%s %s", role_name(p->id), err.text);
		p->next_start_ms = clock_mono_ms() + 1000;
		return;
	}
	give_files(s, p);
	join_edges(s, p->id);
	if (proc_conf(p, s->version, buf_span(&s->text), &err) < 0)
		log_ev(LOG_ERROR_LV, "conf", "who=%s %s", role_name(p->id), err.text);
}

static void hear(struct super *s, struct proc *p);

static void on_death(struct super *s, struct proc *p, int status)
{
	uint64_t now = clock_mono_ms();
	struct msg_PEERDEAD m = {.peer = p->id};

	hear(s, p); /* its last words may still lie in the channel: DRAINED */
	log_ev(s->stopping && p->drained ? LOG_INFO_LV : LOG_WARN_LV, "exit",
	       "who=%s pid=%d status=%d signal=%d", role_name(p->id), (int)p->pid,
	       WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	if (s->stopping && !p->drained)
		p->clean = false;
	proc_gone(p);
	for (size_t i = 0; i < N_EDGES; i++) {
		enum role_id other = edges[i][0] == p->id   ? edges[i][1]
				     : edges[i][1] == p->id ? edges[i][0]
							    : R_COUNT;

		if (other != R_COUNT && s->proc[other].ch)
			CH_SEND(s->proc[other].ch, PEERDEAD, &m);
	}
	p->restarts++;
	if (now - p->started_ms > STABLE_MS || p->backoff_ms == 0)
		p->backoff_ms = BACKOFF_MIN;
	else if ((p->backoff_ms *= 2) > BACKOFF_MAX)
		p->backoff_ms = BACKOFF_MAX;
	p->next_start_ms = now + p->backoff_ms;
}

static void reap(struct super *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < N_ROLES; i++)
			if (s->proc[order[i]].pid == pid)
				on_death(s, &s->proc[order[i]], status);
}

/* ---- reload: everybody tries, then all take it or none ---- */

static void abandon_reload(struct super *s, const char *why)
{
	log_ev(LOG_ERROR_LV, "reload", "kept the old configuration: %s", why);
	s->reloading = false;
	buf_reset(&s->text_new);
	notify_systemd("READY=1");
}

static bool same_fixed_parts(const struct conf *a, const struct conf *b)
{
	return strcmp(a->state_dir, b->state_dir) == 0 && strcmp(a->log_dir, b->log_dir) == 0 &&
	       strcmp(a->address, b->address) == 0 && a->port == b->port &&
	       strcmp(a->admin_socket, b->admin_socket) == 0 && a->n_models == b->n_models &&
	       memcmp(a->model, b->model, sizeof(a->model)) == 0 && a->sandbox == b->sandbox;
}

static void swap_file(int *have, int *with)
{
	int t = *have;

	*have = *with;
	*with = t;
}

static void begin_reload(struct super *s)
{
	struct buf errors = BUF_INIT(8192);
	struct super_files fresh;
	struct err err = {0};

	if (s->reloading || s->stopping)
		return;
	notify_systemd("RELOADING=1");
	buf_reset(&s->text_new);
	if (io_read_file(s->conf_path, CONF_MAX, &s->text_new, &err) < 0)
		abandon_reload(s, err.text);
	else if (conf_parse(&s->conf_new, buf_span(&s->text_new), s->conf_path, &errors) < 0)
		abandon_reload(s, buf_cstr(&errors));
	else if (!same_fixed_parts(&s->conf, &s->conf_new))
		abandon_reload(s, "folders, sockets, models and sandbox need a restart");
	else if (super_open_files(&s->conf_new, &fresh, false, &err) < 0)
		abandon_reload(s, err.text);
	else {
		swap_file(&s->files.tls_cert, &fresh.tls_cert);
		swap_file(&s->files.tls_key, &fresh.tls_key);
		swap_file(&s->files.client_ca, &fresh.client_ca);
		super_close_files(&fresh);
		s->reloading = true;
		s->reload_deadline = clock_mono_ms() + 10000;
		s->version++;
		for (int i = 0; i < N_ROLES; i++) {
			struct proc *p = &s->proc[order[i]];

			p->said_bad = false;
			if (p->state != PS_RUN)
				continue;
			if (p->id == R_FRONT)
				give_tls(s, p); /* a role watches its listener: that one stays */
			proc_conf(p, s->version, buf_span(&s->text_new), &err);
		}
	}
	buf_free(&errors);
}

static void check_reload(struct super *s)
{
	struct msg_GO go = {.version = s->version};
	bool all = true;

	if (!s->reloading)
		return;
	for (int i = 0; i < N_ROLES; i++) {
		struct proc *p = &s->proc[order[i]];

		if (p->said_bad) {
			abandon_reload(s, role_name(p->id));
			return;
		}
		all &= p->state == PS_DOWN || p->ready_version == s->version;
	}
	if (!all && clock_mono_ms() > s->reload_deadline)
		abandon_reload(s, "a role did not answer");
	if (!all)
		return;
	for (int i = 0; i < N_ROLES; i++)
		if (s->proc[order[i]].state == PS_RUN)
			CH_SEND(s->proc[order[i]].ch, GO, &go);
	s->conf = s->conf_new;
	buf_reset(&s->text);
	buf_span_put(&s->text, buf_span(&s->text_new));
	s->reloading = false;
	log_ev(LOG_INFO_LV, "reload", "version=%u taken by all", s->version);
	notify_systemd("READY=1");
}

/* ---- messages ---- */

static void on_ready(struct super *s, struct proc *p, uint32_t version)
{
	struct msg_GO go = {.version = version};

	p->ready_version = version;
	if (p->state == PS_CONF) {
		p->state = PS_RUN;
		CH_SEND(p->ch, GO, &go);
	}
}

static void on_msg(struct super *s, struct proc *p, const struct msg_in *in)
{
	union {
		struct msg_READY ready;
		struct msg_BAD bad;
		struct msg_DRAINED drained;
		struct msg_ALIVE alive;
	} m;

	if (in->type == M_READY && msg_dec_READY(in->body, &m.ready) == E_OK) {
		on_ready(s, p, m.ready.version);
	} else if (in->type == M_BAD && msg_dec_BAD(in->body, &m.bad) == E_OK) {
		/* only the role's name is logged: a taken role must not write our lines */
		log_ev(LOG_ERROR_LV, "bad_conf", "who=%s version=%u", role_name(p->id),
		       m.bad.version);
		p->said_bad = true;
	} else if (in->type == M_DRAINED && msg_dec_DRAINED(in->body, &m.drained) == E_OK) {
		p->drained = true;
		p->clean = m.drained.clean;
	} else if (in->type == M_ALIVE && msg_dec_ALIVE(in->body, &m.alive) == E_OK) {
		p->last_alive_ms = clock_mono_ms();
		if (p->serving != (m.alive.serving != 0) || p->reasons != m.alive.reasons)
			log_ev(LOG_INFO_LV, "state", "who=%s serving=%u reasons=%#x",
			       role_name(p->id), m.alive.serving, m.alive.reasons);
		p->serving = m.alive.serving;
		p->reasons = m.alive.reasons;
	}
}

static void hear(struct super *s, struct proc *p)
{
	struct msg_in in;
	int rc;

	while (p->ch && (rc = chan_recv(p->ch, &in)) != 0) {
		if (rc == E_CLOSED)
			return; /* SIGCHLD follows */
		if (rc < 0)
			log_ev(LOG_ERROR_LV, "odd", "from=%s type=%u", role_name(p->id), in.type);
		else
			on_msg(s, p, &in);
		chan_in_drop(&in);
	}
}

static void check_roles(struct super *s)
{
	uint64_t now = clock_mono_ms();
	bool serving = true;

	for (int i = 0; i < N_ROLES; i++) {
		struct proc *p = &s->proc[order[i]];

		if (p->state == PS_DOWN && !s->stopping && now >= p->next_start_ms)
			start_role(s, p);
		/* a role started in this very round is alive later than `now` */
		if (p->pid > 0 && now > p->last_alive_ms + HANG_MS) {
			log_ev(LOG_ERROR_LV, "hang", "who=%s pid=%d", role_name(p->id),
			       (int)p->pid);
			kill(p->pid, SIGKILL);
			p->last_alive_ms = now;
		}
		if (p->ch && chan_wants_write(p->ch))
			chan_flush(p->ch);
		serving &= p->state == PS_RUN && p->serving;
	}
	if (serving && !s->was_serving) {
		log_ev(LOG_INFO_LV, "ready", "address=%s port=%u", s->conf.address, s->conf.port);
		notify_systemd("READY=1\nSTATUS=serving");
	}
	if (!serving && s->was_serving)
		notify_systemd("STATUS=not ready");
	s->was_serving = serving;
}

static void one_round(struct super *s, int timeout_ms)
{
	struct pollfd pf[N_ROLES + 1] = {{.fd = s->sfd, .events = POLLIN}};
	struct proc *of[N_ROLES + 1] = {0};
	struct signalfd_siginfo si;
	int n = 1;

	for (int i = 0; i < N_ROLES; i++)
		if (s->proc[order[i]].ch) {
			of[n] = &s->proc[order[i]];
			pf[n] = (struct pollfd){.fd = chan_fd(of[n]->ch), .events = POLLIN};
			n++;
		}
	if (poll(pf, (nfds_t)n, timeout_ms) < 0 && errno != EINTR)
		fatal("poll", "errno=%d", errno);
	for (int i = 1; i < n; i++)
		if (pf[i].revents)
			hear(s, of[i]);
	while (read(s->sfd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			s->stopping = true;
		else if (si.ssi_signo == SIGHUP)
			begin_reload(s);
	}
	reap(s);
}

/* ---- shutdown: who faces the world first, store last ---- */

static bool all_down(struct super *s, const enum role_id *who, int n)
{
	for (int i = 0; i < n; i++)
		if (s->proc[who[i]].pid > 0)
			return false;
	return true;
}

static bool drain(struct super *s, const enum role_id *who, int n, uint32_t ms)
{
	struct msg_DRAIN m = {.deadline_ms = ms};
	uint64_t end = clock_mono_ms() + ms + 2000;
	bool clean = true;

	for (int i = 0; i < n; i++)
		if (s->proc[who[i]].ch) {
			s->proc[who[i]].state = PS_DRAINING;
			CH_SEND(s->proc[who[i]].ch, DRAIN, &m);
		}
	while (!all_down(s, who, n) && clock_mono_ms() < end)
		one_round(s, 50);
	for (int i = 0; i < n; i++) {
		struct proc *p = &s->proc[who[i]];

		if (p->pid > 0) {
			log_ev(LOG_ERROR_LV, "drain", "who=%s overdue, killed", role_name(p->id));
			kill(p->pid, SIGKILL);
			waitpid(p->pid, NULL, 0);
			proc_gone(p);
			p->clean = false;
		}
		clean &= p->clean;
	}
	return clean;
}

static int shut_down(struct super *s)
{
	static const enum role_id first[] = {R_FRONT, R_GATE}, second[] = {R_ENGINE},
				  third[] = {R_ADMIN}, last[] = {R_STORE};
	bool clean;

	notify_systemd("STOPPING=1");
	log_ev(LOG_INFO_LV, "stop", "draining");
	clean = drain(s, first, 2, s->conf.drain_ms);
	clean &= drain(s, second, 1, 3000);
	clean &= drain(s, third, 1, 1000);
	clean &= drain(s, last, 1, 10000);
	log_ev(clean ? LOG_INFO_LV : LOG_WARN_LV, "stopped", "clean=%d", clean);
	return clean ? 0 : 1;
}

static int write_pid(const struct conf *c, struct err *err)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	return c->pid_file[0] ? io_write_file(c->pid_file, text, (size_t)n, 0644, err) : E_OK;
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int super_run(const char *self, const char *conf_path, const struct conf *c, struct span text)
{
	static struct super s;
	struct err err = {0};
	int rc;

	s.self = self;
	s.conf_path = conf_path;
	s.conf = *c;
	s.version = 1;
	s.text = s.text_new = BUF_INIT(CONF_MAX);
	buf_span_put(&s.text, text);
	s.sfd = block_signals();
	if (s.sfd < 0 || super_open_files(c, &s.files, true, &err) < 0 || write_pid(c, &err) < 0) {
		log_ev(LOG_ERROR_LV, "start", "%s", err.text);
		return 1;
	}
	for (int i = 0; i < R_COUNT; i++)
		s.proc[i].id = (enum role_id)i;
	for (int i = 0; i < N_ROLES; i++)
		start_role(&s, &s.proc[order[i]]);
	while (!s.stopping) {
		one_round(&s, 100);
		check_roles(&s);
		check_reload(&s);
	}
	rc = shut_down(&s);
	if (c->pid_file[0])
		unlink(c->pid_file);
	if (c->admin_socket[0])
		unlink(c->admin_socket);
	super_close_files(&s.files);
	return rc;
}
