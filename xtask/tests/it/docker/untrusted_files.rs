//! `cml_install_image.sh` next to files that somebody else wrote, or could replace while root reads them.

use super::install_script::{ID, SUM_AGAIN, install, lay, with};
use crate::common::cml::host::Host;
use cml::ssh::SCRIPT;

const FOLDER: &str = "/var/tmp/cml-nodes-new";

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A shell script that sends a bundle and then changes it, in its folder.
fn sent(change: &str) -> String {
    format!("rm -rf {FOLDER}; {}\ncd {FOLDER}; {}", lay(FOLDER, "new", SCRIPT), change.replace("ID", ID))
}

#[track_caller]
fn is_refused(host: &Host, call: &str, said: &str) {
    let (code, text) = host.run(call);
    assert!(code == 1 && text.contains(said), "expected `{said}`: {text}");
}

#[test]
fn sums_that_name_anything_but_files_of_nodes_are_refused_and_nothing_is_removed() {
    let host = Host::start();
    host.sh(&install("old"));
    let old = host.held(ID);
    let (long, other) = ("x".repeat(201), "does not name a file of a node");
    let names = [
        ("node-definitions/../../victim", other),
        ("node-definitions/../../victim.yaml", other),
        ("virl-base-images/tiny-1-0/../../../victim", other),
        ("virl-base-images/../../victim/victim.yaml", other),
        ("/var/tmp/victim", other),
        ("../victim", other),
        ("victim", other),
        ("node-definitions/", other),
        ("node-definitions/.yaml", "is not a node ID"),
        ("node-definitions/...yaml", "is not a node ID"),
        ("node-definitions/-rf.yaml", "is not a node ID"),
        ("node-definitions/a b.yaml", "is not a node ID"),
        ("node-definitions/a\tb.yaml", "is not a node ID"),
        ("node-definitions/*.yaml", "is not a node ID"),
        ("node-definitions/\u{fc}.yaml", "is not a node ID"),
        ("node-definitions/lock.yaml", "cannot be a node ID"),
        ("virl-base-images/script.part/script.part.yaml", "cannot be a node ID"),
        (&format!("node-definitions/{long}.yaml"), "is too long for a node ID"),
        ("virl-base-images/one/two.yaml", other),
        ("", other),
    ];
    let lines = names.map(|(name, said)| (format!("{ZEROS}  {name}\n"), said));
    let wrong = "does not begin with a digest and two blanks";
    let more = [
        (format!("{ZEROS} *node-definitions/{ID}.yaml\n"), wrong),
        (format!("{}  node-definitions/{ID}.yaml\n", &ZEROS[1..]), wrong),
        (format!("{}g  node-definitions/{ID}.yaml\n", &ZEROS[1..]), wrong),
        ("\n".to_owned(), wrong),
        (format!("{ZEROS}  node-definitions/{ID}.yaml\n").repeat(300), "more than 300 lines"),
        (format!("{ZEROS}  {}", "x".repeat(100_000)), "more than 100000 bytes"),
    ];
    for (line, said) in lines.into_iter().chain(more) {
        host.sh(&sent("for file in ../victim ../victim.yaml ../../victim; do echo mine >$file; done"));
        host.sh(&format!("cat >>{FOLDER}/SHA256SUMS <<'END'\n{line}\nEND\n"));
        is_refused(&host, &format!("sh {FOLDER}/cml_install_image.sh"), said);
        assert_eq!(host.sh("cat /var/tmp/victim /var/tmp/victim.yaml /var/victim"), "mine\n".repeat(3), "{line}");
        assert_eq!(host.held(ID), old, "{line}");
    }
}

#[test]
fn links_and_files_that_are_none_are_not_followed() {
    let host = Host::start();
    host.sh(&install("old"));
    let old = host.held(ID);
    host.sh("mkdir /root/own; cp -a /etc/shadow /root/own/tiny-1-0.yaml");
    let (file, link) = ("is not a regular file", "is a symbolic link");
    for (change, said) in [
        ("ln -sf /etc/shadow node-definitions/ID.yaml", file),
        ("ln -sf /etc/shadow virl-base-images/ID/ID.yaml", file),
        ("ln -sf /etc/shadow virl-base-images/ID/ID.tar.gz", file),
        ("ln -sf /root/nothing virl-base-images/ID/ID.tar.gz", file),
        ("ln -sf /etc/shadow SHA256SUMS", link),
        ("rm node-definitions/ID.yaml; mkfifo node-definitions/ID.yaml", file),
        ("rm SHA256SUMS; mkfifo SHA256SUMS", file),
        ("rm -r node-definitions; ln -s /root/own node-definitions", link),
        ("rm -r virl-base-images/ID; ln -s /root/own virl-base-images/ID", link),
        ("mv virl-base-images ../moved; ln -s ../moved virl-base-images", link),
    ] {
        host.sh(&format!("rm -rf /var/tmp/moved; {}", sent(change)));
        is_refused(&host, &format!("timeout 60 sh {FOLDER}/cml_install_image.sh"), said);
        assert_eq!(host.held(ID), old, "{change}");
        assert_eq!(host.sh("ls /root/own; ls /etc/shadow"), "tiny-1-0.yaml\n/etc/shadow\n", "{change}");
    }
    // Nor those where CML reads, which a user of CML's can write.
    let images = "/var/lib/libvirt/images";
    host.sh(&format!(
        "{}; mv {images}/node-definitions/{ID}.yaml /root/own; \
        ln -s /root/own/{ID}.yaml {images}/node-definitions/{ID}.yaml",
        sent(":")
    ));
    for words in [String::new(), format!("remove {ID}"), format!("rollback {ID}")] {
        is_refused(&host, &format!("sh {FOLDER}/cml_install_image.sh {words}"), link);
    }
}

#[test]
fn a_folder_in_which_others_can_write_is_refused() {
    let host = Host::start();
    host.sh("echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin");
    let script = "cml_install_image.sh";
    for (place, change, said) in [
        ("/var/tmp/x", "chown guest: .", "belongs to another user"),
        ("/var/tmp/x", "chmod 775 .", "others can write to /var/tmp/x; take that right from them"),
        ("/var/tmp/x", "chmod 757 .", "others can write to /var/tmp/x;"),
        ("/var/tmp/x", "chmod 1777 .", "others can write to /var/tmp/x;"),
        ("/var/tmp/x", "chmod 775 node-definitions", "others can write to /var/tmp/x/node-definitions"),
        ("/var/tmp/x", "chmod 775 virl-base-images/ID", "others can write to /var/tmp/x/virl-base-images/tiny-1-0"),
        ("/var/tmp/x", "chown guest: virl-base-images", "belongs to another user"),
        ("/var/tmp/x", "chmod 666 SHA256SUMS", "others can write to /var/tmp/x/SHA256SUMS"),
        ("/var/tmp/x", "chown guest: SHA256SUMS", "belongs to another user"),
        ("/var/tmp/x", "chmod 666 cml_install_image.sh", "others can write to /var/tmp/x/cml_install_image.sh"),
        ("/srv/shared/x", "chmod 777 ..", "others can write to /srv/shared, and replace /srv/shared/x"),
        ("/srv/shared/x/y", "chmod 777 ../..", "others can write to /srv/shared"),
        ("/srv/shared/x", "chown guest: ..", "/srv/shared belongs to another user"),
        ("/home/guest/x", ":", "/home/guest belongs to another user"),
        ("/home/admin/x", ":", "/home/admin belongs to another user"),
    ] {
        let laid = format!("rm -rf /var/tmp/x /srv/shared; {}\n", lay(place, "new", SCRIPT));
        host.sh(&format!("{laid} chown -R root: {place}; {}", change.replace("ID", ID)));
        is_refused(&host, &format!("sh {place}/{script}"), said);
        assert!(host.held(ID).is_none(), "{place}, {change}");
        assert_eq!(host.sh(&format!("ls {place}/SHA256SUMS")), format!("{place}/SHA256SUMS\n"));
    }
    host.sh("chown -R guest: /home/guest/x; chown -R admin: /home/admin/x");
    is_refused(&host, "su admin -c 'sudo sh /home/guest/x/cml_install_image.sh'", "belongs to another user");
    host.sh("su admin -c 'cd ~/x && sudo sh cml_install_image.sh'");
    assert!(host.held(ID).is_some());
    // A link to a folder is that folder.
    host.sh(&format!("{}; ln -s {FOLDER} /var/tmp/link; sh /var/tmp/link/{script}", sent(":")));
}

#[test]
fn what_is_replaced_after_it_was_checked_is_not_installed() {
    let host = Host::start();
    host.sh(&install("new"));
    let new = host.held(ID);
    host.sh(&install("old"));
    let evil = "for file in node-definitions/ID.yaml virl-base-images/ID/ID.yaml; do echo evil >\"$HERE/$file\"; done; \
        printf '%064d  node-definitions/../../victim\\n' 0 >>\"$HERE/SHA256SUMS\"";
    host.sh(&lay(FOLDER, "new", &with("stage-archive", &evil.replace("ID", ID))));
    host.sh(&format!("echo mine >/var/victim; sh {FOLDER}/cml_install_image.sh; cat /var/victim"));
    assert_eq!(host.held(ID), new);
}

#[test]
fn a_dot_in_an_id_is_a_dot() {
    let host = Host::start();
    // By a pattern, the first line would be that of the second node, and the definition there would have its ID.
    let both = "
        for id in tiny.1-0 tinyx1-0; do
            mkdir virl-base-images/$id
            echo \"id: '$id'  \" >node-definitions/$id.yaml
            printf 'id: \"%s\"\\nnode_definition_id: %s\\ndisk_image: %s.tar.gz\\n' $id $id $id \
                >virl-base-images/$id/$id.yaml
            echo $id >virl-base-images/$id/$id.tar.gz
        done
        rm -r node-definitions/ID.yaml virl-base-images/ID";
    host.sh(&format!("{}{SUM_AGAIN}; tac SHA256SUMS >sums; cat sums >SHA256SUMS; rm sums", sent(both)));
    host.sh(&format!("sh {FOLDER}/cml_install_image.sh"));
    for id in ["tiny.1-0", "tinyx1-0"] {
        assert!(host.held(id).unwrap().image_definition.contains(&format!("disk_image: {id}.tar.gz")));
    }
    assert_eq!(host.left_in_var_tmp(), "");
}

#[test]
fn names_of_the_scripts_own_files_are_no_ids() {
    let host = Host::start();
    host.sh(&install("new"));
    let script = "/var/lib/libvirt/images/.cml-nodes/cml_install_image.sh";
    for id in ["lock", "LOCK", "script.part", "cml_install_image.sh", "SHA256SUMS", "x.part", "x.new"] {
        for word in ["remove", "rollback"] {
            is_refused(&host, &format!("sh {script} {word} {id}"), "files of this script have such names");
        }
    }
    for id in ["", ".", "..", "-x", "../x", "a/b", "'a b'", "'a;b'", "'*'", "'$(id)'"] {
        is_refused(&host, &format!("sh {script} remove {id}"), "is not a node ID");
    }
    host.sh(&format!("sh {script} remove {ID}"));
}
