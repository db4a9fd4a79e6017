//! `cargo xtask`: see `cli.rs` for what it understands, `README.md` for what it is for.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::cli::main()
}
