# kernels, forward pass, KV cache, scheduler, sampler
ENGINE_CORE_SOURCES = engine/include/tools.h engine/kernels.h engine/blocks.h engine/kern.c \
	engine/kern_portable.c engine/kern_avx2.c engine/sampler.c engine/pool.h engine/pool.c \
	engine/kv.h engine/kv.c engine/mutant.h engine/weights.h engine/weights.c engine/matmul.h \
	engine/matmul.c engine/fwd.h engine/fwd.c engine/attn.c engine/engine_priv.h engine/events.c \
	engine/job.c engine/seq.c engine/submit.c engine/head.c engine/batch.c engine/engine.c \
	engine/model.c engine/tools.c
