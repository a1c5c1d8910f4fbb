# engine/
noinst_LIBRARIES += libengine.a
ENGINE_LOAD_SOURCES = engine/include/engine.h engine/include/chat.h engine/gtype.h engine/gtype.c \
	engine/gguf.h engine/tok.h engine/info.h engine/model_priv.h
# kernels, forward pass, KV, scheduler, sampler: append here
ENGINE_CORE_SOURCES =
libengine_a_SOURCES = $(ENGINE_LOAD_SOURCES) $(ENGINE_CORE_SOURCES)
libengine_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_ENGINE) -iquote $(top_srcdir)/engine/include $(UTF8PROC_CFLAGS) $(SODIUM_CFLAGS)
ENGINE_LIBS = libengine.a $(BASE_LIBS) $(UTF8PROC_LIBS) -lm -lpthread
