/* evloop.h - one thread that sleeps until something happens: descriptors it watches, calls that other
 * threads post. Nothing of roles and messages: role.c builds the life of a role on it. */
#ifndef SP_DAEMON_EVLOOP_H
#define SP_DAEMON_EVLOOP_H

#include <pthread.h>
#include <stdint.h>

struct watch;
struct post;

struct evloop {
	int ep;   /* the epoll descriptor */
	int wake; /* an eventfd that ends the sleep; any thread may write 1 to it */
	struct watch *watches;
	pthread_mutex_t lock; /* of posts */
	struct post *posts, **posts_tail;
};

/* All descriptors it opens end with the process. 0, or E_IO, E_NOMEM. */
int evloop_open(struct evloop *l);
/* Calls fn(arg, events) in the loop's thread on these epoll events of fd. 0, or E_IO, E_NOMEM. */
int evloop_watch(struct evloop *l, int fd, uint32_t events, void (*fn)(void *arg, uint32_t ev),
		 void *arg);
/* From now on fn is not called, not even for events of the turn that runs. */
void evloop_unwatch(struct evloop *l, int fd);
/* Any thread: fn(arg) is called soon in the loop's thread, in the order of posting. */
void evloop_post(struct evloop *l, void (*fn)(void *arg), void *arg);
/* Sleeps up to ms milliseconds, then calls whom it concerns. */
void evloop_turn(struct evloop *l, int ms);

#endif
