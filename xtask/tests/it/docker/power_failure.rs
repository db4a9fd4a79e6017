//! `cml_install_image.sh` when the power fails: between two `sync`s a disk may have any of the changes, not only the
//! first ones.

use super::install_script::{ID, install, lay, with, without_guard};
use crate::common::cml::host::Host;
use cml::ssh::SCRIPT;

const SCRIPT_OF_NEW: &str = "/var/tmp/cml-nodes-new/cml_install_image.sh";

/// Wraps each program that changes files: a wrapper counts and logs what was called, and kills the script after the
/// call `CUT`. `sync` also keeps a copy of what is on the disk by then.
const WRAPPERS: &str = r#"
mkdir -p /run/cut
for name in sync mv rm cp mkdir chmod chown; do
	cat >/run/cut/$name <<END
#!/bin/sh
/usr/bin/$name "\$@"
code=\$?
[ $name != sync ] || { /usr/bin/rm -rf /run/disk; /usr/bin/cp -a /var/lib/libvirt/images /run/disk; }
echo "$name \$*" >>/run/calls
[ "\$(wc -l </run/calls)" != "\${CUT:-}" ] || kill -9 \$PPID
exit \$code
END
	chmod 755 /run/cut/$name
done
"#;

/// Cuts a call of the script (`$1`, with its arguments) after each of its commands. Each time there are four disks: one
/// with all changes, one with none since the last `sync`, one with the last change alone, and one on which that, if
/// it removes folders, has come only as far as the files that say what belongs to a node. From each of them the next
/// call must make a whole node, as in /run/before, /run/after or /run/new.
const EVERY_CUT: &str = r#"
images=/var/lib/libvirt/images
disk_is() { rm -rf $images/* $images/.cml-nodes && cp -a "$1/." $images/; }
begin() {
	disk_is /run/before
	rm -rf /run/disk /run/calls /run/once-* /var/tmp/*
	cp -a /run/before /run/disk
	cp -a /run/sent/. /var/tmp/
}
is_whole() {
	for one in before after new; do
		! diff -r /run/$one/node-definitions $images/node-definitions >/dev/null ||
			! diff -r /run/$one/virl-base-images $images/virl-base-images >/dev/null || return 0
	done
	return 1
}
cut_at() {
	begin
	CUT=$1 PATH=/run/cut:$PATH sh "$script" $words >/dev/null 2>&1 && return 1
	last=$(tail -n 1 /run/calls)
	[ "$(wc -l </run/calls)" = "$1" ] || return 1
	rm -rf /run/all
	cp -a $images /run/all
}
script=$1
words=${2:-}
begin
rm -f /run/calls
PATH=/run/cut:$PATH sh "$script" $words >/dev/null 2>&1
mv /run/calls /run/calls.whole
rm -rf /run/after
cp -a $images /run/after
n=1
while cut_at $n; do
	for disk in all none last part; do
		case $disk in all) disk_is /run/all ;; *) disk_is /run/disk ;; esac
		case "$disk $last" in
		last*) (cd / && $last 2>/dev/null) ;;
		"part rm -rf "*) for folder in ${last#rm -rf }; do rm -f "$folder"/has-*; done ;;
		esac
		sh /run/plain/cml_install_image.sh recover >/dev/null || echo "cannot recover"
		is_whole || { echo "cut after $n: $last; disk: $disk"; find $images -type f; }
		[ -z "$(ls -d $images/.cml-nodes/*/new $images/.cml-nodes/*/next $images/.cml-nodes/*/state 2>/dev/null)" ] ||
			echo "left over after $n: $last; disk: $disk"
	done
	n=$((n + 1))
done
echo "all $n cuts are made"
cat /run/calls.whole
"#;

/// A host with both programs, on which `old` is installed, and `new` is sent with this script.
fn host_with_old_and(script: &str) -> Host {
    let host = Host::start();
    host.sh(&install("older"));
    host.sh(&install("old"));
    host.sh(WRAPPERS);
    host.sh(&format!("cat >/run/every-cut <<'SCRIPT'\n{EVERY_CUT}\nSCRIPT\n"));
    host.sh(&lay("/run/plain", "plain", SCRIPT));
    host.sh("cp -a /var/lib/libvirt/images /run/before");
    host.sh(&install("new"));
    host.sh("cp -a /var/lib/libvirt/images /run/new");
    host.sh(&lay("/var/tmp/cml-nodes-new", "new", script));
    host.sh("cp -a /var/tmp /run/sent");
    host
}

/// Cuts `words` of the script everywhere. Returns the calls of the uninterrupted run.
#[track_caller]
fn cut_everywhere(host: &Host, words: &str) -> Vec<String> {
    let said = host.sh(&format!("sh /run/every-cut {SCRIPT_OF_NEW} '{words}' 2>&1"));
    let (bad, calls) = said.split_once("all ").expect("it ends");
    assert!(bad.is_empty(), "{words}: {bad}\n{calls}");
    let (made, calls) = calls.split_once(" cuts are made\n").unwrap();
    let calls: Vec<String> = calls.lines().map(str::to_owned).collect();
    assert!(calls.len() > 15 && made == (calls.len() + 1).to_string(), "{said}");
    calls
}

/// While a state is recorded, nothing that it may need is removed before a `sync`; nor is a state recorded before one.
#[track_caller]
fn syncs_come_first(calls: &[String]) {
    let at = |name: &str| format!("/var/lib/libvirt/images/.cml-nodes/{ID}/{name}");
    let is_sync = |call: &String| call.starts_with("sync ");
    let begun = calls.iter().position(|call| call.ends_with(&at("state"))).expect("a state is recorded");
    let mut checked = 0;
    for (index, call) in calls.iter().enumerate().skip(begun) {
        let removes = call.starts_with("rm ")
            && ["state", "old", "new", "next"].iter().any(|name| call.split(' ').any(|word| word == at(name)));
        let records = call.starts_with("mv ") && call.ends_with(&at("state"));
        if removes || records {
            assert!(is_sync(&calls[index - 1]), "no sync before `{call}`:\n{}", calls.join("\n"));
            checked += 1;
        }
    }
    assert!(checked >= 3 && is_sync(&calls[begun + 1]), "{calls:?}");
}

#[test]
fn an_installation_can_be_cut_after_every_command() {
    let host = host_with_old_and(&without_guard(SCRIPT));
    syncs_come_first(&cut_everywhere(&host, "install"));
}

#[test]
fn a_first_installation_can_be_cut_after_every_command() {
    let host = host_with_old_and(&without_guard(SCRIPT));
    host.sh(&format!("cd /run/before; rm -r node-definitions/* virl-base-images/* .cml-nodes/{ID}"));
    syncs_come_first(&cut_everywhere(&host, "install"));
}

#[test]
fn the_way_back_can_be_cut_after_every_command() {
    for step in ["put-image", "put-node-definition"] {
        let host = host_with_old_and(&without_guard(&with(step, "exit 7")));
        let calls = cut_everywhere(&host, "install");
        syncs_come_first(&calls);
        host.sh("diff -r /run/before/node-definitions /run/after/node-definitions");
    }
}

#[test]
fn a_rollback_and_a_removal_can_be_cut_after_every_command() {
    let host = host_with_old_and(&without_guard(SCRIPT));
    for words in ["rollback", "remove"] {
        syncs_come_first(&cut_everywhere(&host, &format!("{words} {ID}")));
    }
}
