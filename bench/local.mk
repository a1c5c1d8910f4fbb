# bench/
EXTRA_DIST += bench/peer.py bench/peer/package.json bench/peer/peer.mjs
noinst_PROGRAMS += bench/bench_engine
bench_bench_engine_SOURCES = bench/bench_engine.c
bench_bench_engine_CPPFLAGS = $(AM_CPPFLAGS) $(Q_BASE) -iquote $(top_srcdir)/engine/include
bench_bench_engine_LDADD = $(ENGINE_LIBS)
noinst_PROGRAMS += bench/bench_mask
bench_bench_mask_SOURCES = bench/bench_mask.c
bench_bench_mask_CPPFLAGS = $(AM_CPPFLAGS) $(Q_BASE) -iquote $(top_srcdir)/engine/include
bench_bench_mask_LDADD = $(ENGINE_LIBS)
noinst_PROGRAMS += bench/bench_attn
bench_bench_attn_SOURCES = bench/bench_attn.c
bench_bench_attn_CPPFLAGS = $(AM_CPPFLAGS) $(Q_ENGINE) -iquote $(top_srcdir)/engine/include
bench_bench_attn_LDADD = $(ENGINE_LIBS)
noinst_PROGRAMS += bench/bench_kernels
bench_bench_kernels_SOURCES = bench/bench_kernels.c bench/peaks.h bench/peaks.c
bench_bench_kernels_CPPFLAGS = $(AM_CPPFLAGS) $(Q_BASE) -iquote $(top_srcdir)/engine
bench_bench_kernels_LDADD = $(ENGINE_LIBS)
