# doc/: manual pages are installed; the rest is for readers of the source
dist_man_MANS = doc/man/sallyportd.8 doc/man/sallyport.1 doc/man/sallyport.conf.5
EXTRA_DIST += README.md LICENSE SECURITY.md CONTRIBUTING.md doc/formats.md doc/architecture.md doc/threat-model.md \
	quickstart runtests .ci/run scripts/deps.sh scripts/count.py scripts/tsan-tests
EXTRA_DIST += doc/decisions
