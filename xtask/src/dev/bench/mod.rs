//! `cargo xtask dev bench`: what the project promises in numbers, measured on this machine, next to the
//! alternatives that it replaces. It prints each figure and its promise, and does not judge.

mod archive;
mod build;
mod figures;
mod node;
mod tool;
mod upload;

use anyhow::Result;
use clap::ValueEnum;

use crate::commands::args::{NodeArgs, RecipeArgs, number};
use crate::commands::session::Session;
use crate::dev::bench::upload::{by_api, by_ssh};

#[derive(clap::Args)]
pub struct Args {
    /// What to measure [default: everything; `build` takes many minutes]
    #[arg(value_enum)]
    what: Vec<What>,
    /// How many times to measure what is fast
    #[arg(long, default_value_t = 3, value_parser = number(1_u32..=100))]
    rounds: u32,
    /// The node to measure
    #[arg(long, default_value = "frr")]
    node: String,
    /// The variant to measure [default: the first that can be built here]
    #[arg(long)]
    variant: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// `save` against `docker save | gzip` and against the bare export
    Archive,
    /// Reading an archive whole with each layer compared, against unpacking it
    Read,
    /// The sizes of image and archive
    Size,
    /// A build without any cache, against one stage and plain `make`
    Build,
    /// The embedded engine's start, and a build on it without any cache, against Docker
    Engines,
    /// A build after a change to the node's entry script
    Rebuild,
    /// A running node: how fast it boots, and its memory
    Boot,
    /// `cargo xtask verify`
    Verify,
    /// `upload` over loopback: by ssh, against `scp`, and by the API
    Upload,
    /// `cargo xtask list`
    List,
    /// `cargo xtask lint` of 1,000 definitions
    Lint,
    /// Compiling this program
    Compile,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let recipe = RecipeArgs { variant: args.variant, yes: true, ..RecipeArgs::default() };
    let node = NodeArgs { node: Some(args.node), recipe };
    let what = if args.what.is_empty() { What::value_variants().to_vec() } else { args.what };
    let mut figures = Vec::new();
    for what in what {
        match what {
            What::Archive => figures.extend(archive::against_gzip(session, &node, args.rounds).await?),
            What::Read => figures.extend(archive::reading(session, &node, args.rounds).await?),
            What::Size => figures.extend(archive::sizes(session, &node).await?),
            What::Build => figures.extend(build::against_one_stage(session, &node).await?),
            What::Engines => figures.extend(build::on_both_engines(session, &node, args.rounds).await?),
            What::Rebuild => figures.extend(build::after_a_change(session, &node).await?),
            What::Boot => figures.extend(node::boots(session, &node, args.rounds).await?),
            What::Verify => figures.push(node::verify(session, &node).await?),
            What::Upload => {
                figures.extend(by_ssh::measure(session, &node, args.rounds).await?);
                figures.extend(by_api::measure(session, &node, args.rounds).await?);
            }
            What::List => figures.push(tool::list(session, args.rounds).await?),
            What::Lint => figures.push(tool::lint(session, args.rounds).await?),
            What::Compile => figures.push(tool::compile(session).await?),
        }
    }
    figures::print(session.ui, &figures)
}
