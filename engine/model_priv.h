/* model_priv.h - what a loaded model is made of. Only for engine/. */
#ifndef SP_ENGINE_MODEL_PRIV_H
#define SP_ENGINE_MODEL_PRIV_H

#include "engine.h"
#include "fwd.h"
#include "parts.h"
#include "sched.h"
#include "sched.h"
#include "tok.h"
#include "weights.h"

struct mask_trie;

struct model {
	struct model_info info;
	struct tok *tok; /* owned */
	/* what follows belongs to the forward pass; empty when vocab_only */
	struct model *next; /* of the engine */
	struct parts parts;
	struct weights weights;
	struct kv_class kv[KV_TYPES]; /* by type; not open (kv.kv NULL) where it does not fit */
	struct fwd fwd;
	float *logits;	     /* HEAD_ROWS x n_vocab, for rows that are sampled or searched */
	float *hidden;	     /* fwd.max_rows x n_embd */
	/* activations for batches beside one of the same model that rests; made when first needed */
	struct spare {
		struct fwd fwd;
		float *hidden;
		uint64_t failed; /* number of the batch beside which there was no memory for it */
	} guards, talkers;
	struct lane lanes[LANES];
	/* measured, smoothed, of a prompt row and of up to HEAD_ROWS generations; 0 = not yet */
	uint64_t ns_prompt, ns_gen;
	uint64_t last_turn; /* number of the batch it last had: models take turns */
	uint32_t seqs;	     /* living */
	bool vocab_only;
	struct mask_trie *trie; /* of the vocabulary; made by the first mask_new() */
};

#endif
