//! `cargo xtask dev bench`: what the project promises in numbers, measured on this machine, side by
//! side with the ways it replaces. It judges nothing: it prints the figure and the promise.

mod archive;
mod build;
mod node;
mod tool;
mod upload;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::session::Session;

#[derive(clap::Args)]
pub struct Args {
    /// What to measure [default: everything; `build` takes many minutes]
    #[arg(value_enum)]
    what: Vec<What>,
    /// How often the short ones are measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// The node that is measured
    #[arg(long, default_value = "frr")]
    node: String,
    /// The variant that is measured [default: the first that can be built here]
    #[arg(long)]
    variant: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// `save` against `docker save | gzip` and against the bare export
    Archive,
    /// Image and archive
    Size,
    /// The image from nothing, against one stage and plain `make`
    Build,
    /// The embedded engine: its start, and the image from nothing, against Docker
    Engines,
    /// The image after a change to its entry script
    Rebuild,
    /// A running node: how fast it boots, and what it holds
    Boot,
    /// `cargo xtask verify`
    Verify,
    /// `upload` over loopback: by ssh, against `scp`, and by the API
    Upload,
    /// `cargo xtask list`
    List,
    /// `cargo xtask lint` of 1,000 definitions
    Lint,
    /// This program, from nothing
    Compile,
}

/// One line of the result.
struct Figure {
    what: String,
    measured: String,
    promised: String,
}

impl Figure {
    fn new(what: &str, measured: impl Into<String>, promised: &str) -> Self {
        Self { what: what.to_owned(), measured: measured.into(), promised: promised.to_owned() }
    }
}

/// # Errors
/// If something to measure fails.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let recipe = RecipeArgs { variant: args.variant, yes: true, ..RecipeArgs::default() };
    let node = NodeArgs { node: Some(args.node), recipe };
    let what = if args.what.is_empty() { What::value_variants().to_vec() } else { args.what };
    let mut figures = Vec::new();
    for what in what {
        match what {
            What::Archive => figures.extend(archive::against_gzip(session, &node, args.rounds).await?),
            What::Size => figures.extend(archive::sizes(session, &node).await?),
            What::Build => figures.extend(build::against_one_stage(session, &node).await?),
            What::Engines => figures.extend(build::on_both_engines(session, &node, args.rounds).await?),
            What::Rebuild => figures.extend(build::after_a_change(session, &node).await?),
            What::Boot => figures.extend(node::boots(session, &node, args.rounds).await?),
            What::Verify => figures.push(node::verify(session, &node).await?),
            What::Upload => figures.extend(upload::both_ways(session, &node, args.rounds).await?),
            What::List => figures.push(tool::list(session, args.rounds)?),
            What::Lint => figures.push(tool::lint(session, args.rounds)?),
            What::Compile => figures.push(tool::compile(session)?),
        }
    }
    print(session, &figures)
}

fn print(session: &Session<'_>, figures: &[Figure]) -> Result<()> {
    let width = |cell: fn(&Figure) -> &str, head: &str| {
        figures.iter().map(|figure| cell(figure).chars().count()).chain([head.len()]).max().unwrap_or_default()
    };
    let (what, measured) = (width(|figure| &figure.what, "WHAT"), width(|figure| &figure.measured, "MEASURED"));
    session.ui.result(format_args!("{:what$}  {:measured$}  PROMISED", "WHAT", "MEASURED"))?;
    for figure in figures {
        session.ui.result(format_args!("{:what$}  {:measured$}  {}", figure.what, figure.measured, figure.promised))?;
    }
    Ok(())
}

/// Several measurements of one thing.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, since: Instant) {
        self.0.push(since.elapsed());
    }

    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// `2.8 s (2.7 s to 3.0 s)`
    fn describe(&self) -> String {
        let (least, most) = (self.0.iter().min(), self.0.iter().max());
        match (least, most) {
            (Some(least), Some(most)) if self.0.len() > 1 => {
                format!("{} ({} to {})", precise(self.median()), precise(*least), precise(*most))
            }
            _ => precise(self.median()),
        }
    }
}

fn precise(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.2} s", time.as_secs_f64()) } else { text::duration(time) }
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}
