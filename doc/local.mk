# doc/: manual pages are installed; the rest is for readers of the source
dist_man_MANS = doc/man/sallyportd.8 doc/man/sallyport.1 doc/man/sallyport.conf.5
EXTRA_DIST += README.md LICENSE SECURITY.md CONTRIBUTING.md doc/formats.md doc/architecture.md doc/engine.md doc/bench.md doc/threat-model.md \
	quickstart runtests .ci/run scripts/deps.sh scripts/count.py scripts/tsan-tests scripts/fuzz-minutes scripts/deps-check doc/decisions

# installed beside the manual: samples, the receipt script, completion, systemd units
dist_pkgdata_DATA = etc/sallyport.conf etc/policy.conf
dist_pkgdata_SCRIPTS = etc/check-receipt.sh
bashcompletiondir = $(datadir)/bash-completion/completions
systemdunitdir = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
EXTRA_DIST += etc/completion/sallyport.bash etc/systemd/sallyportd.service etc/systemd/sallyport.sysusers models
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(bashcompletiondir)' '$(DESTDIR)$(systemdunitdir)' '$(DESTDIR)$(sysusersdir)'
	$(INSTALL_DATA) $(srcdir)/etc/completion/sallyport.bash '$(DESTDIR)$(bashcompletiondir)/sallyport'
	sed 's,/usr/sbin,$(sbindir),g' $(srcdir)/etc/systemd/sallyportd.service >'$(DESTDIR)$(systemdunitdir)/sallyportd.service'
	$(INSTALL_DATA) $(srcdir)/etc/systemd/sallyport.sysusers '$(DESTDIR)$(sysusersdir)/sallyport.conf'
uninstall-local:
	rm -f '$(DESTDIR)$(bashcompletiondir)/sallyport' '$(DESTDIR)$(systemdunitdir)/sallyportd.service' \
		'$(DESTDIR)$(sysusersdir)/sallyport.conf'
