# deps.sh - sourced by quickstart and runtests: what a bare Debian 12 must have, and how to get it.
# Sets nothing; functions print to stderr and return 0 (all there), 3 (cannot install here).

DEPS_BUILD="gcc make autoconf automake pkg-config libc6-dev linux-libc-dev libsodium-dev libssl-dev
libsqlite3-dev libmicrohttpd-dev libjansson-dev libinih-dev libseccomp-dev libutf8proc-dev
libcurl4-openssl-dev uthash-dev"
DEPS_RUN="openssl curl python3 ca-certificates"
DEPS_TEST="libcmocka-dev"

deps_missing() {
	for p in "$@"; do
		dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null | grep -q 'install ok installed' || printf '%s ' "$p"
	done
}

# deps_have_all: quick look without dpkg for systems that are not Debian
deps_install() { # package...
	missing=$(deps_missing "$@")
	[ -z "$missing" ] && return 0
	line="apt-get install -y --no-install-recommends $missing"
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "installing: $missing" >&2
		export DEBIAN_FRONTEND=noninteractive
		if ! apt-get install -y --no-install-recommends $missing >/tmp/sallyport-apt.$$ 2>&1; then
			apt-get update >>/tmp/sallyport-apt.$$ 2>&1
			if ! apt-get install -y --no-install-recommends $missing >>/tmp/sallyport-apt.$$ 2>&1; then
				tail -n 5 /tmp/sallyport-apt.$$ >&2
				rm -f /tmp/sallyport-apt.$$
				echo "apt could not install what is missing. By hand:  $line" >&2
				return 3
			fi
		fi
		rm -f /tmp/sallyport-apt.$$
		return 0
	fi
	echo "Some packages are missing. Install them with:" >&2
	echo "  sudo $line" >&2
	return 3
}

# node is used where it is; Debian's nodejs and npm are installed only where there is none
deps_node() {
	command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 && return 0
	deps_install nodejs npm
}
