//! Where log lines go: the configuration's wish, under `RUST_LOG`, under the flags.

use std::io::{self, IsTerminal};
use std::path::Path;

use syslog_tracing::{Facility, Options, Syslog};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::LogFlags;
use crate::config::model::{LogConfig, LogFormat, LogTarget};

/// Starts logging, once per process. The error is one line.
pub fn start(config: &LogConfig, flags: &LogFlags) -> Result<(), String> {
    #[expect(clippy::disallowed_methods, reason = "the command line honours RUST_LOG")]
    let environment = std::env::var("RUST_LOG").ok();
    let (level, from) = level(config, flags, environment);
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|error| format!("{from}: {error}"))?;
    let format = flags.log_format.unwrap_or(config.format);
    let layer = match config.target {
        LogTarget::Stderr => lines(format, io::stderr, Look::of_stderr()),
        LogTarget::Syslog if !Path::new(SYSLOG).exists() => {
            return Err(format!("log.target: syslog cannot be reached: there is no {SYSLOG}"));
        }
        LogTarget::Syslog => {
            let syslog = Syslog::new(c"frontgate", Options::LOG_PID, Facility::Daemon)
                .ok_or("log.target: syslog is in use already")?;
            lines(format, syslog, Look { stamp: false, colour: false })
        }
        LogTarget::Journald => {
            let layer = tracing_journald::layer()
                .map_err(|error| format!("log.target: journald cannot be reached: {error}"))?;
            layer.with_syslog_identifier("frontgate".to_owned()).boxed()
        }
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|error| error.to_string())
}

/// Libraries that warn of each attempt, where our own lines tell the first failure and the end. Naming one in the level
/// makes it heard.
const QUIET: &str = "zookeeper_client=error";

/// Where the C library sends its lines; without it they are lost in silence.
const SYSLOG: &str = "/dev/log";

/// The level and who said it.
fn level(
    config: &LogConfig,
    flags: &LogFlags,
    environment: Option<String>,
) -> (String, &'static str) {
    let steps = match (flags.quiet, flags.verbose) {
        (0, 0) => None,
        (0, 1) => Some("debug"),
        (0, _) => Some("trace"),
        (1, _) => Some("warn"),
        (_, _) => Some("error"),
    };
    if let Some(level) = &flags.log_level {
        (level.clone(), "--log-level")
    } else if let Some(level) = steps {
        (level.to_owned(), "-q, -v")
    } else if let Some(level) = environment.filter(|level| !level.is_empty()) {
        (level, "RUST_LOG")
    } else {
        (config.level.clone(), "log.level")
    }
}

/// What a line has besides its words.
#[derive(Clone, Copy)]
struct Look {
    /// Time and level; syslog adds its own.
    stamp: bool,
    colour: bool,
}

impl Look {
    fn of_stderr() -> Self {
        Self { stamp: true, colour: io::stderr().is_terminal() }
    }
}

fn lines<W>(format: LogFormat, writer: W, look: Look) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let plain = fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text if look.stamp => plain.with_ansi(look.colour).boxed(),
        LogFormat::Text => plain.with_ansi(false).without_time().with_level(false).boxed(),
        LogFormat::Json => plain.json().flatten_event(true).boxed(),
        LogFormat::Logfmt => plain
            .event_format(tracing_logfmt::EventsFormatter::default())
            .fmt_fields(tracing_logfmt::FieldsFormatter::default())
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_configuration() {
        let config = LogConfig { level: "info".to_owned(), ..LogConfig::default() };
        let effective = |flags: &LogFlags, environment: Option<&str>| {
            level(&config, flags, environment.map(str::to_owned)).0
        };
        let none = LogFlags::default();
        assert_eq!(effective(&none, None), "info");
        assert_eq!(effective(&none, Some("")), "info");
        assert_eq!(effective(&none, Some("trace")), "trace");
        assert_eq!(effective(&LogFlags { quiet: 1, ..LogFlags::default() }, Some("trace")), "warn");
        assert_eq!(effective(&LogFlags { verbose: 2, ..LogFlags::default() }, None), "trace");
        let named = LogFlags { log_level: Some("off".to_owned()), quiet: 1, ..LogFlags::default() };
        assert_eq!(effective(&named, Some("trace")), "off");
    }
}
