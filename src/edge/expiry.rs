//! Looks once a day how long the certificates that are shown are good for, and says so in the log: a warning below
//! thirty days, an error below seven. For the life of the process.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::config::{DAYS_ALERTED, DAYS_WARNED, Tls, days_left};

const EVERY: Duration = Duration::from_hours(24);

/// Tells the watch what is shown from now on.
#[derive(Debug)]
pub(super) struct Watch(Sender<Option<Tls>>);

impl Watch {
    /// Begins to watch, at once.
    pub(super) fn start(tls: Option<Tls>) -> std::io::Result<Self> {
        let (sender, shown) = channel();
        std::thread::Builder::new().name("expiry".to_owned()).spawn(move || watch(tls, &shown))?;
        Ok(Self(sender))
    }

    pub(super) fn shows(&self, tls: Option<Tls>) {
        // A watch that has ended has nobody to tell either.
        let _ = self.0.send(tls);
    }
}

fn watch(mut tls: Option<Tls>, shown: &Receiver<Option<Tls>>) {
    loop {
        for certificate in tls.iter().flat_map(|tls| &tls.certificates) {
            let (file, days) = (certificate.file.display(), days_left(certificate.not_after));
            match Word::of(days) {
                Word::Alert => {
                    tracing::error!(%file, days, "the certificate expires within a week; renew it and send SIGHUP");
                }
                Word::Warning => {
                    tracing::warn!(%file, days, "the certificate expires soon; renew it and send SIGHUP");
                }
                Word::Nothing => tracing::debug!(%file, days, "the certificate is good"),
            }
        }
        match shown.recv_timeout(EVERY) {
            Ok(other) => tls = other,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What so many days are worth.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    Warning,
    Alert,
}

impl Word {
    const fn of(days: i64) -> Self {
        if days < DAYS_ALERTED {
            Self::Alert
        } else if days < DAYS_WARNED {
            Self::Warning
        } else {
            Self::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_worth_a_warning_and_a_week_an_alert() {
        for (days, word) in [
            (365, Word::Nothing),
            (30, Word::Nothing),
            (29, Word::Warning),
            (7, Word::Warning),
            (6, Word::Alert),
            (-1, Word::Alert),
        ] {
            assert_eq!(Word::of(days), word, "{days}");
        }
    }
}
