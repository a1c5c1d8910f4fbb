/* evloop.c - see evloop.h. */
#include "evloop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

struct watch {
	struct watch *next;
	int fd;
	void (*fn)(void *arg, uint32_t ev);
	void *arg;
	bool dead;
};

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

int evloop_watch(struct evloop *l, int fd, uint32_t events, void (*fn)(void *, uint32_t), void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = {.events = events};

	if (w == NULL)
		return E_NOMEM;
	*w = (struct watch){l->watches, fd, fn, arg, false};
	ev.data.ptr = w;
	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(w);
		return E_IO;
	}
	l->watches = w;
	return E_OK;
}

void evloop_unwatch(struct evloop *l, int fd)
{
	for (struct watch *w = l->watches; w; w = w->next)
		if (w->fd == fd && !w->dead) {
			epoll_ctl(l->ep, EPOLL_CTL_DEL, fd, NULL);
			w->dead = true; /* freed after the current batch of events */
			return;
		}
}

static void sweep_watches(struct evloop *l)
{
	struct watch **at = &l->watches, *w;

	while ((w = *at)) {
		if (!w->dead) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

void evloop_post(struct evloop *l, void (*fn)(void *arg), void *arg)
{
	struct post *p = calloc(1, sizeof(*p));

	must(p != NULL);
	*p = (struct post){NULL, fn, arg};
	pthread_mutex_lock(&l->lock);
	*l->posts_tail = p;
	l->posts_tail = &p->next;
	pthread_mutex_unlock(&l->lock);
	if (write(l->wake, &(uint64_t){1}, 8) < 0)
		return; /* the counter is full: the loop wakes anyway */
}

static void run_posts(struct evloop *l)
{
	struct post *p, *next;
	uint64_t n;

	if (read(l->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&l->lock);
	p = l->posts;
	l->posts = NULL;
	l->posts_tail = &l->posts;
	pthread_mutex_unlock(&l->lock);
	for (; p; p = next) {
		next = p->next;
		p->fn(p->arg);
		free(p);
	}
}

static void on_wake(void *arg, uint32_t ev)
{
	run_posts(arg);
}

int evloop_open(struct evloop *l)
{
	l->watches = NULL;
	l->posts = NULL;
	l->posts_tail = &l->posts;
	pthread_mutex_init(&l->lock, NULL);
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->ep < 0 || l->wake < 0)
		return E_IO;
	return evloop_watch(l, l->wake, EPOLLIN, on_wake, l);
}

void evloop_turn(struct evloop *l, int ms)
{
	struct epoll_event ev[64];
	int n = epoll_wait(l->ep, ev, 64, ms);

	for (int i = 0; i < n; i++) {
		struct watch *w = ev[i].data.ptr;

		if (!w->dead)
			w->fn(w->arg, ev[i].events);
	}
	sweep_watches(l);
}
