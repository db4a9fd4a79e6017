#!/bin/sh
# Installs container nodes on this CML server, completely or not at all. Run it as root:
#
#   sh cml_install_image.sh [--restart] [install]     install the files next to this script
#   sh cml_install_image.sh [--restart] rollback ID   restore what the last installation replaced
#   sh cml_install_image.sh [--restart] remove ID     remove the node
#   sh cml_install_image.sh recover                   complete what was interrupted (every other call does so first)
#
# The script can be in any folder that belongs to root or to the user who calls sudo, and that nobody else can write to.
# Next to it must be SHA256SUMS and the files that it lists, three for each node and no others:
#
#   node-definitions/ID.yaml  virl-base-images/ID/ID.yaml  virl-base-images/ID/ID.tar.gz
#
# Nothing is read as root that somebody else could replace meanwhile: files are copied into a folder of root, links are
# not followed, and it is the copies that are checked.
#
# How an installation is atomic: All files are staged next to their target, on the same file system, and their digests
# are checked there. Then a state file is written; from that moment on the new node is the one that will be in place.
# Then the files are moved by rename. If the script is killed before the state file is written, the old node stays.
# If it is killed afterwards, the state file says which moves remain: a guard process makes them at once, or the next
# call does. After a failure or a signal the moves are made backwards instead.

set -eu
umask 022
# Ranges of letters, and the messages of other programs, mean the same everywhere.
LC_ALL=C
export LC_ALL

IMAGES=/var/lib/libvirt/images
NODES=$IMAGES/node-definitions
BASES=$IMAGES/virl-base-images
# CML does not read a folder of this name. It is on the same file system as those that CML reads.
KEEP=$IMAGES/.cml-nodes
# Root's copy of SHA256SUMS. No ID begins with a dot.
SUMS=$KEEP/.SHA256SUMS
OWNER=libvirt-qemu:virl2

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
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
	mv -fT "$k/state.part" "$k/state"
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
		cp -pP "$NODES/$ID.yaml" "$k/next/node.yaml"
		: >"$k/next/has-node"
	fi
	if [ -e "$BASES/$ID" ]; then : >"$k/next/has-image"; fi
}

# Puts `new` in place. Each move is made only if it has not been made already. The target of a move is never a folder to
# move into (`-T`). What could be needed after a power failure is removed only when everything before is on the disk.
forward() {
	k=$(folder)
	step take-old-image
	if [ -e "$k/next/has-image" ] && [ ! -e "$k/next/image" ]; then mv -T "$BASES/$ID" "$k/next/image"; fi
	step put-image
	if [ -e "$k/new/image" ]; then mv -T "$k/new/image" "$BASES/$ID"; fi
	step put-node-definition
	if [ -e "$k/new/node.yaml" ]; then
		mv -fT "$k/new/node.yaml" "$NODES/$ID.yaml"
	elif [ ! -e "$k/new/has-node" ] && [ -d "$k/new" ]; then
		rm -f "$NODES/$ID.yaml"
	fi
	# The new node is in place now, and is not moved back any more.
	THROUGH=yes
	step keep-old
	if [ -d "$k/next" ]; then
		sync -f "$k"
		rm -rf "$k/old"
		step keep-old-halfway
		mv -T "$k/next" "$k/old"
	fi
	sync -f "$k"
	step forget-state
	forget_state
	step sweep
	rm -rf "$k/new"
}

# Moves back what `forward` has moved so far, the last move first.
backward() {
	k=$(folder)
	step back
	if [ -e "$k/next/has-node" ]; then
		cp -pP "$k/next/node.yaml" "$k/node.part"
		mv -fT "$k/node.part" "$NODES/$ID.yaml"
	else
		rm -f "$NODES/$ID.yaml"
	fi
	step back-image
	if [ -e "$k/next/has-image" ]; then
		if [ -e "$k/next/image" ]; then
			if [ -e "$BASES/$ID" ]; then mv -T "$BASES/$ID" "$k/new/undone"; fi
			step back-image-halfway
			mv -T "$k/next/image" "$BASES/$ID"
		fi
	elif [ -e "$BASES/$ID" ]; then
		rm -rf "$k/new/undone"
		mv -T "$BASES/$ID" "$k/new/undone"
	fi
	sync -f "$k"
	step back-forget-state
	forget_state
	step back-sweep
	rm -rf "$k/new" "$k/next"
}

# All moves are on the disk by now. What the state refers to is removed only when the state is gone from the disk too.
forget_state() {
	rm -f "$k/state"
	sync -f "$k"
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

# The same rules as in the program, definitions/src/id.rs.
check_id() {
	case $1 in
	'' | .* | -* | *[!A-Za-z0-9._-]*) die "\`$1\` is not a node ID" ;;
	esac
	[ "${#1}" -le 200 ] || die "\`$1\` is too long for a node ID"
	case $(printf '%s' "$1" | tr '[:upper:]' '[:lower:]') in
	lock | cml_install_image.sh | sha256sums | *.part | *.new)
		die "\`$1\` cannot be a node ID: files of this script have such names" ;;
	esac
}

# Neither may be a link: what it points to would be replaced.
check_targets() {
	[ ! -L "$BASES/$ID" ] || die "$BASES/$ID is a symbolic link; replace it by a folder first"
	[ ! -L "$NODES/$ID.yaml" ] || die "$NODES/$ID.yaml is a symbolic link; replace it by a file first"
}

# Whether others than the owner can write.
is_shared() { [ $((0$(stat -c %a -- "$1") & 022)) -ne 0 ]; }

is_sticky() { [ $((0$(stat -c %a -- "$1") & 01000)) -ne 0 ]; }

# A file or folder that only root, or the user who called sudo, can replace.
check_own() {
	owner=$(stat -c %u -- "$1")
	[ "$owner" = 0 ] || [ "$owner" = "${SUDO_UID:-0}" ] ||
		die "$1 belongs to another user, who could change it; copy everything to a folder of your own"
}

check_unshared() {
	[ ! -L "$1" ] || die "$1 is a symbolic link"
	check_own "$1"
	! is_shared "$1" || die "others can write to $1; take that right from them (chmod -R go-w) and look at the files"
}

# In a folder such as /tmp (sticky), nobody can replace what belongs to others.
check_folders_above() {
	path=$1
	while [ "$path" != / ]; do
		path=$(dirname -- "$path")
		check_own "$path"
		! is_shared "$path" || is_sticky "$path" ||
			die "others can write to $path, and replace $1; copy everything to a folder of your own"
	done
}

check_here() {
	case $HERE in
	*[[:cntrl:]]*) die "the name of this folder has control characters" ;;
	esac
	check_unshared "$HERE"
	check_folders_above "$HERE"
	check_unshared "$SCRIPT"
}

# A folder next to this script.
check_inner() {
	[ -d "$1" ] || die "$1 is missing"
	check_unshared "$1"
}

# Copies a file to a folder of root's, without following a link.
take() {
	[ -e "$1" ] || [ -L "$1" ] || die "$1 is missing"
	if [ -L "$1" ] || [ ! -f "$1" ]; then die "$1 is not a regular file"; fi
	cp -P -- "$1" "$2"
	if [ -L "$2" ] || [ ! -f "$2" ]; then die "$1 is not a regular file"; fi
}

# What is kept between runs is root's alone.
make_keep() {
	[ ! -L "$KEEP" ] || die "$KEEP is a symbolic link; remove it"
	mkdir -p "$KEEP"
	[ "$(stat -c %u "$KEEP")" = 0 ] || die "$KEEP does not belong to root: remove it, or chown -R root: $KEEP"
	! is_shared "$KEEP" || die "others than root can write to $KEEP: chmod go-w $KEEP"
}

is_kept_copy() { [ "$HERE" = "$(CDPATH='' cd -- "$KEEP" && pwd -P)" ]; }

lock() {
	exec 9>"$KEEP/lock"
	# The guard of an earlier run may be about to end.
	flock -w 5 9 || die "another installation is running; try again when it has ended"
}

# --- install --------------------------------------------------------------------------------------------------------

# Copies SHA256SUMS, and sets `ids`. Every line is the digest of a file that an ID has; nothing else may be listed.
read_sums() {
	[ -e "$HERE/SHA256SUMS" ] || die "there is no $HERE/SHA256SUMS"
	check_unshared "$HERE/SHA256SUMS"
	rm -f "$SUMS"
	take "$HERE/SHA256SUMS" "$SUMS"
	[ "$(stat -c %s "$SUMS")" -le 100000 ] || die "SHA256SUMS has more than 100000 bytes"
	ids=
	count=0
	while IFS= read -r line || [ -n "$line" ]; do
		count=$((count + 1))
		[ "$count" -le 300 ] || die "SHA256SUMS has more than 300 lines"
		read_sum "$line"
	done <"$SUMS"
	[ -n "$ids" ] || die "SHA256SUMS lists no node definition"
}

read_sum() {
	digest=${1%%  *}
	name=${1#"$digest"  }
	case $digest in
	*[!0-9a-f]*) die "line $count of SHA256SUMS does not begin with a digest and two blanks" ;;
	esac
	[ "${#digest}" -eq 64 ] || die "line $count of SHA256SUMS does not begin with a digest and two blanks"
	id=${name##*/}
	case $id in
	*.yaml) id=${id%.yaml} ;;
	*) id=${id%.tar.gz} ;;
	esac
	case $name in
	"node-definitions/$id.yaml")
		check_id "$id"
		ids="$ids $id"
		;;
	"virl-base-images/$id/$id.yaml" | "virl-base-images/$id/$id.tar.gz") check_id "$id" ;;
	*) die "line $count of SHA256SUMS does not name a file of a node" ;;
	esac
}

# The digest of a path in SHA256SUMS.
wanted() {
	while read -r digest name || [ -n "$digest" ]; do
		if [ "$name" = "$1" ]; then
			printf '%s\n' "$digest"
			return
		fi
	done <"$SUMS"
}

has_sum() { [ -f "$1" ] && [ ! -L "$1" ] && [ "$(sha256sum <"$1" | cut -c 1-64)" = "$2" ]; }

check_sum() { has_sum "$1" "$(wanted "$2")" || die "$2 is damaged: its digest is not the one in SHA256SUMS"; }

# Whether a definition has `key: value` at its top level.
says() {
	KEY=$2: VALUE=$3 awk '
		index($0, ENVIRON["KEY"]) == 1 {
			value = substr($0, length(ENVIRON["KEY"]) + 1)
			gsub(/^ *["\047]?|["\047]? *$/, "", value)
			if (value "" == ENVIRON["VALUE"] "") found = 1
		}
		END { exit !found }' <"$1"
}

# Where the archive is: next to this script, or installed already.
find_archive() {
	if [ -e "$HERE/$archive" ] || [ -L "$HERE/$archive" ]; then
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
	for path in "$HERE/node-definitions" "$HERE/virl-base-images" "$HERE/virl-base-images/$ID"; do
		check_inner "$path"
	done
	find_archive
}

# Whether the copies of the definitions are those of this node, and no other file has its ID.
check_definitions() {
	says "$k/new/node.yaml" id "$ID" || die "$HERE/$node is not the definition of $ID"
	says "$k/new/image/$ID.yaml" id "$ID" || die "$HERE/$image is not the definition of $ID"
	says "$k/new/image/$ID.yaml" node_definition_id "$ID" ||
		die "$HERE/$image names another node definition than $ID"
	says "$k/new/image/$ID.yaml" disk_image "$ID.tar.gz" || die "$HERE/$image names another archive than $ID.tar.gz"
	for file in "$NODES"/*.yaml; do
		[ "$file" = "$NODES/$ID.yaml" ] || [ ! -f "$file" ] || ! says "$file" id "$ID" ||
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
	take "$HERE/$node" "$k/new/node.yaml"
	take "$HERE/$image" "$k/new/image/$ID.yaml"
	check_sum "$k/new/node.yaml" "$node"
	check_sum "$k/new/image/$ID.yaml" "$image"
	check_definitions
	step stage-archive
	take "$from" "$k/new/image/$ID.tar.gz"
	: >"$k/new/has-node"
	: >"$k/new/has-image"
	step check-sums
	check_sum "$k/new/image/$ID.tar.gz" "$archive"
	step set-owner
	chmod 0644 "$k/new/node.yaml" "$k/new/image/$ID.yaml" "$k/new/image/$ID.tar.gz"
	chmod 0755 "$k/new/image"
	# The folder last: from then on its owner can put links into it.
	chown -h "$OWNER" "$k/new/node.yaml" "$k/new/image/$ID.yaml" "$k/new/image/$ID.tar.gz" "$k/new/image"
}

install_node() {
	THROUGH=no
	check_targets
	check_files
	check_space
	say "staging $ID"
	step stage
	prepare
	stage
	swap
	say "installed $ID"
}

# Everything is installed: the files next to this script, the script and their folder are not needed any more.
clear_away() {
	step clear-away
	for id in $ids; do
		image=$HERE/virl-base-images/$id
		rm -f "$HERE/node-definitions/$id.yaml" "$image/$id.yaml" "$image/$id.tar.gz"
		rmdir "$image" 2>/dev/null || :
	done
	rm -f "$SUMS" "$HERE/SHA256SUMS" "$SCRIPT"
	rmdir "$HERE/virl-base-images" "$HERE/node-definitions" 2>/dev/null || :
	case $HERE in
	*/cml-nodes-*) rmdir "$HERE" 2>/dev/null || : ;;
	esac
}

install_all() {
	read_sums
	# IDs have no blanks and nothing that the shell would expand.
	for ID in $ids; do install_node; done
	ID=
	clear_away
}

# --- rollback, remove -----------------------------------------------------------------------------------------------

rollback_node() {
	k=$(folder)
	check_targets
	[ -d "$k/old" ] || die "what $ID replaced is not kept on this server"
	prepare
	step stage
	# Hard links: `old` stays complete until everything is moved.
	cp -al "$k/old/." "$k/new/"
	swap
	say "rolled back $ID"
}

remove_node() {
	check_targets
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
	make_keep
	if [ "${1:-} ${2:-}" = "recover --when-free" ]; then
		exec 9>"$KEEP/lock"
		flock 9
		recover_all
		return
	fi
	# The folders above $KEEP are CML's.
	is_kept_copy || check_here
	lock
	trap ended EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	# The program that started this script may be gone; that is no reason to stop halfway.
	trap '' PIPE
	recover_all
	# The guard runs this copy; an administrator can use it for a rollback by hand.
	if ! is_kept_copy; then
		take "$SCRIPT" "$KEEP/script.part"
		mv -fT "$KEEP/script.part" "$KEEP/cml_install_image.sh"
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
