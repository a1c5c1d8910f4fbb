/* model_priv.h - what a loaded model is made of. Only for engine/. */
#ifndef SP_ENGINE_MODEL_PRIV_H
#define SP_ENGINE_MODEL_PRIV_H

#include "engine.h"
#include "tok.h"

struct model {
	struct model_info info;
	struct tok *tok; /* owned */
	/* what follows belongs to the forward pass */
};

#endif
