# this part's library (add it to ROLE_LIBS) and tests; see daemon/store.mk
