#!/bin/sh
# Installs this release below /opt/edgewhisper and, once its self-test has passed, switches to it. Until then, and when
# anything fails, the release before stays as it was. Nothing is downloaded.
#
#   sudo ./install.sh [--root DIR]
#
# EDGEWHISPER_PYTHON names another interpreter than the system's; several words are a command with its arguments.
set -eu
umask 022

fail() {
	echo "edgewhisper: error: $*" >&2
	exit 1
}

root=
while [ $# -gt 0 ]; do
	case $1 in
	--root)
		[ $# -ge 2 ] || fail "--root: name a folder"
		root=${2%/}
		shift
		;;
	*)
		echo "edgewhisper: error: unknown option '$1'; usage: install.sh [--root DIR]" >&2
		exit 2
		;;
	esac
	shift
done
here=$(dirname -- "$(readlink -f -- "$0")")
opt=$root/opt/edgewhisper
command=$root/usr/local/bin/edgewhisper
settings=$root/etc/default/edgewhisper
python=${EDGEWHISPER_PYTHON:-/usr/bin/python3}

# The release that this script came with, which is not the only one here where an older bundle was unpacked to the same folder.
name=@RELEASE@
source=$here/$name
[ -f "$source/release.conf" ] || fail "$here: the release $name does not lie beside install.sh; unpack the bundle again"
(cd "$source" && grep '  release[.]conf$' SHA256SUMS | LC_ALL=C sha256sum --check --status --strict) ||
	fail "$source is damaged (release.conf); copy the bundle to this device again"
setting() {
	sed -n "s/^$1=//p" "$source/release.conf"
}

# Under the name of what a killed installation left, so that one killed half-way through is finished by the next.
remove() {
	mv -T "$opt/$1" "$opt/.$1.old.new"
	rm -rf "${opt:?}/.$1.old.new"
}

# The interpreter, not the kernel, says what this system can run: a 32-bit system may have a 64-bit kernel.
facts='import platform, struct, sys; print(platform.machine(), 8 * struct.calcsize("P"), "%d.%d" % sys.version_info[:2])'
found=$($python -I -c "$facts" 2>/dev/null) || fail "$python does not run; install Python: apt install python3"
read -r machine bits minor <<EOF
$found
EOF
if [ "$bits" != 64 ]; then
	fail "this system is 32-bit, whatever its processor and kernel ($machine); install the 64-bit Raspberry Pi OS"
fi
if [ "$machine" != "$(setting machine)" ]; then
	fail "this bundle is for $(setting machine), and this machine is $machine; bundles are for 64-bit Arm only"
fi
if [ "$minor" != "$(setting python)" ]; then
	fail "this bundle is for Python $(setting python), and $python is $minor; take the bundle whose name has py$minor"
fi
package=$(dpkg-query --admindir="$root/var/lib/dpkg" -S /usr/bin/edgewhisper 2>/dev/null) &&
	fail "edgewhisper is installed as a package; take its .deb, or first: apt remove ${package%%:*}"
case $(readlink "$command" || :) in
*/opt/edgewhisper/*) ;;
*) [ ! -e "$command" ] && [ ! -L "$command" ] || fail "$command is there, and not from here; remove it, or move it away" ;;
esac

mkdir -p "$opt" 2>/dev/null && [ -w "$opt" ] || fail "$opt cannot be written; run this script with sudo"
exec 9>"$opt/.lock"
flock -n 9 || fail "another installation is running; wait until it is done"

# What a killed installation left.
rm -rf "$opt"/.*.new

free=$(df -Pk "$opt" | awk 'NR == 2 { print $4 }')
needed=$(setting disk_kb)
if [ "$free" -lt "$needed" ]; then
	fail "$opt: $((free / 1000)) MB are free, and $((needed / 1000)) MB are needed; remove what is not needed"
fi

# A release that is there under this name is left alone while it is the current one: another name is taken.
target=$name
copies=1
while [ "$(readlink "$opt/current" 2>/dev/null)" = "$target" ]; do
	copies=$((copies + 1))
	target=$name.$copies
done
staging=$opt/.$target.new
cp -R "$source" "$staging" 9>&- || fail "$source: could not be copied to $opt; see above"
chmod -R u=rwX,go=rX "$staging"
"$staging/bin/edgewhisper-self-test" 9>&- || fail "this release was not installed; what was installed before is unchanged"
sync

# Settings that nobody has changed become those of this release.
new_settings=
if [ ! -e "$settings" ] || cmp -s "$settings" "$opt/current/systemd/edgewhisper.default"; then
	new_settings=yes
fi
[ ! -e "$opt/$target" ] || remove "$target"
mv "$staging" "$opt/$target"
ln -s "$target" "$opt/.current.new"
mv -T "$opt/.current.new" "$opt/current"
mkdir -p "$root/usr/local/bin"
ln -sfn ../../../opt/edgewhisper/current/bin/edgewhisper "$command"
sync

# The service, where this release has one. One that is enabled starts again also where it was stopped, as to have its memory;
# one that nobody enabled only if it ran.
if [ -f "$opt/current/systemd/edgewhisper.service" ]; then
	mkdir -p "$root/etc/systemd/system" "$root/etc/default"
	sed 's|/usr/bin/edgewhisper|/usr/local/bin/edgewhisper|' "$opt/current/systemd/edgewhisper.service" \
		>"$root/etc/systemd/system/.edgewhisper.service.new"
	mv "$root/etc/systemd/system/.edgewhisper.service.new" "$root/etc/systemd/system/edgewhisper.service"
	if [ -n "$new_settings" ] && [ -f "$opt/current/systemd/edgewhisper.default" ]; then
		cp "$opt/current/systemd/edgewhisper.default" "$root/etc/default/.edgewhisper.new"
		mv "$root/etc/default/.edgewhisper.new" "$settings"
	fi
	if [ -d "$root/run/systemd/system" ]; then
		systemctl daemon-reload || :
		if systemctl --quiet is-enabled edgewhisper.service; then action=restart; else action=try-restart; fi
		systemctl $action edgewhisper.service || echo "edgewhisper: the service did not start again; see: journalctl -u edgewhisper" >&2
	fi
fi

for folder in "$opt"/*/; do
	folder=${folder%/}
	case ${folder##*/} in
	current | "$target") ;;
	*) [ ! -f "$folder/release.conf" ] || remove "${folder##*/}" ;;
	esac
done
echo "edgewhisper $(setting version) is installed: 'edgewhisper transcribe RECORDING', 'edgewhisper listen', or for Home Assistant" \
	"'sudo systemctl enable --now edgewhisper'"
