#!/bin/sh
# Installs container nodes on this CML server, completely or not at all. Run it as root:
#
#   sh cml_install_image.sh [--restart] [install]     install the files next to this script
#   sh cml_install_image.sh [--restart] rollback ID   restore what the last installation replaced
#   sh cml_install_image.sh [--restart] remove ID     remove the node
#   sh cml_install_image.sh recover                   complete what was interrupted (every other call does so first)
#
# The script can be in any folder, such as /var/tmp or the drop folder. Next to it must be SHA256SUMS and the files that
# it lists:
#
#   node-definitions/ID.yaml  virl-base-images/ID/ID.yaml  virl-base-images/ID/ID.tar.gz
#
# How an installation is atomic: All files are staged next to their target, on the same file system, and their digests
# are checked there. Then a state file is written; from that moment on the new node is the one that will be in place.
# Then the files are moved by rename. If the script is killed before the state file is written, the old node stays.
# If it is killed afterwards, the state file says which moves remain: a guard process makes them at once, or the next
# call does. After a failure or a signal the moves are made backwards instead.

set -eu
umask 022

IMAGES=/var/lib/libvirt/images
NODES=$IMAGES/node-definitions
BASES=$IMAGES/virl-base-images
# CML does not read a folder of this name. It is on the same file system as those that CML reads.
KEEP=$IMAGES/.cml-nodes
OWNER=libvirt-qemu:virl2

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
SCRIPT=$HERE/$(basename -- "$0")
# The node in work.
ID=
RESTART=no
# Whether all moves of this node are made: then nothing is undone, and the guard removes what is left over.
THROUGH=no

# The reader of the output may be gone.
say() { printf '%s\n' "$*" 2>/dev/null || :; }

die() {
	printf 'cml_install_image: %s\n' "$*" >&2 2>/dev/null || :
	exit 1
}

# The points where the script can be interrupted, by name. The tests kill it at each of them.
step() { :; }

# --- one node, moved forwards or backwards --------------------------------------------------------------------------
#
# $KEEP/ID/new    what is to be in place: `node.yaml` and `image/`; `has-node` and `has-image` say which of them exist
# $KEEP/ID/next   what was in place, while it is being replaced; with the same files
# $KEEP/ID/old    what the last installation replaced; with the same files
# $KEEP/ID/state  `forward` or `back`, while files are moved

folder() { printf '%s/%s' "$KEEP" "$ID"; }

# The state is on the disk before the next line runs.
write_state() {
	printf '%s\n' "$1" >"$k/state.part"
	sync -f "$k"
	mv -f "$k/state.part" "$k/state"
	sync -f "$k"
}

prepare() {
	k=$(folder)
	THROUGH=no
	mkdir -p "$k"
	rm -rf "$k/new"
	mkdir "$k/new"
}

# Records what is in place now, to be able to restore it. Nothing is moved yet.
note_what_is_there() {
	rm -rf "$k/next"
	mkdir "$k/next"
	if [ -e "$NODES/$ID.yaml" ]; then
		cp -p "$NODES/$ID.yaml" "$k/next/node.yaml"
		: >"$k/next/has-node"
	fi
	if [ -e "$BASES/$ID" ]; then : >"$k/next/has-image"; fi
}

# Puts `new` in place. Each move is made only if it has not been made already.
forward() {
	k=$(folder)
	step take-old-image
	if [ -e "$k/next/has-image" ] && [ ! -e "$k/next/image" ]; then mv "$BASES/$ID" "$k/next/image"; fi
	step put-image
	if [ -e "$k/new/image" ]; then mv "$k/new/image" "$BASES/$ID"; fi
	step put-node-definition
	if [ -e "$k/new/node.yaml" ]; then
		mv -f "$k/new/node.yaml" "$NODES/$ID.yaml"
	elif [ ! -e "$k/new/has-node" ] && [ -d "$k/new" ]; then
		rm -f "$NODES/$ID.yaml"
	fi
	# The new node is in place now, and is not moved back any more.
	THROUGH=yes
	step keep-old
	if [ -d "$k/next" ]; then
		rm -rf "$k/old"
		step keep-old-halfway
		mv "$k/next" "$k/old"
	fi
	sync -f "$k"
	step forget-state
	rm -f "$k/state"
	step sweep
	rm -rf "$k/new"
}

# Moves back what `forward` has moved so far, the last move first.
backward() {
	k=$(folder)
	step back
	if [ -e "$k/next/has-node" ]; then
		cp -p "$k/next/node.yaml" "$k/node.part"
		mv -f "$k/node.part" "$NODES/$ID.yaml"
	else
		rm -f "$NODES/$ID.yaml"
	fi
	step back-image
	if [ -e "$k/next/has-image" ]; then
		if [ -e "$k/next/image" ]; then
			if [ -e "$BASES/$ID" ]; then mv "$BASES/$ID" "$k/new/undone"; fi
			step back-image-halfway
			mv "$k/next/image" "$BASES/$ID"
		fi
	elif [ -e "$BASES/$ID" ]; then
		rm -rf "$k/new/undone"
		mv "$BASES/$ID" "$k/new/undone"
	fi
	step back-forget-state
	rm -f "$k/state"
	rm -rf "$k/new" "$k/next"
}

# Completes whatever an interrupted run has left of one node.
recover() {
	k=$(folder)
	case $(cat "$k/state" 2>/dev/null || :) in
	forward)
		say "completing an interrupted installation of $ID"
		forward
		;;
	back)
		say "completing the interrupted restoration of $ID"
		backward
		;;
	*) rm -rf "$k/new" "$k/next" "$k/state.part" "$k/node.part" ;;
	esac
}

recover_all() {
	for path in "$KEEP"/*/; do
		[ -d "$path" ] || continue
		ID=$(basename -- "$path")
		recover
	done
	ID=
}

# Starts a process that waits until the lock is free, that is until this script has ended, however that was, and then
# completes what it left. It has a session of its own, so that a signal to our process group does not reach it.
start_guard() {
	setsid sh "$KEEP/cml_install_image.sh" recover --when-free </dev/null >/dev/null 2>&1 9>&- &
}

# The only function that changes what is in place.
swap() {
	step note-what-is-there
	note_what_is_there
	sync -f "$k"
	start_guard
	step commit
	write_state forward
	forward
}

# --- failures and checks --------------------------------------------------------------------------------------------

ended() {
	code=$?
	trap '' HUP INT TERM
	if [ "$code" -ne 0 ] && [ -n "$ID" ] && [ "$THROUGH" = no ]; then
		k=$(folder)
		case $(cat "$k/state" 2>/dev/null || :) in
		forward)
			write_state back
			backward
			;;
		back) backward ;;
		*) rm -rf "$k/new" "$k/next" "$k/state.part" "$k/node.part" ;;
		esac
		say "cml_install_image: $ID is as it was before" >&2
	fi
	exit "$code"
}

check_server() {
	[ "$(id -u)" = 0 ] || die "this needs root: sudo sh $SCRIPT"
	for program in sha256sum flock setsid df stat sync; do
		command -v "$program" >/dev/null || die "$program is missing on this server"
	done
	for path in "$NODES" "$BASES"; do
		[ -d "$path" ] || die "there is no $path: this is not a CML server"
		[ "$(stat -c %d "$path")" = "$(stat -c %d "$IMAGES")" ] ||
			die "$path is on another file system than $IMAGES: files cannot be moved there by rename"
	done
	id -u "${OWNER%:*}" >/dev/null 2>&1 || die "there is no user ${OWNER%:*}: this is not a CML server"
	getent group "${OWNER#*:}" >/dev/null || die "there is no group ${OWNER#*:}: this is not a CML server"
}

check_id() {
	case $1 in
	'' | .* | -* | *[!A-Za-z0-9._-]*) die "\`$1\` is not a node ID" ;;
	esac
	[ ! -L "$BASES/$1" ] || die "$BASES/$1 is a symbolic link; replace it by a folder first"
}

lock() {
	mkdir -p "$KEEP"
	exec 9>"$KEEP/lock"
	# The guard of an earlier run may be about to end.
	flock -w 5 9 || die "another installation is running; try again when it has ended"
}

# --- install --------------------------------------------------------------------------------------------------------

# The digest of a path in SHA256SUMS.
wanted() { sed -n "s|^\([0-9a-f]\{64\}\)  $1\$|\1|p" "$HERE/SHA256SUMS" | head -n 1; }

has_sum() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -c 1-64)" = "$2" ]; }

check_sum() { has_sum "$1" "$(wanted "$2")" || die "$2 is damaged: its digest is not the one in SHA256SUMS"; }

# Whether a definition has `key: value` at its top level.
says() { grep -Eq "^$2: *[\"']?$3[\"']? *\$" "$1"; }

# Where the archive is: next to this script, or installed already.
find_archive() {
	if [ -f "$HERE/$archive" ]; then
		from=$HERE/$archive
	elif has_sum "$IMAGES/$archive" "$(wanted "$archive")"; then
		from=$IMAGES/$archive
	else
		die "$HERE/$archive is missing, and the server does not have it either"
	fi
}

check_files() {
	node=node-definitions/$ID.yaml
	image=virl-base-images/$ID/$ID.yaml
	archive=virl-base-images/$ID/$ID.tar.gz
	for file in "$node" "$image" "$archive"; do
		[ -n "$(wanted "$file")" ] || die "SHA256SUMS does not list $file"
	done
	find_archive
	for file in "$HERE/$node" "$HERE/$image"; do
		says "$file" id "$ID" || die "$file is not the definition of $ID"
	done
	says "$HERE/$image" node_definition_id "$ID" || die "$HERE/$image names another node definition than $ID"
	says "$HERE/$image" disk_image "$ID.tar.gz" || die "$HERE/$image names another archive than $ID.tar.gz"
	for file in "$NODES"/*.yaml; do
		[ "$file" = "$NODES/$ID.yaml" ] || [ ! -e "$file" ] || ! says "$file" id "$ID" ||
			die "$file also has the id $ID"
	done
}

# A copy of the archive, and a margin for everything else: the same as in space.rs.
check_space() {
	need=$(($(stat -c %s "$from") / 1024 + 1024))
	free=$(df -Pk "$IMAGES" | awk 'NR == 2 { print $4 }')
	[ "$free" -gt "$need" ] || die "the disk of $IMAGES has $free kB left, but $ID needs $need kB"
}

# Copies, not moves: after a failure the original files are still there. The digests are those of the copies.
stage() {
	mkdir "$k/new/image"
	cp "$HERE/$node" "$k/new/node.yaml"
	cp "$HERE/$image" "$k/new/image/$ID.yaml"
	step stage-archive
	cp "$from" "$k/new/image/$ID.tar.gz"
	: >"$k/new/has-node"
	: >"$k/new/has-image"
	step check-sums
	check_sum "$k/new/node.yaml" "$node"
	check_sum "$k/new/image/$ID.yaml" "$image"
	check_sum "$k/new/image/$ID.tar.gz" "$archive"
	step set-owner
	chmod 0644 "$k/new/node.yaml" "$k/new/image"/*
	chmod 0755 "$k/new/image"
	chown "$OWNER" "$k/new/node.yaml" "$k/new/image" "$k/new/image"/*
}

install_node() {
	check_files
	check_space
	say "staging $ID"
	step stage
	prepare
	stage
	swap
	say "installed $ID"
}

# Everything is installed: the files next to this script, the script and their folder are not needed any more. Only
# files that SHA256SUMS lists are removed.
clear_away() {
	step clear-away
	while read -r _ file; do
		case $file in
		node-definitions/* | virl-base-images/*) rm -f "$HERE/$file" ;;
		esac
	done <"$HERE/SHA256SUMS"
	rm -f "$HERE/SHA256SUMS" "$SCRIPT"
	rmdir "$HERE"/virl-base-images/* "$HERE/virl-base-images" "$HERE/node-definitions" 2>/dev/null || :
	case $HERE in
	/var/tmp/cml-nodes-*) rmdir "$HERE" 2>/dev/null || : ;;
	esac
}

install_all() {
	[ -f "$HERE/SHA256SUMS" ] || die "there is no $HERE/SHA256SUMS"
	ids=$(sed -n 's|^[0-9a-f]\{64\}  node-definitions/\(.*\)\.yaml$|\1|p' "$HERE/SHA256SUMS")
	[ -n "$ids" ] || die "SHA256SUMS lists no node definition"
	for ID in $ids; do
		check_id "$ID"
		install_node
	done
	ID=
	clear_away
}

# --- rollback, remove -----------------------------------------------------------------------------------------------

rollback_node() {
	k=$(folder)
	[ -d "$k/old" ] || die "what $ID replaced is not kept on this server"
	prepare
	step stage
	# Hard links: `old` stays complete until everything is moved.
	cp -al "$k/old/." "$k/new/"
	swap
	say "rolled back $ID"
}

remove_node() {
	if [ ! -e "$NODES/$ID.yaml" ] && [ ! -e "$BASES/$ID" ]; then
		say "absent $ID"
		ID=
		return
	fi
	prepare
	step stage
	swap
	say "removed $ID"
}

restart_cml() {
	[ "$RESTART" = yes ] || return 0
	say "restarting virl2.target"
	systemctl restart virl2.target 9>&-
}

main() {
	if [ "${1:-}" = --restart ]; then
		RESTART=yes
		shift
	fi
	check_server
	if [ "${1:-} ${2:-}" = "recover --when-free" ]; then
		exec 9>"$KEEP/lock"
		flock 9
		recover_all
		return
	fi
	lock
	trap ended EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	# The program that started this script may be gone; that is no reason to stop halfway.
	trap '' PIPE
	recover_all
	# The guard runs this copy; an administrator can use it for a rollback by hand.
	if [ "$HERE" != "$KEEP" ]; then
		cp "$SCRIPT" "$KEEP/script.part"
		mv -f "$KEEP/script.part" "$KEEP/cml_install_image.sh"
	fi
	case ${1:-install} in
	install) install_all ;;
	rollback | remove)
		check_id "${2:-}"
		ID=$2
		"$1_node"
		ID=
		;;
	recover) ;;
	*) die "unknown command \`$1\`; see the beginning of $SCRIPT" ;;
	esac
	restart_cml
}

main "$@"
