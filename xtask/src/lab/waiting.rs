//! Shows what is being waited for, and for how long that is done.

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use ui::Ui;

/// How long a command in a node may take, unless its step says that it may take longer.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// What takes longer is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(5);

/// Waits for `work`. If it takes long, the terminal shows what it is.
pub(super) async fn shown<T>(ui: &Ui, what: impl Display, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(SHOWN_AFTER, &mut work).await {
        return done;
    }
    let spinner = ui.spinner(format!("waiting for {what}"));
    let done = work.await;
    spinner.finish_and_clear();
    done
}
