/* log.h - diagnostic log: events as logfmt lines on stderr. Never prompt text, keys, headers,
 * URLs or any client-chosen string: only enumerations, numbers, ids we made (promise 7).
 * This is not the book; that is audit/. Any thread. */
#ifndef SP_BASE_LOG_H
#define SP_BASE_LOG_H

enum log_level { LOG_ERROR_LV, LOG_WARN_LV, LOG_INFO_LV, LOG_DEBUG_LV };

/* role: name that stands in every line (borrowed for ever). */
void log_init(const char *role, enum log_level level);
void log_set_level(enum log_level level);
/* log_ev(LOG_INFO_LV, "verdict", "req=%s act=%s", id, act) */
void log_ev(enum log_level lv, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Logs at error level and exits the process with status 1. */
_Noreturn void fatal(const char *event, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* must(): never compiled out; a broken invariant stops the process. soft_bug(): logged, goes on. */
_Noreturn void must_failed(const char *expr, const char *file, int line);
void soft_bug_seen(const char *expr, const char *file, int line);
#define must(x) ((x) ? (void)0 : must_failed(#x, __FILE__, __LINE__))
#define soft_bug(x) ((x) ? (soft_bug_seen(#x, __FILE__, __LINE__), 1) : 0)

#endif
