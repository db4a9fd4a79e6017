//! The controller that stands in for CML's in the tests, to try `cargo xtask upload` and `builder` on by hand:
//!
//! ```console
//! $ cargo run --locked --package xtask --example stand-in-controller
//! ```
//!
//! It prints where it listens and who may log in, as lines of a `.virlrc`, and the fingerprint of its certificate, and
//! goes when its input ends (Ctrl-D).

#![allow(clippy::expect_used, reason = "a panic is how a stand-in reports")]
#![allow(clippy::print_stdout, reason = "it runs without the program")]

#[path = "../tests/it/common/cml/controller.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod controller;
#[path = "../tests/it/common/cml/labs.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod labs;

pub const USER: &str = "admin";
pub const PASSWORD: &str = "stand-in";

fn main() {
    let controller = controller::Controller::start();
    controller.add_image("ubuntu-24-04-20250503", "ubuntu");
    println!("VIRL2_URL={}", controller.url());
    println!("VIRL2_USER={USER}");
    println!("VIRL2_PASS={PASSWORD}");
    println!("FINGERPRINT={}", controller.fingerprint);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("an input");
}
