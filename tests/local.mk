# tests/

# lint, format-check, deps-check: what reviewers would otherwise have to say
LINT_SRC = $(srcdir)/base/*.[ch] $(srcdir)/wire/*.[ch] $(srcdir)/audit/*.[ch] $(srcdir)/vetting/*.[ch] $(srcdir)/db/*.[ch] \
	$(srcdir)/engine/*.[ch] $(srcdir)/policy/*.[ch] $(srcdir)/daemon/*.[ch] $(srcdir)/cli/*.[ch]
.PHONY: lint format-check deps-check bench
lint:
	cppcheck --quiet --enable=warning,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem -I $(srcdir)/base $(srcdir)/base $(srcdir)/wire $(srcdir)/daemon $(srcdir)/cli
format-check:
	clang-format --dry-run -Werror $(filter %.c,$(wildcard $(LINT_SRC))) # headers hold tables laid out by hand
deps-check:
	sh $(srcdir)/scripts/deps-check $(srcdir)
bench: sallyportd sallyport
	python3 $(srcdir)/bench/stages.py --build $(builddir)
EXTRA_DIST += scripts/deps-check bench/stages.py tests/daemon/harness.py tests/daemon/run.py tests/daemon/cuts.py \
	tests/sdk/run.py tests/sdk/chat.mjs
