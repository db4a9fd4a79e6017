//! The end-to-end tests: the program as a user runs it. They are one crate, so that `common` is compiled and linked
//! once.
//!
//! The folder of a test says which engines it can use. `cargo xtask dev ci` selects by it, so that a test that an
//! engine can't serve is not run there at all:
//!
//! | folder | `XTASK_ENGINE` | Docker |
//! | --- | --- | --- |
//! | `no_engine` | is not looked at | is not needed |
//! | `any_engine` | names the engine that builds and runs the nodes, whichever it is | is not needed |
//! | `docker_server` | names that engine | runs the server to which nodes are uploaded |
//! | `docker` | is `docker`, or not looked at | runs private engines, servers and what Docker alone does |
//!
//! Inside of these, `waiting` has tests that mostly wait, so that many of them run side by side, and `long` has those
//! of which another engine would show nothing new: hundreds of uploads of one archive. Other engines have them on
//! demand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a panic is how a test reports")]

mod common;

mod no_engine {
    mod credentials;
    mod docs;
    mod hanging_peers;
    mod hostile_archives;
    mod hostile_servers;
    mod hostile_templates;
    mod json;
    mod links;
    mod manifests;
    mod server_answers;
    mod server_reversals;
    mod ssh_questions;
    mod tidy;
    mod unprintable;
    mod uploads;
}

mod any_engine {
    mod a_node_is_data;
    pub mod any_image;
    mod archives;
    mod failing_builds;
    mod host_access;
    mod interrupted;
    mod lax_spellings;
    mod links;
    mod lint;
    mod new;
    mod prebuilt;
    mod real_data;
    mod sbom;
    mod secrets;
    mod variants;
    mod verify;
    mod virl2_client;
    mod wrong_input;

    mod waiting {
        mod builder;
        mod prune;
        mod shared_nodes;
        mod upload_api;

        mod long {
            mod upload_faults;
        }
    }
}

mod docker_server {
    mod hostile_addresses;
    mod upload_real;

    mod long {
        mod upload_ssh;
    }
}

mod docker {
    mod builder_machine;
    mod choosing_an_engine;
    mod embedded;
    mod engines;
    mod incomplete_machine;
    mod install_script;
    mod lost_engine;
    mod power_failure;
    mod registry;
    mod stubborn_containers;
    mod untrusted_files;

    mod waiting {
        mod addresses;
    }
}
