/* main.c - sallyportd: reads its arguments and the configuration, then supervises (super.c), or is
 * one of the roles (-R, given only by itself). */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "io.h"
#include "log.h"
#include "role.h"
#include "super.h"
#include "version.h"

#define DEFAULT_CONF "/etc/sallyport/sallyport.conf"

extern const struct role_ops front_ops, gate_ops, admin_ops, engine_ops, store_ops;
static const struct {
	const char *name;
	const struct role_ops *ops;
} roles[] = {
    {"front", &front_ops},   {"gate", &gate_ops},   {"admin", &admin_ops},
    {"engine", &engine_ops}, {"store", &store_ops},
};

static void usage(FILE *to)
{
	fputs(
	    "usage: sallyportd [-d] [-t] [-D] [-c FILE]\n"
	    "  -c FILE  configuration (default " DEFAULT_CONF ")\n"
	    "  -t       check configuration, files, certificate, policy and models, then exit\n"
	    "  -D       print the effective configuration, then exit\n"
	    "  -d       run in this terminal (the same roles; this is also the default)\n"
	    "  -V       print the version\n"
	    "  -h       this text\n"
	    "Signals: SIGHUP reload (all roles take the new configuration or none), SIGTERM stop\n"
	    "without losing a record. See sallyportd(8), sallyport.conf(5).\n",
	    to);
}

static int run_role(const char *name)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(roles[i].name, name) == 0)
			return role_run(roles[i].ops);
	fprintf(stderr, "sallyportd: no role is called %s\n", name);
	return 2;
}

static int load(const char *path, struct conf *c, struct buf *text)
{
	struct buf errors = BUF_INIT(16384);
	struct err err = {0};
	int rc = io_read_file(path, 256 * 1024, text, &err);

	if (rc < 0)
		fprintf(stderr, "sallyportd: %s\n", err.text);
	else if ((rc = conf_parse(c, buf_span(text), path, &errors)) < 0)
		fprintf(stderr, "%ssallyportd: the configuration has errors; nothing was started\n",
			buf_cstr(&errors));
	buf_free(&errors);
	return rc;
}

int main(int argc, char **argv)
{
	const char *path = DEFAULT_CONF;
	bool check = false, dump = false;
	struct conf c;
	struct buf text = BUF_INIT(256 * 1024), out = BUF_INIT(65536);
	char self[512];
	ssize_t n;
	int o;

	if (sodium_init() < 0)
		return 1;
	while ((o = getopt(argc, argv, "c:dtDVhR:")) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'd':
			break;
		case 't':
			check = true;
			break;
		case 'D':
			dump = true;
			break;
		case 'V':
			printf("sallyportd %s\n", SALLYPORT_VERSION);
			return 0;
		case 'R':
			return run_role(optarg);
		default:
			usage(o == 'h' ? stdout : stderr);
			return o == 'h' ? 0 : 2;
		}
	}
	if (optind != argc) {
		usage(stderr);
		return 2;
	}
	log_init("main", LOG_INFO_LV);
	if (load(path, &c, &text) < 0)
		return 1;
	if (dump) {
		conf_dump(&c, &out);
		fputs(buf_cstr(&out), stdout);
		return 0;
	}
	if (check)
		return check_all(&c, path);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0) {
		fputs("sallyportd: /proc is needed to start the roles\n", stderr);
		return 1;
	}
	self[n] = '\0';
	return super_run(self, path, &c, buf_span(&text));
}
