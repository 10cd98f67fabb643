#!/bin/sh
# deps.sh installs what the tests need and what is missing, by apt-get on Debian and Ubuntu. Elsewhere it says what to
# install. PostgreSQL and PgBouncer are installed if $1, a comma list, names them: only their programs, which the
# tests start themselves; no cluster is made, and no service runs.
set -eu

# install runs as root.
install() {
	export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
	case " $* " in
	*" postgresql "*)
		conf=/etc/postgresql-common/createcluster.conf
		mkdir -p "${conf%/*}"
		grep -qs '^create_main_cluster' "$conf" || echo 'create_main_cluster = false' >>"$conf"
		;;
	esac
	policy=/usr/sbin/policy-rc.d # what it refuses to start is not started
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "$@"
	case " $* " in
	*" pgbouncer "*) # nor does it run after the next boot
		[ ! -d /run/systemd/system ] || systemctl disable pgbouncer
		;;
	esac
}

if [ "$1" = install ]; then
	shift
	install "$@"
	exit
fi

required() {
	case ",$require," in
	*",$1,"*) ;;
	*) return 1 ;;
	esac
}

# c_compiles: the C compiler that Go would call finds the headers of the C library.
c_compiles() { echo '#include <stdlib.h>' | $("$GO" env CC) -E - >/dev/null 2>&1; }

# has_postgres: internal/pgserver finds the programs. It looks in the same places.
has_postgres() {
	if command -v initdb >/dev/null && command -v postgres >/dev/null; then
		return
	fi
	for folder in "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
		/usr/libexec/postgresql* /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin /usr/local/pgsql/bin; do
		if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then
			return
		fi
	done
	return 1
}

require=$1
GO=${GO:-go}
command -v "$GO" >/dev/null || { echo 'deps: Go is missing: see https://go.dev/doc/install' >&2; exit 1; }
missing=''
command -v git >/dev/null || missing="$missing git"
c_compiles || missing="$missing gcc libc6-dev"
! required postgres || has_postgres || missing="$missing postgresql"
! required pgbouncer || PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || missing="$missing pgbouncer"
[ -n "$missing" ] || exit 0

sudo=''
[ "$(id -u)" = 0 ] || sudo=$(command -v sudo || true)
if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || [ -n "$sudo" ]; }; then
	$sudo sh "$0" install $missing
	c_compiles || { echo 'deps: the C compiler that `go env CC` names does not work' >&2; exit 1; }
	exit
fi
cat >&2 <<end
deps: missing:$missing
deps: install what is missing of git, a C compiler with the headers of the C library, PostgreSQL and PgBouncer:
deps:   Debian, Ubuntu: as root, run make deps
deps:   Fedora: dnf install git gcc glibc-devel postgresql-server pgbouncer
deps:   Alpine: apk add git gcc musl-dev postgresql postgresql-client pgbouncer
deps:   macOS: xcode-select --install; brew install postgresql pgbouncer
deps: or run without servers, whose tests are skipped then: make test REQUIRE=
end
exit 1
