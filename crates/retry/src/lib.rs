//! Asking again: pauses between tries, and when to give up.

use std::time::{Duration, Instant};

/// How often something is tried again, and how long the pauses are. A copy starts again with the first pause.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    until: Until,
    pause: Duration,
    longest: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Tries(u32),
    Time(Instant),
}

impl Retry {
    /// Up to `tries` times more, with a pause before each.
    pub fn times(tries: u32, pause: Duration) -> Self {
        Self { until: Until::Tries(tries), pause, longest: pause }
    }

    /// Until `limit` from now, with a last try when it is over.
    pub fn within(limit: Duration, pause: Duration) -> Self {
        Self { until: Until::Time(Instant::now() + limit), pause, longest: pause }
    }

    /// Each pause is half as long again as the one before, up to `longest`.
    #[must_use]
    pub fn growing_to(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// Whether it is time to give up: then [`Self::pause`] would return false.
    pub fn is_exhausted(&self) -> bool {
        match self.until {
            Until::Tries(left) => left == 0,
            Until::Time(end) => Instant::now() >= end,
        }
    }

    /// Waits before the next try. Returns false, without waiting, if it is time to give up.
    pub async fn pause(&mut self) -> bool {
        self.pause_for(self.pause).await
    }

    /// The same, but this once it waits as long as the other side has asked for.
    pub async fn pause_for(&mut self, pause: Duration) -> bool {
        let pause = match &mut self.until {
            Until::Tries(0) => return false,
            Until::Tries(left) => {
                *left -= 1;
                pause
            }
            Until::Time(end) => match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return false,
                left => pause.min(left),
            },
        };
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 3 / 2).min(self.longest);
        true
    }

    /// The first answer that is not `passing`; when it is time to give up, the last one.
    pub async fn run_while<T>(mut self, passing: impl Fn(&T) -> bool, ask: impl AsyncFn() -> T) -> T {
        loop {
            let answer = ask().await;
            if !passing(&answer) || !self.pause().await {
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    async fn tries_until(wanted: u32, retry: Retry) -> u32 {
        let tries = Cell::new(0);
        let ask = async || {
            tries.set(tries.get() + 1);
            tries.get()
        };
        retry.run_while(|answer| *answer < wanted, ask).await
    }

    #[tokio::test]
    async fn it_is_tried_again_as_often_as_allowed_and_no_more() {
        assert_eq!(tries_until(1, Retry::times(5, SHORT)).await, 1);
        assert_eq!(tries_until(3, Retry::times(5, SHORT)).await, 3);
        assert_eq!(tries_until(100, Retry::times(5, SHORT)).await, 6);
        assert_eq!(tries_until(100, Retry::within(Duration::ZERO, SHORT)).await, 1);
    }

    #[tokio::test]
    async fn pauses_grow_to_the_longest_and_end_with_the_time() {
        let mut retry = Retry::within(SHORT * 20, SHORT).growing_to(SHORT * 2);
        while retry.pause().await {}
        assert_eq!(retry.pause, SHORT * 2);
    }
}
