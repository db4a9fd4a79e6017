#!/bin/sh
# Installs container nodes on this CML server, all or nothing. To be run as root:
#
#   sh cml_install_image.sh [--restart] [install]     what lies beside this script
#   sh cml_install_image.sh [--restart] rollback ID   back to what the last installation replaced
#   sh cml_install_image.sh [--restart] remove ID     takes the node off again
#   sh cml_install_image.sh recover                   finishes what was interrupted (every other call does so, too)
#
# Beside this script, in /var/tmp, in the drop folder or anywhere else, must lie SHA256SUMS and what it lists:
#
#   node-definitions/ID.yaml  virl-base-images/ID/ID.yaml  virl-base-images/ID/ID.tar.gz
#
# How it keeps its word. Everything is staged beside the target, on the same file system, and its sums are checked there.
# Then a state file is written: from that moment on the new node is what counts. Moves by rename follow. Whoever is killed before it
# leaves the old node; whoever is killed after it leaves a state file, by which the rest of the moves is made up for: at
# once by a guard process, or by the next call. A failure or a signal makes the moves backwards instead.

set -eu
umask 022

IMAGES=/var/lib/libvirt/images
NODES=$IMAGES/node-definitions
BASES=$IMAGES/virl-base-images
# Not a name that CML reads, and on the same file system as what it does read.
KEEP=$IMAGES/.cml-nodes
OWNER=libvirt-qemu:virl2

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
SCRIPT=$HERE/$(basename -- "$0")
# The node that is being worked on.
ID=
RESTART=no
# Whether the moves of this node are all made: then nothing is taken back, and what is left to be swept the guard sweeps.
THROUGH=no

# Nobody may be left to read it.
say() { printf '%s\n' "$*" 2>/dev/null || :; }

die() {
	printf 'cml_install_image: %s\n' "$*" >&2 2>/dev/null || :
	exit 1
}

# The points at which it can be interrupted, by name. The tests kill it at each.
step() { :; }

# --- one node, moved forwards or backwards --------------------------------------------------------------------------
#
# $KEEP/ID/new    what shall be in place: `node.yaml` and `image/`; `has-node` and `has-image` say which of them there are
# $KEEP/ID/next   what was in place, while it is being replaced; the same
# $KEEP/ID/old    what the last installation replaced; the same
# $KEEP/ID/state  `forward` or `back`, while moves are being made

folder() { printf '%s/%s' "$KEEP" "$ID"; }

# Reaches the disk before the next line runs.
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

# What is in place now, noted for the way back. Nothing is moved yet.
note_what_is_there() {
	rm -rf "$k/next"
	mkdir "$k/next"
	if [ -e "$NODES/$ID.yaml" ]; then
		cp -p "$NODES/$ID.yaml" "$k/next/node.yaml"
		: >"$k/next/has-node"
	fi
	if [ -e "$BASES/$ID" ]; then : >"$k/next/has-image"; fi
}

# Puts `new` in place. Every line looks first whether it has been done already.
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
	# From here on the new node is in place, and the way back is no longer kept.
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

# Puts back what `forward` has moved so far, the last move first.
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

# Brings one node out of whatever an interrupted run left.
recover() {
	k=$(folder)
	case $(cat "$k/state" 2>/dev/null || :) in
	forward)
		say "finishing an interrupted installation of $ID"
		forward
		;;
	back)
		say "finishing an interrupted return of $ID"
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

# Waits beside us until the lock is free, that is until we have ended, however that was; then makes up for what we have left.
# In a session of its own, so that what is sent to our group does not reach it.
start_guard() {
	setsid sh "$KEEP/cml_install_image.sh" recover --when-free </dev/null >/dev/null 2>&1 9>&- &
}

# The one way in which anything in place is changed.
swap() {
	step note-what-is-there
	note_what_is_there
	sync -f "$k"
	start_guard
	step commit
	write_state forward
	forward
}

# --- what can go wrong ----------------------------------------------------------------------------------------------

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
		[ -d "$path" ] || die "there is no $path: this is no CML server"
		[ "$(stat -c %d "$path")" = "$(stat -c %d "$IMAGES")" ] || die "$path is on another file system than $IMAGES: nothing can be swapped by rename"
	done
	id -u "${OWNER%:*}" >/dev/null 2>&1 || die "there is no user ${OWNER%:*}: this is no CML server"
	getent group "${OWNER#*:}" >/dev/null || die "there is no group ${OWNER#*:}: this is no CML server"
}

check_id() {
	case $1 in
	'' | .* | -* | *[!A-Za-z0-9._-]*) die "\`$1\` is no id of a node" ;;
	esac
	[ ! -L "$BASES/$1" ] || die "$BASES/$1 is a link; that must be sorted out by hand"
}

lock() {
	mkdir -p "$KEEP"
	exec 9>"$KEEP/lock"
	# The guard of a run before may be about to end.
	flock -w 5 9 || die "another installation is under way; try again when it has ended"
}

# --- install --------------------------------------------------------------------------------------------------------

# The sum that SHA256SUMS gives for a path.
wanted() { sed -n "s|^\([0-9a-f]\{64\}\)  $1\$|\1|p" "$HERE/SHA256SUMS" | head -n 1; }

has_sum() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -c 1-64)" = "$2" ]; }

# `key: value` at the top level of a definition.
says() { grep -Eq "^$2: *[\"']?$3[\"']? *\$" "$1"; }

# Where the archive is: beside this script, or in place already.
find_archive() {
	if [ -f "$HERE/$archive" ]; then
		from=$HERE/$archive
	elif has_sum "$IMAGES/$archive" "$(wanted "$archive")"; then
		from=$IMAGES/$archive
	else
		die "$HERE/$archive is missing, and the server has not got it either"
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
	says "$HERE/$image" node_definition_id "$ID" || die "$HERE/$image belongs to another node definition than $ID"
	says "$HERE/$image" disk_image "$ID.tar.gz" || die "$HERE/$image names another archive than $ID.tar.gz"
	for file in "$NODES"/*.yaml; do
		[ "$file" = "$NODES/$ID.yaml" ] || [ ! -e "$file" ] || ! says "$file" id "$ID" || die "$file has the id $ID, too"
	done
}

check_space() {
	need=$(($(stat -c %s "$from") / 1024 + 1024))
	free=$(df -Pk "$IMAGES" | awk 'NR == 2 { print $4 }')
	[ "$free" -gt "$need" ] || die "the disk of $IMAGES has $free kB left, $ID needs $need kB"
}

# Copied, not moved: if anything fails, what was brought is still there. The sums are those of the copies.
stage() {
	mkdir "$k/new/image"
	cp "$HERE/$node" "$k/new/node.yaml"
	cp "$HERE/$image" "$k/new/image/$ID.yaml"
	step stage-archive
	cp "$from" "$k/new/image/$ID.tar.gz"
	: >"$k/new/has-node"
	: >"$k/new/has-image"
	step check-sums
	has_sum "$k/new/node.yaml" "$(wanted "$node")" || die "$node is damaged: its sum is not the one in SHA256SUMS"
	has_sum "$k/new/image/$ID.yaml" "$(wanted "$image")" || die "$image is damaged: its sum is not the one in SHA256SUMS"
	has_sum "$k/new/image/$ID.tar.gz" "$(wanted "$archive")" || die "$archive is damaged: its sum is not the one in SHA256SUMS"
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

# What was brought has arrived: it, this script and their folder are not needed any more. Only what is listed is removed.
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
	[ -d "$k/old" ] || die "nothing is kept of what $ID replaced"
	prepare
	step stage
	# Hard links: what is kept stays whole until the swap is through.
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
	# Who started us may be gone; that is no reason to stop halfway.
	trap '' PIPE
	recover_all
	# The guard runs this copy, and a person finds it here for a rollback by hand.
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
	*) die "what is \`$1\`? See the beginning of $SCRIPT" ;;
	esac
	restart_cml
}

main "$@"
