/* events.c - the queue between the engine's work and engine_poll(). Owner thread only. Nodes that
 * were given out stay until the next poll, because their rows are borrowed until then. */
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"
#include "fault.h"

void events_open(struct engine *e)
{
	e->ev_end = &e->ev_first;
	e->given_end = &e->given_first;
}

static void append(struct evnode ***end, struct evnode *n)
{
	n->next = NULL;
	**end = n;
	*end = &n->next;
}

void event_push(struct engine *e, struct evnode *n)
{
	struct seq *s = n->ev.seq;

	n->next_of = NULL;
	*(s->events ? &s->last_event->next_of : &s->events) = n;
	s->last_event = n;
	append(&e->ev_end, n);
}

bool event_token(struct job *j, int32_t token, float logprob)
{
	struct evnode *n = FAULT("event.alloc") ? NULL : calloc(1, sizeof(*n));

	if (!n)
		return false;
	n->ev = (struct event){
	    .kind = EV_TOKEN, .job = j->id, .seq = j->seq, .token = token, .logprob = logprob};
	event_push(j->seq->e, n);
	return true;
}

static void recycle(struct evnode **first, struct evnode ***end)
{
	struct evnode *n = *first;

	while (n) {
		struct evnode *next = n->next;

		if (n->last_of)
			job_free(n->last_of);
		else if (n->where == NODE_HEAP) {
			explicit_bzero(n, sizeof(*n)); /* a token that was said */
			free(n);
		}
		n = next;
	}
	*first = NULL;
	*end = first;
}

void events_forget(struct seq *s)
{
	for (struct evnode *n = s->events; n; n = n->next_of)
		n->ev.seq = NULL; /* passed over by the next poll, and freed by the one after it */
	s->events = s->last_event = NULL;
}

void events_close(struct engine *e)
{
	recycle(&e->given_first, &e->given_end);
	recycle(&e->ev_first, &e->ev_end);
}

int engine_poll(struct engine *e, struct event *events, int cap)
{
	int n = 0;

	recycle(&e->given_first, &e->given_end);
	while (n < cap && e->ev_first) {
		struct evnode *node = e->ev_first;

		e->ev_first = node->next;
		if (!e->ev_first)
			e->ev_end = &e->ev_first;
		if (node->ev.seq) {
			node->ev.seq->events = node->next_of;
			events[n++] = node->ev;
		}
		append(&e->given_end, node);
	}
	return n;
}
