# keeper.sh keeps one server for as long as standard input is open, and removes its folder afterwards: it outlives
# the process that holds the other end, however that ends.
#
#   $1  the server's folder, which is the working directory; it has the files password and settings.conf, and that of a
#       standby the file primary, with the URL of its primary server
#   $2  the folder of initdb and postgres
#
# It says on standard output
#
#   started PID     the server's process
#   ended STATUS    that it has ended; a line on standard input starts it again
#   failed          the data could not be made; the file log says why

exec 3<&0 # a command in the background has no standard input
trap '' PIPE # nobody may be left to listen

make_data() {
	if [ -e primary ]; then
		"$2/pg_basebackup" --dbname="$(cat primary)" --pgdata=data --write-recovery-conf --checkpoint=fast --no-sync
	else
		"$2/initdb" --pgdata=data --username=postgres --pwfile=password --auth=scram-sha-256 \
			--encoding=UTF8 --locale=C --no-sync
	fi
}

if make_data "$@" >>log 2>&1 3<&-; then
	echo "include = '../settings.conf'" >>data/postgresql.conf
	while :; do
		"$2/postgres" -D data </dev/null >>log 2>&1 3<&- &
		server=$!
		echo "started $server"
		{ # A process that has not become postgres yet ignores QUIT, and one that is stopped gets KILL only. After
			# QUIT, postgres itself takes up to five seconds for those of its processes that do not end.
			while read -r _ <&3; do :; done
			for signal in QUIT QUIT QUIT QUIT QUIT QUIT QUIT KILL; do
				kill -s "$signal" "$server" && sleep 1
			done
		} >/dev/null 2>&1 &
		watcher=$!
		wait "$server"
		status=$?
		kill "$watcher"
		wait "$watcher"
		echo "ended $status"
		read -r _ <&3 || break
	done
	if [ -e data/postmaster.pid ]; then # it was killed; the next one frees what it held in shared memory
		"$2/postgres" --single -D data postgres </dev/null >>log 2>&1 3<&-
	fi
else
	echo failed
	read -r _ <&3
fi
rm -rf "$1"
