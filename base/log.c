/* log.c - see log.h. One write(2) a line, so lines of several processes do not mix. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *role_name = "-";
static enum log_level max_level = LOG_INFO_LV;

void log_init(const char *role, enum log_level level)
{
	role_name = role;
	max_level = level;
}

void log_set_level(enum log_level level)
{
	max_level = level;
}

static void emit(enum log_level lv, const char *event, const char *fmt, va_list ap)
{
	static const char *const lvn[] = {"error", "warn", "info", "debug"};
	char line[1024];
	struct timespec ts;
	struct tm tm;
	size_t n = 0;
	int r;

	if (getenv("JOURNAL_STREAM") == NULL) {
		clock_gettime(CLOCK_REALTIME, &ts);
		gmtime_r(&ts.tv_sec, &tm);
		n = strftime(line, sizeof(line), "ts=%Y-%m-%dT%H:%M:%S", &tm);
		n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ ", ts.tv_nsec / 1000000);
	}
	r = snprintf(line + n, sizeof(line) - n, "level=%s role=%s ev=%s ", lvn[lv], role_name,
		     event);
	n += r > 0 ? (size_t)r : 0;
	r = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	n += r > 0 ? (size_t)r : 0;
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nowhere left to say so */
}

void log_ev(enum log_level lv, const char *event, const char *fmt, ...)
{
	va_list ap;

	if (lv > max_level)
		return;
	va_start(ap, fmt);
	emit(lv, event, fmt, ap);
	va_end(ap);
}

void fatal(const char *event, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_ERROR_LV, event, fmt, ap);
	va_end(ap);
	_exit(1);
}

void must_failed(const char *expr, const char *file, int line)
{
	log_ev(LOG_ERROR_LV, "invariant", "expr=\"%s\" at=%s:%d", expr, file, line);
	abort();
}

void soft_bug_seen(const char *expr, const char *file, int line)
{
	log_ev(LOG_ERROR_LV, "bug", "expr=\"%s\" at=%s:%d", expr, file, line);
}
