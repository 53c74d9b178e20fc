#!/bin/sh
# Removes what install.sh installed: the service, the command and every release below /opt/edgewhisper. Other things there,
# such as artifacts of one's own, stay.
#
#   sudo /opt/edgewhisper/current/uninstall.sh [--purge] [--root DIR]
#
# --purge removes settings (/etc/default/edgewhisper) and what the service has learned (/var/lib/edgewhisper) too.
set -eu

fail() {
	echo "edgewhisper: error: $*" >&2
	exit 1
}

root=
purge=
while [ $# -gt 0 ]; do
	case $1 in
	--purge) purge=yes ;;
	--root)
		[ $# -ge 2 ] || fail "--root: name a folder"
		root=${2%/}
		shift
		;;
	*)
		echo "edgewhisper: error: unknown option '$1'; usage: uninstall.sh [--purge] [--root DIR]" >&2
		exit 2
		;;
	esac
	shift
done
opt=$root/opt/edgewhisper
command=$root/usr/local/bin/edgewhisper
unit=$root/etc/systemd/system/edgewhisper.service

package=$(dpkg-query --admindir="$root/var/lib/dpkg" -S /usr/bin/edgewhisper 2>/dev/null) &&
	fail "edgewhisper was installed as a package; remove it with: apt remove ${package%%:*}"
[ -d "$opt" ] || fail "$opt: nothing is installed there"
[ -w "$opt" ] || fail "$opt cannot be written; run this script with sudo"
exec 9>"$opt/.lock"
flock -n 9 || fail "an installation is running; wait until it is done"

if [ -e "$unit" ] && [ -d "$root/run/systemd/system" ]; then
	systemctl disable --now edgewhisper.service
fi
rm -f "$unit"
if [ -d "$root/run/systemd/system" ]; then
	systemctl daemon-reload || :
fi
case $(readlink "$command" 2>/dev/null || :) in
*/opt/edgewhisper/*) rm -f "$command" ;;
esac
rm -f "$opt/current"
# What a killed installation left; all releases get such a name first, so that the next installation finishes what is killed here.
rm -rf "$opt"/.*.new
for folder in "$opt"/*/; do
	folder=${folder%/}
	[ -L "$folder" ] || [ ! -f "$folder/release.conf" ] || mv -T "$folder" "$opt/.${folder##*/}.old.new"
done
rm -rf "$opt"/.*.new
rm -f "$opt/.lock"
if [ -n "$purge" ]; then
	rm -rf "$root/etc/default/edgewhisper" "$root/var/lib/edgewhisper" "$root/var/lib/private/edgewhisper"
fi
if rmdir "$opt" 2>/dev/null; then
	echo "edgewhisper was removed."
else
	echo "edgewhisper was removed. What it has not installed was left in $opt."
fi
